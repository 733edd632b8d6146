//! `guideway man`: the manual pages, made of the same words as `--help`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::builder::Resettable;
use clap::{Args as Arguments, Command, CommandFactory};
use clap_mangen::Man;

use super::exit::of_verb;
use super::{Cli, Exit};

#[derive(Arguments)]
pub(super) struct Args {
    /// Folder that takes a page for each verb; without it, or with `-`, the program's page goes to standard output.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Prints the program's page, or writes all pages.
pub(super) fn run(args: &Args) -> Exit {
    let written = match args.out.as_deref().filter(|folder| *folder != Path::new("-")) {
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
    match page_of(program) {
        Ok(page) => super::print(&page),
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
    fs::write(folder.join(format!("{name}.8")), page_of(command.clone())?)?;
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| write_all(verb, folder))
}

/// Manual page in the section of system administration.
fn page_of(command: Command) -> io::Result<String> {
    let statuses = exit_status(&command);
    // A date would make each build another, and without one the fields behind it would take its place.
    let page = Man::new(command.after_help(Resettable::Reset))
        .section("8")
        .source(concat!("guideway ", env!("CARGO_PKG_VERSION")))
        .manual("Guideway")
        .date("\"\"");
    let mut text = Vec::new();
    page.render(&mut text)?;
    let mut text = String::from_utf8_lossy(&text).into_owned();
    let at = text.find("\n.SH VERSION").map_or(text.len(), |line_end| line_end + 1);
    text.insert_str(at, &statuses);
    Ok(text)
}

/// Section of a manual page that tells a verb's exit statuses.
fn exit_status(command: &Command) -> String {
    let entry = |(status, text): (u8, String)| format!(".TP\n{status}\n{}\n", text.replace('-', "\\-"));
    let entries: String = of_verb(command).into_iter().map(entry).collect();
    format!(".SH \"EXIT STATUS\"\n{entries}")
}
