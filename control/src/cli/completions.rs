//! `guideway completions`: completion of the command line in shells.

use clap::{Args as Arguments, Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit, cpu_level};

#[derive(Arguments)]
pub(super) struct Args {
    /// Shell that reads the script.
    shell: Shell,
}

/// Prints the script for one shell.
pub(super) fn run(args: &Args) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(&Cli::command()), "guideway", &mut script);
    super::print(&String::from_utf8_lossy(&script))
}

/// The program without its hidden verbs, which no shell is to offer.
fn shown(program: &Command) -> Command {
    let verbs: Vec<Command> = program.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    let options: Vec<_> = program.get_arguments().cloned().collect();
    Command::new("guideway").version(cpu_level::VERSION).args(options).subcommands(verbs)
}
