//! Runs this very program under callgrind, and reads what it has counted.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Pattern of the functions whose instructions are counted, with all that they call: those of `stage.rs`. Collecting
/// starts where one is entered and ends where it is left.
const COUNTED: &str = "*instructions::stage::counted_*";

/// Reason for which there is no count.
#[derive(Debug)]
pub(super) enum Failure {
    /// Valgrind can't be started.
    NoValgrind(io::Error),
    /// Valgrind, or the program under it, has failed; its output.
    Failed(String),
    /// The output or this file of callgrind's is not as it should be.
    Unreadable(PathBuf),
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValgrind(error) => write!(f, "valgrind: {error}; apt-get install valgrind"),
            Self::Failed(said) => write!(f, "callgrind failed:\n{said}"),
            Self::Unreadable(path) => write!(f, "{}: not a single instruction was counted", path.display()),
        }
    }
}

/// Counts the instructions per packet of the case of that name. The file that callgrind wrote stays in
/// `target/instructions/CASE.out`, for `callgrind_annotate`.
pub(super) fn count(case: &str) -> Result<f64, Failure> {
    let program = env::current_exe().map_err(|error| Failure::Failed(error.to_string()))?;
    // target/release/guideway-bench lies beside target/instructions/.
    let folder = program.ancestors().nth(2).unwrap_or(Path::new(".")).join("instructions");
    fs::create_dir_all(&folder).map_err(|error| Failure::Failed(error.to_string()))?;
    let out = folder.join(format!("{case}.out"));
    let ran = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(&program)
        .args(["instructions", "--perform", case])
        .output()
        .map_err(Failure::NoValgrind)?;
    if !ran.status.success() {
        return Err(Failure::Failed(String::from_utf8_lossy(&ran.stderr).into_owned()));
    }
    let packets = String::from_utf8_lossy(&ran.stdout).trim().parse::<u32>().ok();
    let instructions = fs::read_to_string(&out).ok().and_then(|text| total(&text));
    match (instructions, packets) {
        (Some(instructions), Some(packets)) if instructions > 0 && packets > 0 => {
            Ok(instructions as f64 / f64::from(packets))
        }
        _ => Err(Failure::Unreadable(out)),
    }
}

/// Adds up all instructions of a file that callgrind wrote.
fn total(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("totals: "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_that_of_all_functions() {
        let text = "events: Ir\nsummary: 7\n\nfn=(1) a\n12 40\n\ntotals: 1234\n";
        assert_eq!(total(text), Some(1234));
        assert_eq!(total("events: Ir\n"), None);
    }
}
