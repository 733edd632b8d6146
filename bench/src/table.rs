//! Measures balance, disruption and build time of the lookup table beside other Maglev tables, and of its subsets.

use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use comfy_table::Table;
use guideway_dataplane::maglev::{LookupTable, Weighted};
use guideway_dataplane::seed::Seed;
use maglev::{ConsistentHasher, Maglev};
use serde::Serialize;

use crate::environment::{Environment, Watch};
use crate::output::markdown;
use crate::subsets::{self, Measured};
use crate::turn_based;

/// Measures balance, disruption and build time of the lookup table beside other Maglev tables
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Prints JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Times that each table is built for its build time
    #[arg(long, default_value_t = 11, value_parser = clap::value_parser!(u32).range(1..))]
    builds: u32,
}

/// Measures the tables and prints the report.
pub(crate) fn run(args: &Args) {
    let watch = Watch::begin();
    let report = Report {
        balance: SETS.iter().flat_map(|set| set.measure(args.builds)).collect(),
        disruption: CHANGES.iter().map(Change::measure).collect(),
        subsets: subsets::measure(args.builds),
        environment: watch.end(),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).expect("a report has nothing that JSON lacks"));
    } else {
        let Report { balance, disruption, subsets, environment } = &report;
        let tables = [balance_table(balance), disruption_table(disruption), subsets::table(subsets)];
        println!("{}\n\n{environment}", tables.map(|table| table.to_string()).join("\n\n"));
    }
}

type Backends = Vec<(String, u16)>;

fn named(weights: impl IntoIterator<Item = u16>) -> Backends {
    weights.into_iter().zip(0..).map(|(weight, number)| (format!("backend-{number}"), weight)).collect()
}

/// Method of filling a lookup table.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Method {
    /// Guideway's own method.
    Race,
    /// Method of Katran and Envoy.
    TurnBased,
    /// Method of the `maglev` crate, which knows no weights.
    MaglevCrate,
}

impl Method {
    const ALL: [Self; 3] = [Self::Race, Self::TurnBased, Self::MaglevCrate];

    fn name(self) -> &'static str {
        match self {
            Self::Race => "Guideway",
            Self::TurnBased => "turn-based",
            Self::MaglevCrate => "maglev crate",
        }
    }

    /// Builds a table; returns the index of each slot's backend and the build time, or `None` if the method cannot
    /// serve these weights.
    fn build(self, backends: &Backends) -> Option<(Vec<u16>, Duration)> {
        match self {
            Self::Race => {
                let weighted: Vec<Weighted<'_>> =
                    backends.iter().map(|(name, weight)| Weighted { name, weight: *weight }).collect();
                let start = Instant::now();
                let table = LookupTable::build(&Seed::DEFAULT, &weighted);
                let elapsed = start.elapsed();
                Some(((0..table.len()).map(|slot| table.at(slot)).collect(), elapsed))
            }
            Self::TurnBased => {
                let start = Instant::now();
                let slots = turn_based::build(&Seed::DEFAULT, backends);
                Some((slots, start.elapsed()))
            }
            Self::MaglevCrate => {
                if backends.iter().any(|(_, weight)| *weight != backends[0].1) {
                    return None;
                }
                let indices: Vec<u16> = (0..backends.len() as u16).collect();
                let nodes: Vec<Node<'_>> = indices
                    .into_iter()
                    .map(|index| Node { index, name: &backends[usize::from(index)].0 })
                    .collect();
                let start = Instant::now();
                let table = Maglev::with_capacity_and_hasher(nodes, 65_537, NameOrSlot);
                let elapsed = start.elapsed();
                let node = |slot: u64| table.get(&slot).expect("the table is not empty").index;
                Some(((0..table.capacity() as u64).map(node).collect(), elapsed))
            }
        }
    }
}

/// Backend in the `maglev` crate's table: hashed by its name, found again by its index.
#[derive(PartialEq, Eq)]
struct Node<'a> {
    index: u16,
    name: &'a str,
}

impl std::hash::Hash for Node<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Hasher that hashes names as usual but leaves a `u64` as it is, so that looking up a slot's number leads to that
/// slot.
struct NameOrSlot;

