//! Measures what a large configuration takes: time and memory of its check, its start, its reloads and a health change.
//!
//! Everything is what the appliance itself does, by [`Appliance`], without workers and queues: parse and check the text,
//! get the conntrack table's memory, make the forwarding state and publish its first snapshot, take over a configuration
//! again, and publish the snapshot that a single backend's health asks for.

mod configuration;

use std::fmt;
use std::time::{Duration, Instant};

use guideway::run::appliance::{Appliance, Nic};
use guideway::run::worker::Shared;
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::publish::Subscriber;
use guideway_model::config::Config;
use guideway_model::forwarding_state::{Setup, StateChange};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::appliance::cores;
use crate::environment::{Environment, Watch};
use crate::memory::{most_resident_bytes, resident_bytes};
use crate::output::{Output, markdown};
use configuration::{Counts, backend, name};

/// Measures check, start, reloads and health changes of a configuration of many services, backends and rules
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Backend services
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=4_096))]
    services: u16,
    /// Backends of each service
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    backends: u16,
    /// Forwarding rules, each of an address and five ports
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    rules: u16,
    /// Workers that count the traffic of each rule and backend
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: u8,
    /// Connections that the conntrack table is for; threads ask for its memory, as many as there are workers and cores
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1_024..=1 << 30))]
    max_entries: u32,
    /// Health changes that are measured, each of another service
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    changes: u16,
    /// Writes the configuration to this file, and measures nothing
    #[arg(long, value_name = "FILE")]
    write: Option<std::path::PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Figures of one configuration, with their environment.
#[derive(Serialize)]
struct Report {
    services: u16,
    backends: usize,
    rules: u16,
    text_bytes: usize,
    /// Bytes of the slots of all lookup tables.
    lookup_table_bytes: usize,
    phases: Vec<Phase>,
    health_changes: HealthChanges,
    environment: Environment,
}

/// One thing that the appliance does once.
#[derive(Serialize)]
struct Phase {
    name: &'static str,
    seconds: f64,
    /// Memory that the process has afterwards.
    resident_bytes: usize,
    /// Most memory that the process has had so far.
    most_resident_bytes: usize,
}

/// Times of a change of one backend's health, up to the publication of its snapshot.
#[derive(Serialize)]
struct HealthChanges {
    count: u64,
    median_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// Time of a round of what is due every now and then, when nothing is.
    idle_round_ms: f64,
}

