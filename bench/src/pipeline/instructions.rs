//! Counts instructions per packet by callgrind, and compares them with a committed baseline.
//!
//! Time tells a change of a few percent from the machine's noise only after many runs on a quiet machine; a
//! binary's count of instructions is the same at every run and under any load. It says nothing of caches and
//! branches: it finds what was added to the path of every packet by mistake, not what is fastest.

mod baseline;
mod callgrind;
mod case;
mod stage;
mod turned;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use clap::ValueEnum;

use baseline::{Baseline, Comparison};
use callgrind::Failure;
use case::Case;

/// Counts instructions per packet, and compares them with a baseline
///
/// Valgrind must be installed. Fails where a case needs more than its baseline and tolerance allow, or has no
/// baseline; a baseline of another compiler is shown and not judged by.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// File of the baseline
    #[arg(long, default_value = "bench/instructions.toml")]
    baseline: PathBuf,
    /// Writes the counts to the baseline's file instead of comparing
    #[arg(long)]
    update: bool,
    /// Runs one case without counting; callgrind counts a process that does so
    #[arg(long, value_name = "CASE", conflicts_with_all = ["baseline", "update"])]
    perform: Option<Case>,
}

/// Counts instructions, compares them with the baseline, and prints the table.
pub(crate) fn run(args: &Args) -> ExitCode {
    if let Some(case) = args.perform {
        println!("{}", case.perform());
        return ExitCode::SUCCESS;
    }
    if cfg!(debug_assertions) {
        eprintln!("this build is not optimised: run with --release");
        return ExitCode::FAILURE;
    }
    let counts = match count() {
        Ok(counts) => counts,
        Err(failure) => {
            eprintln!("{failure}");
            return ExitCode::FAILURE;
        }
    };
    let written = match Baseline::read(&args.baseline) {
        Ok(written) => written,
        Err(problem) => {
            eprintln!("{}: {problem}", args.baseline.display());
            return ExitCode::FAILURE;
        }
    };
    let comparison = Comparison::new(&written, &counts);
    println!("{comparison}\n");
    if !args.update {
        println!("{}", comparison.advice());
        return if comparison.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    match written.updated(&counts).write(&args.baseline) {
        Ok(()) => {
            println!("{} has what is counted now.", args.baseline.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", args.baseline.display());
            ExitCode::FAILURE
        }
    }
}

/// Counts the instructions per packet of every case, by its name, in the order of [`Case`].
fn count() -> Result<Vec<(String, f64)>, Failure> {
    let cases = Case::value_variants();
    let next = AtomicUsize::new(0);
    let counts = Mutex::new(vec![None; cases.len()]);
    // Callgrind's counts are no times, so the cases may share the machine.
    thread::scope(|scope| {
        let count = || {
            while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                let counted = callgrind::count(&case.to_string())?;
                counts.lock().expect("nobody panics")[*case as usize] = Some((case.to_string(), counted));
            }
            Ok(())
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(count)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("nobody panics"))
    })?;
    Ok(counts.into_inner().expect("nobody panics").into_iter().flatten().collect())
}