impl BuildHasher for NameOrSlot {
    type Hasher = NameOrSlotHasher;

    fn build_hasher(&self) -> NameOrSlotHasher {
        NameOrSlotHasher { name: DefaultHasher::new(), slot: None }
    }
}

struct NameOrSlotHasher {
    name: DefaultHasher,
    slot: Option<u64>,
}

impl Hasher for NameOrSlotHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.name.write(bytes);
    }

    fn write_u64(&mut self, slot: u64) {
        self.slot = Some(slot);
    }

    fn finish(&self) -> u64 {
        self.slot.unwrap_or_else(|| self.name.finish())
    }
}

/// Set of backends whose shares are measured.
struct Set {
    name: &'static str,
    backends: fn() -> Backends,
}

const SETS: [Set; 4] = [
    Set { name: "100 alike", backends: || named([1; 100]) },
    Set { name: "1,000 alike", backends: || named([1; 1000]) },
    Set { name: "1,000, weights 1 to 1000", backends: || named(1..=1000) },
    Set { name: "800 of weight 1, 200 of 1000", backends: || named([1; 800].into_iter().chain([1000; 200])) },
];

impl Set {
    fn measure(&self, builds: u32) -> Vec<Balance> {
        let backends = (self.backends)();
        Method::ALL.into_iter().filter_map(|method| self.measure_method(&backends, method, builds)).collect()
    }

    fn measure_method(&self, backends: &Backends, method: Method, builds: u32) -> Option<Balance> {
        let (slots, first) = method.build(backends)?;
        let mut times: Vec<Duration> = (1..builds)
            .filter_map(|_| method.build(backends))
            .map(|(_, elapsed)| elapsed)
            .chain([first])
            .collect();
        times.sort_unstable();

        let mut shares = vec![0u32; backends.len()];
        for &backend in &slots {
            shares[usize::from(backend)] += 1;
        }
        let total: f64 = backends.iter().map(|(_, weight)| f64::from(*weight)).sum();
        let worst_error = backends
            .iter()
            .zip(&shares)
            .map(|((_, weight), &share)| f64::from(share) - slots.len() as f64 * f64::from(*weight) / total)
            .max_by(|one, other| one.abs().total_cmp(&other.abs()))
            .unwrap_or(0.0);
        Some(Balance {
            set: self.name,
            method,
            slots: slots.len(),
            smallest_share_slots: shares.into_iter().min().unwrap_or(0),
            worst_error_slots: worst_error,
            build_min_us: times[0].as_secs_f64() * 1e6,
            build_median_us: times[times.len() / 2].as_secs_f64() * 1e6,
        })
    }
}

/// Change to a set of backends, tried at several indices of the set.
struct Change {
    name: &'static str,
    before: fn() -> Backends,
    /// Indices at which the change is applied, one try each.
    indices: &'static [usize],
    apply: fn(&mut Backends, usize),
}

const CHANGES: [Change; 9] = [
    Change { name: "3 alike, one removed", before: || named([1; 3]), indices: &[0, 1, 2], apply: remove },
    Change {
        name: "10 alike, one removed",
        before: || named([1; 10]),
        indices: &[0, 3, 6, 9],
        apply: remove,
    },
    Change {
        name: "100 alike, one removed",
        before: || named([1; 100]),
        indices: &[0, 10, 20, 30, 40, 50, 60, 70, 80, 90],
        apply: remove,
    },
    Change {
        name: "1,000 alike, one removed",
        before: || named([1; 1000]),
        indices: &INDICES,
        apply: remove,
    },
    Change {
        name: "1,000 alike, ten removed",
        before: || named([1; 1000]),
        indices: &INDICES,
        apply: |backends, index| drop(backends.drain(index..index + 10)),
    },
    Change {
        name: "weights 1 to 1000, one removed",
        before: || named(1..=1000),
        indices: &INDICES,
        apply: remove,
    },
    Change {
        name: "weights 1 to 1000, largest halved",
        before: || named(1..=1000),
        indices: &[999],
        apply: |backends, index| backends[index].1 /= 2,
    },
    Change {
        name: "weights 1 to 1000, largest to zero",
        before: || named(1..=1000),
        indices: &[999],
        apply: |backends, index| backends[index].1 = 0,
    },
    Change {
        name: "weights 1 to 1000, middle doubled",
        before: || named(1..=1000),
        indices: &[499],
        apply: |backends, index| backends[index].1 *= 2,
    },
];

