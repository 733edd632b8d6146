//! Baseline of committed counts, and the comparison of new counts with it.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fmt::{self, Display};
use std::path::Path;
use std::{fs, io};

use serde::Deserialize;

use crate::output::markdown;

/// Percent by which a case may differ if its baseline says nothing else.
const TOLERANCE_PERCENT: f64 = 3.0;

/// Version of the compiler that made this program.
const RUSTC: &str = env!("BENCH_RUSTC");

/// Committed counts, with the build that they were made from.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Baseline {
    /// Version of the compiler that made the counted code: another one makes other instructions.
    rustc: String,
    /// Processor architecture that the counted code was made for.
    architecture: String,
    /// Allowances by the case's name.
    #[serde(rename = "case")]
    cases: BTreeMap<String, Allowance>,
}

/// Instructions that a case may need.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allowance {
    instructions_per_packet: f64,
    tolerance_percent: f64,
}

impl Baseline {
    /// Reads the file; a baseline without cases if there is no file.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::of(BTreeMap::new())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Makes a baseline of these counts, with the tolerances of this one.
    pub(super) fn updated(&self, counts: &[(String, f64)]) -> Self {
        let tolerance =
            |case: &str| self.cases.get(case).map_or(TOLERANCE_PERCENT, |old| old.tolerance_percent);
        let allowance = |(case, count): &(String, f64)| {
            let instructions_per_packet = (count * 10.0).round() / 10.0;
            (case.clone(), Allowance { instructions_per_packet, tolerance_percent: tolerance(case) })
        };
        Self::of(counts.iter().map(allowance).collect())
    }

    /// Makes a baseline for the code of this program's compiler.
    fn of(cases: BTreeMap<String, Allowance>) -> Self {
        Self { rustc: RUSTC.to_owned(), architecture: ARCH.to_owned(), cases }
    }

    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, self.to_string())
    }

    /// True if the counted code came from a compiler like this program's.
    fn is_comparable(&self) -> bool {
        self.rustc == RUSTC && self.architecture == ARCH
    }
}

/// Writes the baseline as TOML.
impl Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# Instructions per packet; docs/performance.md says what of.")?;
        writeln!(f, "# Written by .ci/instructions.sh --update, which keeps the tolerances.")?;
        writeln!(f, "rustc = \"{}\"\narchitecture = \"{}\"", self.rustc, self.architecture)?;
        for (case, Allowance { instructions_per_packet, tolerance_percent }) in &self.cases {
            writeln!(f, "\n[case.{case}]\ninstructions_per_packet = {instructions_per_packet:.1}")?;
            writeln!(f, "tolerance_percent = {tolerance_percent:.1}")?;
        }
        Ok(())
    }
}

/// Comparison of new counts with the committed ones.
pub(super) struct Comparison<'a> {
    baseline: &'a Baseline,
    rows: Vec<Row<'a>>,
    /// Cases of the baseline that are no longer counted.
    gone: Vec<&'a str>,
}

struct Row<'a> {
    case: &'a str,
    allowance: Option<Allowance>,
    now: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// The count is within the tolerance.
    Same,
    Worse,
    Better,
    /// The baseline has no count for the case.
    Unknown,
}

impl Row<'_> {
    fn change_percent(&self) -> Option<f64> {
        let before = self.allowance?.instructions_per_packet;
        Some((self.now - before) / before * 100.0)
    }

    fn judgement(&self) -> Judgement {
        let Some((allowance, change)) = self.allowance.zip(self.change_percent()) else {
            return Judgement::Unknown;
        };
        if change > allowance.tolerance_percent {
            Judgement::Worse
        } else if change < -allowance.tolerance_percent {
            Judgement::Better
        } else {
            Judgement::Same
        }
    }

    fn cells(&self) -> Vec<String> {
        let before = self.allowance.map(|allowance| format!("{:.1}", allowance.instructions_per_packet));
        // Zero is added so that nothing is shown as -0.0.
        let change =
            self.change_percent().map(|change| format!("{:+.1} %", (change * 10.0).round() / 10.0 + 0.0));
        vec![
            self.case.to_owned(),
            before.unwrap_or_default(),
            format!("{:.1}", self.now),
            change.unwrap_or_default(),
        ]
    }
}

