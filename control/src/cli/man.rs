//! `guideway man`: the manual pages, made of the same words as `--help`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::{Args as Arguments, Command, CommandFactory};
use clap_mangen::Man;

use super::{Cli, Exit};

#[derive(Arguments)]
pub(super) struct Args {
    /// Folder that takes a page for each verb; without it, the program's page goes to standard output.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Prints the program's page, or writes all pages.
pub(super) fn run(args: &Args) -> Exit {
    let written = match &args.out {
        Some(folder) => fs::create_dir_all(folder).and_then(|()| write_all(&program(), folder)),
        None => return print(program()),
    };
    match written {
        Ok(()) => Exit::Success,
        Err(error) => {
            complain!("error: cannot write the manual pages: {error}");
            Exit::Failure
        }
    }
}

fn print(program: Command) -> Exit {
    let mut page = Vec::new();
    match page_of(program).render(&mut page) {
        Ok(()) => super::print(&String::from_utf8_lossy(&page)),
        Err(error) => {
            complain!("error: cannot make the manual page: {error}");
            Exit::Failure
        }
    }
}

/// The program with all its verbs, named in full: `guideway-backend-drain`.
fn program() -> Command {
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    program
}

/// Writes the pages of a verb and of those below it.
fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    page_of(command.clone()).render(&mut page)?;
    fs::write(folder.join(format!("{name}.8")), page)?;
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| write_all(verb, folder))
}

/// Manual page in the section of system administration.
fn page_of(command: Command) -> Man {
    // A date would make each build another, and without one the fields behind it would take its place.
    Man::new(command)
        .section("8")
        .source(concat!("guideway ", env!("CARGO_PKG_VERSION")))
        .manual("Guideway")
        .date("\"\"")
}
