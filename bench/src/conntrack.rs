//! Measures lookups in the conntrack table beside concurrent maps, DPDK's hash table and memory itself.

mod contestant;
#[cfg(feature = "dpdk")]
mod rte_hash;
mod traffic;

use std::env;
use std::process::Command;

use clap::ValueEnum as _;
use comfy_table::{CellAlignment, Table as Printed};
use serde::Serialize;

use self::contestant::{
    DashMap, Floor, Guideway, Kind, LookupResults, Papaya, SccHashIndex, SccHashMap, Table,
};
use self::traffic::{Key, Traffic, cyclic};
use crate::environment::{Environment, Watch};
use crate::memory::{PageKind, resident_bytes};
use crate::output::{Output, markdown};
use crate::pinned;
use crate::sample::{Sample, turns};

/// Measures time and memory of connection tracking beside other concurrent tables
///
/// Every lookup is checked to find what it should.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Entries of the largest table: 65536, 1048576, 4194304 or 16777216
    #[arg(long, default_value_t = 4 << 20, value_parser = clap::value_parser!(u32).range(1 << 16..))]
    max_entries: u32,
    /// Times that each table is measured, in turns
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Measures the smallest table alone, by few lookups: a check that all of it works, not of its speed
    #[arg(long, conflicts_with_all = ["max_entries", "rounds"])]
    quick: bool,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
    /// Prints the memory of one table of `--max-entries` instead, in a process that has held no other
    #[arg(long, hide = true)]
    footprint_of: Option<Kind>,
}

const SIZES: [usize; 4] = [1 << 16, 1 << 20, 4 << 20, 16 << 20];

/// Numbers of threads that look up at once.
const THREADS: [usize; 2] = [1, 2];

/// Measures the tables and prints the report.
pub(crate) fn run(args: &Args) {
    let max_entries = args.max_entries as usize;
    if let Some(kind) = args.footprint_of {
        let rivals = Rivals::new(max_entries);
        println!("{}", rivals.footprint(kind, max_entries));
        return;
    }
    let effort = if args.quick {
        Effort { rounds: 2, lookups: 1 << 17 }
    } else {
        Effort { rounds: args.rounds as usize, lookups: 1 << 20 }
    };
    let largest = if args.quick { SIZES[0] } else { max_entries };
    let watch = Watch::begin();
    let rivals = Rivals::new(largest);
    let sizes = SIZES.into_iter().filter(|entries| *entries <= largest);
    let lookups = sizes.flat_map(|entries| measure(&rivals, entries, &effort)).collect();
    let report = Report { lookups, environment: watch.end() };
    match args.output {
        Output::Table => println!("{}\n\n{}", table_of(&report.lookups), report.environment),
        Output::Json => {
            println!(
                "{}",
                serde_json::to_string_pretty(&report).expect("a report has nothing that JSON lacks")
            );
        }
    }
}

/// Amount of work for one figure.
struct Effort {
    rounds: usize,
    /// Lookups of one thread in one turn.
    lookups: usize,
}

/// Maker of the tables that are compared.
struct Rivals {
    #[cfg(feature = "dpdk")]
    eal: guideway_engine::driver::dpdk::Eal,
}

impl Rivals {
    fn new(#[cfg_attr(not(feature = "dpdk"), expect(unused_variables))] largest: usize) -> Self {
        Self {
            #[cfg(feature = "dpdk")]
            eal: rte_hash::start_eal(largest),
        }
    }

    fn build(&self, kind: Kind, entries: usize) -> Box<dyn Table + '_> {
        match kind {
            Kind::Guideway => Box::new(Guideway::new(2 * entries)),
            Kind::GuidewayFull => Box::new(Guideway::new(entries)),
            Kind::DashMap => Box::new(DashMap::new(entries)),
            Kind::Papaya => Box::new(Papaya::new(entries)),
            Kind::SccHashMap => Box::new(SccHashMap::new(entries)),
            Kind::SccHashIndex => Box::new(SccHashIndex::new(entries)),
            #[cfg(feature = "dpdk")]
            Kind::RteHash => Box::new(rte_hash::RteHash::new(&self.eal, 2 * entries)),
            Kind::FloorSmallPages => Box::new(Floor::new(2 * entries, PageKind::Small)),
            Kind::FloorHugePages => Box::new(Floor::new(2 * entries, PageKind::Huge)),
        }
    }

    /// Measures the bytes that a filled table takes from the operating system.
    fn footprint(&self, kind: Kind, entries: usize) -> usize {
        let traffic = Traffic::new(entries);
        let before = resident_bytes();
        let mut table = self.build(kind, entries);
        for key in &traffic.known {
            table.insert(*key);
        }
        resident_bytes().saturating_sub(before)
    }
}