impl<'a> Comparison<'a> {
    pub(super) fn new(baseline: &'a Baseline, counts: &'a [(String, f64)]) -> Self {
        let row = |(case, now): &'a (String, f64)| Row {
            case,
            allowance: baseline.cases.get(case).copied(),
            now: *now,
        };
        let counted = |case: &str| counts.iter().any(|(name, _)| name == case);
        let gone = baseline.cases.keys().map(String::as_str).filter(|case| !counted(case)).collect();
        Self { baseline, rows: counts.iter().map(row).collect(), gone }
    }

    /// True if no case is worse than its baseline allows.
    pub(super) fn holds(&self) -> bool {
        let holds = |row: &Row<'_>| matches!(row.judgement(), Judgement::Same | Judgement::Better);
        !self.baseline.is_comparable() || (self.gone.is_empty() && self.rows.iter().all(holds))
    }

    /// Writes what to do about the differences, one line for each step.
    pub(super) fn advice(&self) -> String {
        if !self.baseline.is_comparable() {
            let Baseline { rustc, architecture, .. } = self.baseline;
            return format!(
                "Not judged: the baseline is of {rustc} for {architecture}, and this is {RUSTC} for {ARCH}; \
                 counts compare only within one version."
            );
        }
        let groups = [
            (self.judged(Judgement::Worse), "Worse than the baseline and its tolerance allow"),
            (self.judged(Judgement::Unknown), "Without a baseline; --update writes it"),
            (self.gone.clone(), "In the baseline, but counted no more; --update takes it out"),
            (
                self.judged(Judgement::Better),
                "Better by more than the tolerance; lower the baseline with --update, so that it stays so",
            ),
        ];
        let groups = groups.iter().filter(|(cases, _)| !cases.is_empty());
        let lines: Vec<String> =
            groups.map(|(cases, what)| format!("{what}: {}", cases.join(", "))).collect();
        if lines.is_empty() { "All within their tolerances.".to_owned() } else { lines.join("\n") }
    }

    fn judged(&self, judgement: Judgement) -> Vec<&str> {
        self.rows.iter().filter(|row| row.judgement() == judgement).map(|row| row.case).collect()
    }
}

/// Writes the comparison as a table.
impl Display for Comparison<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.rows.iter().map(Row::cells);
        write!(f, "{}", markdown(["case", "baseline", "now", "change"], rows, 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
        pairs.iter().map(|(case, count)| ((*case).to_owned(), *count)).collect()
    }

    fn baseline(pairs: &[(&str, f64)]) -> Baseline {
        Baseline::of(BTreeMap::new()).updated(&counts(pairs))
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let written = baseline(&[("hit", 200.04), ("parse", 31.0)]);
        assert_eq!(toml::from_str(&written.to_string()), Ok(written));
    }

    #[test]
    fn an_update_keeps_tolerances() {
        let mut old = baseline(&[("flood", 300.0)]);
        old.cases.get_mut("flood").expect("it was put in").tolerance_percent = 5.0;
        let new = old.updated(&counts(&[("flood", 250.0), ("hit", 200.0)]));
        let flood = Allowance { instructions_per_packet: 250.0, tolerance_percent: 5.0 };
        let hit = Allowance { instructions_per_packet: 200.0, tolerance_percent: 3.0 };
        assert_eq!((new.cases["flood"], new.cases["hit"]), (flood, hit));
    }

    #[test]
    fn a_change_within_the_tolerance_holds() {
        let baseline = baseline(&[("hit", 200.0)]);
        for now in [194.1, 200.0, 205.9] {
            let counts = counts(&[("hit", now)]);
            let comparison = Comparison::new(&baseline, &counts);
            assert!(comparison.holds() && comparison.judged(Judgement::Same) == ["hit"], "{now}");
        }
    }

    #[test]
    fn a_worse_case_fails_and_is_named() {
        let (baseline, counts) =
            (baseline(&[("hit", 200.0), ("new", 9.0)]), counts(&[("hit", 206.1), ("new", 9.0)]));
        let comparison = Comparison::new(&baseline, &counts);
        assert!(!comparison.holds());
        assert!(comparison.advice().ends_with("tolerance allow: hit"));
    }

    #[test]
    fn a_much_better_case_holds_and_asks_for_a_lower_baseline() {
        let (baseline, counts) = (baseline(&[("hit", 200.0)]), counts(&[("hit", 193.9)]));
        let comparison = Comparison::new(&baseline, &counts);
        assert!(comparison.holds() && comparison.advice().contains("lower the baseline"));
    }

    #[test]
    fn a_case_needs_a_baseline_and_a_baseline_a_case() {
        let old = baseline(&[("hit", 200.0)]);
        let both = counts(&[("hit", 200.0), ("new", 300.0)]);
        assert!(!Comparison::new(&old, &both).holds());
        assert!(!Comparison::new(&old.updated(&both), &both[..1]).holds());
    }

    #[test]
    fn another_compilers_baseline_is_shown_and_not_judged_by() {
        let old = Baseline { rustc: "rustc 1.0.0".to_owned(), ..baseline(&[("hit", 100.0)]) };
        let counts = counts(&[("hit", 200.0)]);
        let comparison = Comparison::new(&old, &counts);
        assert!(comparison.holds());
        assert!(comparison.to_string().contains("+100.0 %") && comparison.advice().contains("Not judged"));
    }
}
