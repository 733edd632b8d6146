//! `guideway-bench`: measures, one subcommand for each question.

mod conntrack;
mod environment;
mod memory;
mod output;
mod pinned;
mod pipeline;
mod sample;
mod table;
mod turn_based;

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
    Pipeline(pipeline::Args),
    Table(table::Args),
}

fn main() {
    match Args::parse().question {
        Question::Conntrack(args) => conntrack::run(&args),
        Question::Pipeline(args) => pipeline::run(&args),
        Question::Table(args) => table::run(&args),
    }
}
