//! `guideway-bench`: measures, one subcommand for each question.

mod appliance;
mod health;
mod reaction;
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
    Health(health::Args),
    Reaction(reaction::Args),
    Table(table::Args),
}

fn main() {
    match Args::parse().question {
        Question::Health(args) => health::run(&args),
        Question::Reaction(args) => reaction::run(&args),
        Question::Table(args) => table::run(&args),
    }
}
