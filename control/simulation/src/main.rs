//! Command that simulates seeds: one with its story, or many.

use std::process::ExitCode;

use clap::Parser;
use guideway_simulation::simulate;

/// Simulates whole appliances in virtual time, all of it drawn from a seed.
#[derive(Debug, Parser)]
struct Arguments {
    /// Seed to replay, with its story.
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Range of seeds, such as 1-300, by a thread a core; stops at the first that fails, and tells its story.
    #[arg(long, value_parser = range)]
    seeds: Option<(u64, u64)>,
    /// Leaves out the story and the line of each seed that passes.
    #[arg(long)]
    quiet: bool,
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let ends = text.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    ends.filter(|(first, last)| first <= last).ok_or_else(|| format!("`{text}` is no range, such as 1-300"))
}

fn main() -> ExitCode {
    let Arguments { seed, seeds, quiet } = Arguments::parse();
    let (first, last) = seeds.or(seed.map(|seed| (seed, seed))).unwrap_or_default();
    let mut packets = 0;
    let held = guideway_simulation::seeds::run(first..=last, simulate, |outcome| {
        packets += outcome.counts.packets;
        if outcome.violation.is_some() || !quiet {
            print!("{}", outcome.text(seeds.is_none() && !quiet));
        }
    });
    if !held {
        return ExitCode::FAILURE;
    }
    println!("{} seeds, {packets} packets of clients: every invariant held", last - first + 1);
    ExitCode::SUCCESS
}
