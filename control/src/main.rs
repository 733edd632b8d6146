//! The `guideway` binary.

// A reader that goes away, as `head` does, must not make a verb panic.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything is opened that a program of the operator's should not hold.
    guideway::announce::launch().unwrap_or_else(|| cli::run().into())
}
