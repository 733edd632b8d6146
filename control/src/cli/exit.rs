//! The exit statuses of every verb.

use std::process::ExitCode;

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