/// Measures the footprint of a table in a process of its own, which no other table has left memory in.
fn footprint_alone(kind: Kind, entries: usize) -> usize {
    let name = kind.to_possible_value().expect("every kind has a name");
    let program = env::current_exe().expect("this program has a file");
    let mut command = Command::new(program);
    command.args(["conntrack", "--footprint-of", name.get_name(), "--max-entries", &entries.to_string()]);
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not run: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    // DPDK may have had something to say before.
    said.lines().last().and_then(|bytes| bytes.parse().ok()).unwrap_or_else(|| {
        panic!("{command:?} did not tell its memory: {}", String::from_utf8_lossy(&output.stderr))
    })
}

/// Table under measurement, with what its rounds gave.
struct Contestant<'a> {
    kind: Kind,
    table: Box<dyn Table + 'a>,
    /// Results for each number of threads.
    turns: Vec<Turns>,
}

/// Nanoseconds of processor time for a lookup, hits and misses, by round.
struct Turns {
    threads: usize,
    hit_ns: Vec<f64>,
    miss_ns: Vec<f64>,
}

/// Measures all tables at one size, in turns, and frees them.
fn measure(rivals: &Rivals, entries: usize, effort: &Effort) -> Vec<Lookups> {
    let footprints: Vec<usize> =
        Kind::value_variants().iter().map(|kind| footprint_alone(*kind, entries)).collect();
    let (mut contestants, traffic) = fill(rivals, entries);
    for (round, index) in turns(effort.rounds, contestants.len()) {
        let Contestant { kind, table, turns } = &mut contestants[index];
        warm_up(table.as_ref(), &traffic.known);
        for Turns { threads, hit_ns, miss_ns } in turns {
            let time = |keys, expects| {
                // Each round has keys that the rounds before it have not just brought to the caches.
                let turn = Turn { keys, offset: round * effort.lookups, count: effort.lookups, expects };
                turn.time(table.as_ref(), *threads)
            };
            let [hits, misses] = if kind.is_table() { [Some(true), Some(false)] } else { [None, None] };
            hit_ns.push(time(&traffic.known, hits));
            miss_ns.push(time(&traffic.unknown, misses));
        }
    }
    let finished = contestants.into_iter().zip(footprints);
    let mut lookups: Vec<Lookups> = finished
        .flat_map(|(Contestant { kind, turns, .. }, bytes)| {
            let bytes_per_entry = bytes as f64 / entries as f64;
            turns.into_iter().map(move |Turns { threads, hit_ns, miss_ns }| Lookups {
                entries,
                threads,
                table: kind,
                bytes_per_entry,
                hit_ns: Sample::of(hit_ns),
                miss_ns: Sample::of(miss_ns),
            })
        })
        .collect();
    // Stable: tables keep their order.
    lookups.sort_by_key(|lookups| lookups.threads);
    lookups
}

/// Fills a table of every kind, all with the same entries, and returns the entries.
fn fill(rivals: &Rivals, entries: usize) -> (Vec<Contestant<'_>>, Traffic) {
    let mut traffic = Traffic::new(entries);
    let thread_counts = THREADS.into_iter().filter(|count| *count <= pinned::core_count());
    // Guideway's table may turn entries away, and stands first: what it does not have, nobody else gets.
    let contestants = Kind::value_variants().iter().map(|&kind| {
        let mut table = rivals.build(kind, entries);
        let asked = traffic.known.len();
        traffic.known.retain(|key| table.insert(*key));
        let refused = asked - traffic.known.len();
        let guideways = matches!(kind, Kind::Guideway | Kind::GuidewayFull);
        assert!(refused == 0 || guideways, "{} turned {refused} entries away", kind.name());
        let turns =
            thread_counts.clone().map(|threads| Turns { threads, hit_ns: Vec::new(), miss_ns: Vec::new() });
        Contestant { kind, table, turns: turns.collect() }
    });
    (contestants.collect(), traffic)
}

/// Brings the caches to the state that long use of this table would give them.
fn warm_up(table: &dyn Table, keys: &[Key]) {
    pinned::run(1, |_, _| std::hint::black_box(table.look_up(keys)));
}

/// Lookups of one table without a pause.
struct Turn<'k> {
    keys: &'k [Key],
    /// Index of the first thread's first key.
    offset: usize,
    /// Number of lookups of each thread.
    count: usize,
    /// True if each lookup must hit, false if each must miss; None if there is nothing to find.
    expects: Option<bool>,
}

