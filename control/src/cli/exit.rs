//! The exit statuses of every verb.

use std::process::ExitCode;

use clap::Command;

/// Exit status of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The verb has done what it was asked to.
    Success,
    /// The verb has failed, and said why.
    Failure,
    /// The command line is wrong, or names a file that cannot be read; clap ends with this status too.
    Usage,
    /// The configuration is wrong.
    Config,
    /// The running appliance cannot be reached.
    Unreachable,
    /// A reload would change something, and no tracked connection ends or moves at once.
    Changes,
    /// A reload would end or move tracked connections, or may.
    AtRisk,
    /// The doctor has found faults.
    Faults,
}

/// List of the statuses, for `--help`.
pub(super) const HELP: &str = "\
Exit status:
  0  success; with `plan` and `reload --dry-run`: a reload changes nothing
  1  failure, with the reason on standard error
  2  the command line is wrong, or names a file that cannot be read
  3  the configuration is wrong
  4  the running appliance cannot be reached (1 with the two verbs above);
     with them: a reload changes something
  5  with them: tracked connections end or move, or may
  6  `guideway doctor` has found faults";

/// Statuses of one verb, or of all verbs for the program, in the order of their numbers: what its manual page says.
pub(super) fn of_verb(verb: &Command) -> Vec<(u8, String)> {
    let is = |name: &str| verb.get_name() == name || verb.find_subcommand(name).is_some();
    let is_alone = |name: &str| verb.get_name() == name;
    let mut statuses = Vec::new();
    let mut add = |status: u8, text: &str| statuses.push((status, text.to_owned()));
    let dry = if is_alone("reload") { "with --dry-run: " } else { "with plan and reload --dry-run: " };
    match (is_alone("plan"), is("reload")) {
        (true, _) => add(0, "a reload changes nothing"),
        (_, true) => add(0, &format!("success; {dry}a reload changes nothing")),
        _ => add(0, "success"),
    }
    add(1, "failure, with the reason on standard error");
    add(2, "the command line is wrong, or names a file that cannot be read");
    if has_option(verb, "config") || is("plan") || is("reload") {
        add(3, "the configuration is wrong");
    }
    if is_alone("plan") {
        add(4, "a reload changes something");
    } else if is("reload") {
        add(4, &format!("the running appliance cannot be reached; {dry}a reload changes something"));
    } else if has_option(verb, "socket") {
        add(4, "the running appliance cannot be reached");
    }
    match (is_alone("plan"), is("reload")) {
        (true, _) => add(5, "tracked connections end or move, or may"),
        (_, true) => add(5, &format!("{dry}tracked connections end or move, or may")),
        _ => {}
    }
    if is("doctor") {
        add(6, "faults were found");
    }
    statuses
}

/// True if a verb, or one below it, has an option of this name.
fn has_option(verb: &Command, option: &str) -> bool {
    verb.get_arguments().any(|known| known.get_long() == Some(option))
        || verb.get_subcommands().any(|below| has_option(below, option))
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Config => 3,
            Exit::Unreachable | Exit::Changes => 4,
            Exit::AtRisk => 5,
            Exit::Faults => 6,
        })
    }
}
