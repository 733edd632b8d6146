//! The exit statuses of every verb.

use std::process::ExitCode;

/// Exit status of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The verb has done what it was asked to.
    Success = 0,
    /// The verb has failed, and said why.
    Failure = 1,
    /// The command line is wrong, or names a file that cannot be read; clap ends with this status too.
    Usage = 2,
    /// The configuration is wrong.
    Config = 3,
    /// The running appliance cannot be reached.
    Unreachable = 4,
    /// The doctor has found faults.
    Faults = 6,
}

/// List of the statuses, for `--help`.
pub(super) const HELP: &str = "\
Exit status:
  0  success
  1  failure, with the reason on standard error
  2  the command line is wrong, or names a file that cannot be read
  3  the configuration is wrong
  4  the running appliance cannot be reached
  6  `guideway doctor` has found faults";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