impl Turn<'_> {
    /// Measures the nanoseconds of a thread's processor time for a lookup.
    ///
    /// # Panics
    /// If a lookup finds what it should not, or does not find what it should.
    fn time(&self, table: &dyn Table, threads: usize) -> f64 {
        let times = pinned::run(threads, |number, start| {
            // Threads keep away from each other's keys.
            let apart = self.keys.len() / threads * number;
            let runs = cyclic(self.keys, self.offset + apart, self.count);
            let mut found = LookupResults::default();
            start.wait();
            let begin = pinned::processor_ns();
            for keys in &runs {
                found += table.look_up(keys);
            }
            let elapsed = pinned::processor_ns() - begin;
            self.check(found, &runs);
            elapsed / self.count as f64
        });
        times.iter().sum::<f64>() / times.len() as f64
    }

    fn check(&self, found: LookupResults, runs: &[&[Key]]) {
        let mut expected = LookupResults::default();
        match self.expects {
            Some(true) => runs.iter().for_each(|keys| expected += LookupResults::of_hits(keys)),
            Some(false) => {}
            None => return,
        }
        assert_eq!(found, expected, "a lookup found something else than what was put there");
    }
}

#[derive(Serialize)]
struct Report {
    lookups: Vec<Lookups>,
    environment: Environment,
}

/// Lookups of one table at one size by one number of threads.
#[derive(Serialize)]
struct Lookups {
    entries: usize,
    threads: usize,
    table: Kind,
    /// Bytes that the operating system gave for the table, divided by its entries.
    bytes_per_entry: f64,
    hit_ns: Sample,
    miss_ns: Sample,
}

fn table_of(rows: &[Lookups]) -> Printed {
    let cells = |row: &Lookups| {
        let comparable = |other: &&Lookups| (other.entries, other.threads) == (row.entries, row.threads);
        let ours = rows.iter().filter(comparable).find(|other| other.table == Kind::Guideway);
        let ours = ours.expect("Guideway's table is always measured");
        let mut cells = vec![
            row.entries.to_string(),
            row.threads.to_string(),
            row.table.name().to_owned(),
            if row.table.is_table() { format!("{:.0}", row.bytes_per_entry) } else { String::new() },
        ];
        for (sample, our) in [(row.hit_ns, ours.hit_ns), (row.miss_ns, ours.miss_ns)] {
            cells.push(format!("{:.1}", sample.min));
            cells.push(format!("{:.1}", sample.median));
            cells.push(format!("{:.2}", sample.min / our.min));
        }
        cells
    };
    let header = [
        "entries",
        "threads",
        "table",
        "bytes/entry",
        "hit, min ns",
        "median",
        "ratio",
        "miss, min ns",
        "median",
        "ratio",
    ];
    let mut table = markdown(header, rows.iter().map(cells), 3);
    for column in table.column_iter_mut().take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test of several claims, because a process starts DPDK once.
    #[test]
    fn every_table_finds_all_its_entries_and_no_other() {
        let entries = 3000;
        let rivals = Rivals::new(entries);
        let (contestants, traffic) = fill(&rivals, entries);
        assert!((2700..=entries).contains(&traffic.known.len()), "{}", traffic.known.len());
        for Contestant { kind, table, .. } in
            contestants.iter().filter(|contestant| contestant.kind.is_table())
        {
            assert_eq!(
                table.look_up(&traffic.known),
                LookupResults::of_hits(&traffic.known),
                "{}",
                kind.name()
            );
            assert_eq!(table.look_up(&traffic.unknown), LookupResults::default(), "{}", kind.name());
            let turn = Turn { keys: &traffic.known, offset: 7, count: 10_000, expects: Some(true) };
            assert!(turn.time(table.as_ref(), 1) > 0.0);
        }
        assert!(rivals.footprint(Kind::Papaya, 100_000) > 100_000 * 24);
    }

    #[test]
    #[should_panic(expected = "found something else")]
    fn a_lookup_that_misses_what_it_should_hit_is_noticed() {
        let traffic = Traffic::new(100);
        let table = Guideway::new(200);
        let turn = Turn { keys: &traffic.known, offset: 0, count: 100, expects: Some(true) };
        turn.time(&table, 1);
    }

    #[test]
    fn ratios_are_to_guideways_table_of_the_same_size_and_threads() {
        let lookups = |entries, table, ns| Lookups {
            entries,
            threads: 1,
            table,
            bytes_per_entry: 48.0,
            hit_ns: Sample::of(vec![ns]),
            miss_ns: Sample::of(vec![2.0 * ns]),
        };
        let rows = [
            lookups(10, Kind::Guideway, 4.0),
            lookups(10, Kind::Papaya, 10.0),
            lookups(20, Kind::Guideway, 8.0),
            lookups(20, Kind::Papaya, 10.0),
        ];
        let printed = table_of(&rows).to_string();
        let ratios: Vec<&str> =
            printed.lines().skip(2).map(|line| line.split('|').nth(7).expect("a ratio").trim()).collect();
        assert_eq!(ratios, ["1.00", "2.50", "1.00", "1.25"]);
    }
}
