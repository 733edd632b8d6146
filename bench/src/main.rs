//! `guideway-bench`: measures, one subcommand for each question.

mod pipeline;
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
    Pipeline(pipeline::Args),
    Table(table::Args),
}

fn main() {
    match Args::parse().question {
        Question::Pipeline(args) => pipeline::run(&args),
        Question::Table(args) => table::run(&args),
    }
}
