//! The exit statuses of every verb.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked to.
    Success = 0,
    /// It could not, and said why.
    Failure = 1,
    /// The command line is wrong, or names a file that cannot be read; clap ends with this status too.
    Usage = 2,
    /// The configuration is wrong.
    Config = 3,
    /// The running appliance cannot be reached.
    Unreachable = 4,
}

/// The statuses, for `--help`.
pub(super) const HELP: &str = "\
Exit status:
  0  it did what it was asked to
  1  it could not, and said why
  2  the command line is wrong, or names a file that cannot be read
  3  the configuration is wrong
  4  the running appliance cannot be reached";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