const INDICES: [usize; 5] = [99, 299, 499, 699, 899];

fn remove(backends: &mut Backends, index: usize) {
    backends.remove(index);
}

impl Change {
    fn measure(&self) -> Disruption {
        let before = (self.before)();
        let afters: Vec<Backends> = self
            .indices
            .iter()
            .map(|&index| {
                let mut after = before.clone();
                (self.apply)(&mut after, index);
                after
            })
            .collect();
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        let moved_percent = |method: Method| {
            let (old, _) = method.build(&before)?;
            let moved = afters.iter().map(|after| {
                let (new, _) = method.build(after)?;
                let differ =
                    |(old, new): &(&u16, &u16)| before[usize::from(**old)].0 != after[usize::from(**new)].0;
                Some(old.iter().zip(&new).filter(differ).count() as f64 / old.len() as f64 * 100.0)
            });
            moved.collect::<Option<Vec<f64>>>().map(mean)
        };
        Disruption {
            change: self.name,
            ideal_percent: mean(afters.iter().map(|after| ideal_percent(&before, after)).collect()),
            race_percent: moved_percent(Method::Race),
            turn_based_percent: moved_percent(Method::TurnBased),
            maglev_crate_percent: moved_percent(Method::MaglevCrate),
        }
    }
}

/// Percent of the slots that must move in any case: the sum of the shares that backends lose.
fn ideal_percent(before: &Backends, after: &Backends) -> f64 {
    let total = |backends: &Backends| backends.iter().map(|(_, weight)| f64::from(*weight)).sum::<f64>();
    let (old_total, new_total) = (total(before), total(after));
    let share_after = |name: &str| {
        let weight = after.iter().find(|(other, _)| other == name).map_or(0, |(_, weight)| *weight);
        f64::from(weight) / new_total
    };
    let lost = |(name, weight): &(String, u16)| (f64::from(*weight) / old_total - share_after(name)).max(0.0);
    before.iter().map(lost).sum::<f64>() * 100.0
}

#[derive(Serialize)]
struct Report {
    balance: Vec<Balance>,
    disruption: Vec<Disruption>,
    subsets: Vec<Measured>,
    environment: Environment,
}

#[derive(Serialize)]
struct Balance {
    set: &'static str,
    method: Method,
    slots: usize,
    smallest_share_slots: u32,
    worst_error_slots: f64,
    build_min_us: f64,
    build_median_us: f64,
}

#[derive(Serialize)]
struct Disruption {
    change: &'static str,
    ideal_percent: f64,
    race_percent: Option<f64>,
    turn_based_percent: Option<f64>,
    maglev_crate_percent: Option<f64>,
}

fn balance_table(rows: &[Balance]) -> Table {
    let cells = |row: &Balance| {
        vec![
            row.set.to_owned(),
            row.method.name().to_owned(),
            row.slots.to_string(),
            row.smallest_share_slots.to_string(),
            format!("{:+.3}", row.worst_error_slots),
            format!("{:.2} ms", row.build_min_us / 1e3),
            format!("{:.2} ms", row.build_median_us / 1e3),
        ]
    };
    let header = ["backends", "table", "slots", "smallest share", "worst error", "build, min", "median"];
    markdown(header, rows.iter().map(cells), 2)
}

fn disruption_table(rows: &[Disruption]) -> Table {
    let percent = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2} %"));
    let cells = |row: &Disruption| {
        vec![
            row.change.to_owned(),
            percent(Some(row.ideal_percent)),
            percent(row.race_percent),
            percent(row.turn_based_percent),
            percent(row.maglev_crate_percent),
        ]
    };
    markdown(["change", "ideal", "Guideway", "turn-based", "maglev crate"], rows.iter().map(cells), 1)
}
