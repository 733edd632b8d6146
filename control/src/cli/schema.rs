//! `guideway schema`: the JSON schema of the configuration, for editors, and examples of it.

use clap::{Args as Arguments, ValueEnum};
use guideway_model::config::{self, EXAMPLE, MINIMAL};

use super::Exit;

#[derive(Arguments)]
pub(super) struct Args {
    /// Prints an example configuration in place of the schema.
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "minimal")]
    example: Option<Example>,
}

/// Example configuration.
#[derive(Clone, Copy, ValueEnum)]
enum Example {
    /// The least that `run` needs.
    Minimal,
    /// Every table, with remarks; `--demo` goes by it.
    Full,
}

pub(super) fn run(args: &Args) -> Exit {
    match args.example {
        None => super::print(&config::schema()),
        Some(Example::Minimal) => super::print(MINIMAL),
        Some(Example::Full) => super::print(EXAMPLE),
    }
}
