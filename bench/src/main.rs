//! `guideway-bench`: measures, one subcommand for each question.

mod environment;
mod output;
mod pinned;
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
    Table(table::Args),
}

fn main() {
    match Args::parse().question {
        Question::Table(args) => table::run(&args),
    }
}
