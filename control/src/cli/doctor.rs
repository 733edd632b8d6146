//! `guideway doctor`: what is wrong with this machine and its configuration, and which command mends it?

use std::path::PathBuf;

use clap::Args as Arguments;
use guideway::doctor::diagnose;
use guideway::doctor::facts::Facts;
use guideway::doctor::text::text;

use super::{Exit, Output};

#[derive(Arguments)]
pub(super) struct Args {
    /// Configuration file that the machine is looked at for.
    #[arg(long, value_name = "FILE", default_value = super::DEFAULT_CONFIG)]
    config: PathBuf,
    /// Admin socket of the running appliance, if it is not that of the configuration.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Exit {
    let facts = super::wait_for(Facts::look(&args.config, args.socket.as_deref()));
    let diagnosis = match facts {
        Ok(facts) => diagnose(&facts),
        Err(exit) => return exit,
    };
    let printed = match args.output {
        Output::Table => super::print(&text(&diagnosis)),
        Output::Json => super::print_json(&diagnosis),
    };
    match printed {
        Exit::Success if diagnosis.faults > 0 => Exit::Faults,
        exit => exit,
    }
}
