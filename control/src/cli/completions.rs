//! `guideway completions`: completion of the command line in shells.

use clap::{Args as Arguments, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit};

#[derive(Arguments)]
pub(super) struct Args {
    /// Shell that reads the script.
    shell: Shell,
}

/// Prints the script for one shell.
pub(super) fn run(args: &Args) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "guideway", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}
