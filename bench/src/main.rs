//! `guideway-bench`: measures, one subcommand for each question.

#[cfg(feature = "control")]
mod appliance;
mod conntrack;
mod environment;
#[cfg(feature = "control")]
mod health;
mod memory;
mod output;
mod pinned;
mod pipeline;
#[cfg(feature = "control")]
mod reaction;
mod replay;
mod report;
mod rfc2544;
mod sample;
#[cfg(feature = "control")]
mod scale;
mod subsets;
mod table;
mod turn_based;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Guideway; every published figure comes from one of these subcommands.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    question: Question,
}

#[derive(Subcommand)]
enum Question {
    Conntrack(conntrack::Args),
    #[cfg(feature = "control")]
    Health(health::Args),
    Instructions(pipeline::instructions::Args),
    Loop(pipeline::poll_loop::Args),
    Pipeline(pipeline::Args),
    #[cfg(feature = "control")]
    Reaction(reaction::Args),
    Replay(replay::Args),
    Report(report::Args),
    Rfc2544(rfc2544::Args),
    #[cfg(feature = "control")]
    Scale(scale::Args),
    Table(table::Args),
}

fn main() -> ExitCode {
    match Args::parse().question {
        Question::Conntrack(args) => conntrack::run(&args),
        #[cfg(feature = "control")]
        Question::Health(args) => health::run(&args),
        Question::Instructions(args) => return pipeline::instructions::run(&args),
        Question::Loop(args) => return pipeline::poll_loop::run(&args),
        Question::Pipeline(args) => pipeline::run(&args),
        #[cfg(feature = "control")]
        Question::Reaction(args) => reaction::run(&args),
        Question::Replay(args) => return replay::run(&args),
        Question::Report(args) => return report::run(&args),
        Question::Rfc2544(args) => return rfc2544::run(&args),
        #[cfg(feature = "control")]
        Question::Scale(args) => scale::run(&args),
        Question::Table(args) => table::run(&args),
    }
    ExitCode::SUCCESS
}
