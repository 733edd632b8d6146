//! Measures balance, disruption and build time of the subsets of a lookup table.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use comfy_table::Table;
use guideway_dataplane::maglev::{LookupTable, Weighted};
use guideway_dataplane::seed::Seed;
use guideway_dataplane::subsets::Subsets;
use serde::Serialize;

use crate::output::markdown;

/// Sizes that are measured: members of a subset, of so many backends.
const SIZES: [(u16, usize); 12] = [
    (1, 3),
    (2, 3),
    (2, 6),
    (3, 10),
    (8, 10),
    (10, 100),
    (20, 100),
    (50, 100),
    (90, 100),
    (10, 1_000),
    (50, 1_000),
    (250, 1_000),
];

/// Number of backends whose loss is tried, one at a time.
const LOSSES: usize = 5;

/// Measurement of the subsets of one size.
#[derive(Serialize)]
pub(crate) struct Measured {
    size: u16,
    backends: usize,
    classes: usize,
    /// Mean number of subsets that a backend is in, and by how much the fewest and the most differ from it.
    mean_subsets: f64,
    fewest_percent: f64,
    most_percent: f64,
    /// Selection hashes of all classes that move when a backend goes, as a multiple of its own; the same of the table's.
    moved_factor: Option<f64>,
    table_moved_factor: Option<f64>,
    build_min_us: f64,
}

/// Measures all sizes; each is built so many times for its build time.
pub(crate) fn measure(builds: u32) -> Vec<Measured> {
    SIZES.iter().map(|&(size, backends)| Measured::of(size, backends, builds)).collect()
}

/// Writes the measurements for people.
pub(crate) fn table(rows: &[Measured]) -> Table {
    let factor = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
    let cells = |row: &Measured| {
        vec![
            format!("{} of {}", row.size, row.backends),
            row.classes.to_string(),
            format!("{:.0}", row.mean_subsets),
            format!("{:+.2} %", row.fewest_percent),
            format!("{:+.2} %", row.most_percent),
            factor(row.table_moved_factor),
            factor(row.moved_factor),
            format!("{:.2} ms", row.build_min_us / 1e3),
        ]
    };
    let header =
        ["subsets", "classes", "mean", "fewest", "most", "table moves", "subsets move", "build, min"];
    markdown(header, rows.iter().map(cells), 1)
}

impl Measured {
    fn of(size: u16, backends: usize, builds: u32) -> Self {
        let before = Choice::new(size, (0..backends).collect());
        let subsets = before.subsets.as_ref().expect("there are more backends than a subset has");
        let build = || {
            let start = Instant::now();
            std::hint::black_box(Subsets::build(&Seed::DEFAULT, &before.table, before.size));
            start.elapsed()
        };
        let fastest: Duration = (0..builds).map(|_| build()).min().unwrap_or_default();
        let members = before.members();
        let mut memberships = vec![0u32; backends];
        members.iter().for_each(|backend| memberships[*backend] += 1);
        let mean = members.len() as f64 / backends as f64;
        let percent = |count: Option<u32>| (f64::from(count.unwrap_or(0)) / mean - 1.0) * 100.0;
        let losses: Vec<(f64, f64)> =
            (0..LOSSES).filter_map(|index| before.loss(index * backends / LOSSES)).collect();
        let mean_of = |factors: Vec<f64>| {
            (!factors.is_empty()).then(|| factors.iter().sum::<f64>() / factors.len() as f64)
        };
        Self {
            size,
            backends,
            classes: subsets.iter().len(),
            mean_subsets: mean,
            fewest_percent: percent(memberships.iter().copied().min()),
            most_percent: percent(memberships.iter().copied().max()),
            moved_factor: mean_of(losses.iter().map(|loss| loss.0).collect()),
            table_moved_factor: mean_of(losses.iter().map(|loss| loss.1).collect()),
            build_min_us: fastest.as_secs_f64() * 1e6,
        }
    }
}

/// Lookup table and subsets of some of the numbered backends.
struct Choice {
    size: NonZeroU16,
    numbers: Vec<usize>,
    table: LookupTable,
    subsets: Option<Subsets>,
}

impl Choice {
    fn new(size: u16, numbers: Vec<usize>) -> Self {
        let size = NonZeroU16::new(size).expect("a subset has a member");
        let names: Vec<String> = numbers.iter().map(|number| format!("backend-{number}")).collect();
        let weighted: Vec<Weighted<'_>> = names.iter().map(|name| Weighted { name, weight: 1 }).collect();
        let table = LookupTable::build(&Seed::DEFAULT, &weighted);
        let subsets = Subsets::build(&Seed::DEFAULT, &table, size);
        Self { size, numbers, table, subsets }
    }

    /// Numbers of the backends of all seats.
    fn members(&self) -> Vec<usize> {
        let all = self.subsets.iter().flat_map(Subsets::iter).flatten();
        all.map(|index| self.numbers[usize::from(*index)]).collect()
    }

    /// Numbers of the backends of all slots.
    fn slots(&self) -> Vec<usize> {
        (0..self.table.len()).map(|slot| self.numbers[usize::from(self.table.at(slot))]).collect()
    }

    /// Parts of the subsets and of the table that another backend has after the loss of this one, as multiples of what it
    /// had; none where no subsets are left.
    fn loss(&self, lost: usize) -> Option<(f64, f64)> {
        let kept = self.numbers.iter().copied().filter(|number| *number != lost).collect();
        let after = Self::new(self.size.get(), kept);
        after.subsets.as_ref()?;
        let factor = |before: Vec<usize>, after: Vec<usize>| {
            let own = before.iter().filter(|number| **number == lost).count();
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            moved as f64 / own as f64
        };
        Some((factor(self.members(), after.members()), factor(self.slots(), after.slots())))
    }
}