/// Measures and prints.
pub(crate) fn run(args: &Args) {
    let Args { services, backends, rules, max_entries, .. } = *args;
    let counts = Counts { services, backends, rules, max_entries };
    let mut text = counts.text(1);
    if let Some(path) = &args.write {
        std::fs::write(path, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let watch = Watch::begin();
    let begun = Instant::now();
    let mut phases = Phases(Vec::new());
    let text_bytes = text.len();
    let config = phases.time("check", || parse(&text));
    let cores: Vec<usize> = cores().iter().map(|core| core.id).take(args.workers.into()).collect();
    let table = || Shared::new(&config, [1, 2, 3, 4], &cores).expect("memory for it");
    drop(phases.time("conntrack table", table));
    let nic = Nic { mac: MacAddress([2, 0, 0, 0, 0, 1]), offloads_udp_checksum: false };
    let setup = Setup { workers: args.workers.into(), presumed_healthy: true, starts_once: true };
    let mut appliance = phases.time("start", || Appliance::new(config, &[nic], setup, begun.elapsed()));
    let mut worker = appliance.feed().subscribe();
    for phase in ["reload without a change", "reload with one service changed"] {
        let changed = phase != "reload without a change";
        if changed {
            text = counts.text(2);
        }
        let changes = phases.time(phase, || appliance.reload(parse(&text), begun.elapsed()));
        assert_eq!(changes.len(), if changed { usize::from(args.backends) } else { 0 }, "{phase}");
        settle(&mut appliance, &mut worker, begun.elapsed());
    }
    let health_changes = health_changes(args, &mut appliance, &mut worker, begun.elapsed());
    let tables = appliance.state().lookup_tables();
    let report = Report {
        services: args.services,
        backends: counts.all_backends(),
        rules: args.rules,
        text_bytes,
        lookup_table_bytes: tables.map(|table| table.table().len() * size_of::<u16>()).sum(),
        phases: phases.0,
        health_changes,
        environment: watch.end(),
    };
    match args.output {
        Output::Table => println!("{report}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report).expect("plain data")),
    }
}

fn parse(text: &str) -> Config {
    Config::parse("scale", text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Time between two changes: one that follows sooner is slowed as repetition.
const PAUSE: Duration = Duration::from_secs(20);

/// Turns a backend of one service after another, and times each up to its snapshot's publication.
fn health_changes(
    args: &Args,
    appliance: &mut Appliance,
    worker: &mut Subscriber<Snapshot>,
    begun: Duration,
) -> HealthChanges {
    let mut times = Histogram::<u64>::new_with_max(60_000_000_000, 3).expect("three digits up to a minute");
    let mut idle = Duration::MAX;
    for number in 0..args.changes {
        let service = name((u32::from(number) * 37 % u32::from(args.services)) as u16);
        let backend = backend((u32::from(number) * 7_919 % u32::from(args.backends)) as u16);
        let generation = appliance.state().snapshot_generation();
        // Long after the change before: repetition is slowed.
        let now = begun + PAUSE * (u32::from(number) + 1);
        let change = StateChange::Health { service, backend, healthy: number % 2 == 1 };
        let turned = Instant::now();
        let applied = appliance.apply([change], now);
        appliance.publish_changes(now);
        times.saturating_record(turned.elapsed().as_nanos() as u64);
        assert!(applied.unknown.is_empty());
        assert_eq!(worker.repin().generation, generation + 1, "a change is one snapshot");
        settle(appliance, worker, now);
        let round = Instant::now();
        appliance.tidy(now);
        idle = idle.min(round.elapsed());
    }
    let millis = |share| times.value_at_quantile(share) as f64 / 1e6;
    HealthChanges {
        count: times.len(),
        median_ms: millis(0.5),
        p99_ms: millis(0.99),
        max_ms: millis(1.0),
        idle_round_ms: idle.as_secs_f64() * 1e3,
    }
}

/// Lets a worker go of what was replaced, and the appliance free it.
fn settle(appliance: &mut Appliance, worker: &mut Subscriber<Snapshot>, now: Duration) {
    while appliance.unreclaimed_snapshots() > 0 {
        worker.repin();
        appliance.tidy(now);
    }
}

struct Phases(Vec<Phase>);

impl Phases {
    fn time<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let made = work();
        let seconds = begun.elapsed().as_secs_f64();
        let (resident_bytes, most_resident_bytes) = (resident_bytes(), most_resident_bytes());
        self.0.push(Phase { name, seconds, resident_bytes, most_resident_bytes });
        made
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: usize| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
        writeln!(
            f,
            "{} services, {} backends, {} rules; text {} MiB, lookup tables {} MiB\n",
            self.services,
            self.backends,
            self.rules,
            mebibytes(self.text_bytes),
            mebibytes(self.lookup_table_bytes),
        )?;
        let rows = self.phases.iter().map(|phase| {
            vec![
                phase.name.to_owned(),
                format!("{:.2}", phase.seconds),
                mebibytes(phase.resident_bytes),
                mebibytes(phase.most_resident_bytes),
            ]
        });
        let header = ["", "seconds", "MiB afterwards", "MiB at most"];
        let HealthChanges { count, median_ms, p99_ms, max_ms, idle_round_ms } = &self.health_changes;
        write!(
            f,
            "{}\n\n{count} health changes, one by one, each with its snapshot: median {median_ms:.2} ms, p99 {p99_ms:.2} \
             ms, max {max_ms:.2} ms; a round with nothing to do {idle_round_ms:.3} ms\n\n{}",
            markdown(header, rows, 1),
            self.environment
        )
    }
}
