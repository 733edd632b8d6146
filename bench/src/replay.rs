//! Measures packets per second of a real capture: its frames, cloned to many flows, through the poll loop of every
//! worker.
//!
//! `pipeline` measures a worker by packets that it makes up; here the packets are those of a capture, with what is
//! malformed, foreign and too big among them, and the whole poll loop has them: receive, decide, send, pass, drop. At
//! the end every frame must be accounted for.

mod client;
mod frame_counts;
mod player;
mod schedule;
mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::counters::Counters;
use guideway_dataplane::verdict::{DropReason, PassReason};
use guideway_engine::capture::CaptureReader;
use guideway_engine::clock::Clock;
use guideway_engine::publish::Publisher;
use guideway_model::config::{Config, EXAMPLE};
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::forwarding_state::{ForwardingState, Setup};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::environment::{Environment, Watch};
use crate::output::{Output, markdown};
use crate::pinned;
use frame_counts::FrameCounts;
use player::{Played, Player, Speed, Stage};
use source::Source;

/// Capture of a minute of traffic for the appliance of the example configuration.
const DEMONSTRATION: &[u8] = include_bytes!("../../pcap-fixtures/demo.in.pcap");

/// Ports of the replay, as the report names them: queues of the engine, no NIC and none of DPDK's devices.
const DRIVER: &str = "loopback queues in memory";

/// Measures packets per second of a capture, cloned to many flows, through the poll loop of every worker
///
/// The frames go through the engine's poll loop over queues in memory, not through a NIC or DPDK. Every frame must be
/// accounted for at the end, or this fails.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Capture to replay, pcap or pcapng; without it, an embedded example
    capture: Option<PathBuf>,
    /// Configuration that the capture is replayed under; without it, an embedded example
    #[arg(long)]
    config: Option<PathBuf>,
    /// Flows that the capture's are cloned to, by other addresses of their clients
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    flows: u32,
    /// Speed at which frames come
    #[arg(long, value_enum, default_value_t)]
    speed: Pacing,
    /// Factor by which frames come faster than they were captured, with `--speed capture`
    #[arg(long, default_value_t = 1.0, value_parser = pace)]
    pace: f64,
    /// Seconds that the replay takes; the capture is looped
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    seconds: f64,
    /// Workers, each on a core of its own, over one conntrack table
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Speed at which frames come
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Pacing {
    /// Sends frames as fast as the workers take them
    #[default]
    Full,
    /// Sends each clone at the times of the capture
    Capture,
}

fn pace(text: &str) -> Result<f64, String> {
    within(text, 1e-6, 1e6)
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.01, 86_400.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let fits = (least..=most).contains(&number);
    fits.then_some(number).ok_or_else(|| format!("it must lie between {least} and {most}"))
}

/// Measures a replay and prints the report; fails if a frame is unaccounted for.
pub(crate) fn run(args: &Args) -> ExitCode {
    let report = match Report::measure(args) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match args.output {
        Output::Table => println!("{report}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report).expect("plain data")),
    }
    let mismatches = report.replay.frame_counts.mismatches();
    mismatches.iter().for_each(|mismatch| eprintln!("error: not every frame is accounted for: {mismatch}"));
    if mismatches.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Results of a replay, with their environment.
#[derive(Serialize)]
struct Report {
    replay: Replayed,
    environment: Environment,
}

/// Replay: its input and its results.
#[derive(Serialize)]
struct Replayed {
    capture: String,
    driver: &'static str,
    frames: usize,
    clones: u64,
    flows: u64,
    workers: u16,
    speed: Pacing,
    /// Packets per second that the clones send together at their pace; None at full speed.
    asked_packets_per_sec: Option<f64>,
    packets_per_sec: f64,
    /// Milliseconds by which the latest frame was put in after it was due.
    latest_ms: f64,
    /// Nanoseconds of the poll loop's turns that found packets, per packet.
    ns_per_packet: f64,
    /// Nanoseconds per packet of the median turn that found a full burst, which leaves out whoever else had the core.
    median_ns_per_packet: Option<f64>,
    #[serde(rename = "ledger")]
    frame_counts: FrameCounts,
    passed: BTreeMap<&'static str, u64>,
    dropped: BTreeMap<&'static str, u64>,
    conntrack: Conntrack,
    backends: Vec<BackendShare>,
    /// Nanoseconds of the turns that found any number of packets.
    burst_ns: Percentiles,
}

#[derive(Serialize)]
struct Conntrack {
    capacity: usize,
    hits: u64,
    new: u64,
    full: u64,
    untracked: u64,
}

/// Share that a backend got beside the one that its weight gives it.
#[derive(Serialize)]
struct BackendShare {
    backend_service: String,
    backend: String,
    weight: u16,
    expected_share: f64,
    packets: u64,
    /// Share of the service's packets.
    share: f64,
}

#[derive(Serialize)]
struct Percentiles {
    bursts: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl Report {
    fn measure(args: &Args) -> Result<Self, String> {
        let cores = pinned::core_count();
        if usize::from(args.workers) > cores {
            return Err(format!("{} workers need as many cores, and there are {cores}", args.workers));
        }
        let config = configuration(args.config.as_deref())?;
        let (capture, mut source) = capture(args.capture.as_deref())?;
        let workers = usize::from(args.workers);
        let max_entries = config.conntrack.max_entries as usize;
        source.find_clients(|| ForwardingState::offline(config.clone()).snapshot(&StandInMacs));
        let setup = Setup { workers, ..Setup::OFFLINE };
        let mut state = ForwardingState::new(config, setup, Duration::ZERO);
        let publisher = Publisher::new(state.snapshot(&StandInMacs));

        let clones = source.clones_for(args.flows.into()).max(workers as u64);
        let flows = source.flows(clones);
        if flows < args.flows.into() {
            eprintln!(
                "only {flows} flows: other clients would meet other rules, or there are no more addresses"
            );
        }
        // Room for twice what is replayed, as a machine would be configured for its load.
        let capacity = max_entries.max(flows as usize * 2);
        let table = ConntrackTable::with_capacity(capacity)
            .map_err(|_| format!("a conntrack table of {capacity} entries does not fit the memory"))?;
        let stage = Stage {
            source: &source,
            feed: publisher.feed(),
            table: Arc::new(table),
            clock: Clock::start(),
            speed: match args.speed {
                Pacing::Full => Speed::Full,
                Pacing::Capture => Speed::Capture(args.pace),
            },
            length: Duration::from_secs_f64(args.seconds),
            clones,
            workers: workers as u64,
        };
        let watch = Watch::begin();
        let played = pinned::run(workers, |number, start| {
            let player = Player::new(&stage, number);
            start.wait();
            player.play()
        });
        let environment = watch.end();

        let asked = (source.frame_count() as u64 * clones) as f64 / source.length.as_secs_f64() * args.pace;
        let mut replay = Replayed {
            capture,
            driver: DRIVER,
            frames: source.frame_count(),
            clones,
            flows,
            workers: args.workers,
            speed: args.speed,
            asked_packets_per_sec: (args.speed == Pacing::Capture).then_some(asked),
            backends: backend_shares(&state),
            ..Replayed::sum(&played)
        };
        replay.conntrack.capacity = capacity;
        Ok(Self { replay, environment })
    }
}

fn configuration(path: Option<&Path>) -> Result<Config, String> {
    let (name, text) = match path {
        Some(path) => {
            let text = std::fs::read_to_string(path);
            (path.display().to_string(), text.map_err(|error| format!("{}: {error}", path.display()))?)
        }
        None => ("the embedded example".to_owned(), EXAMPLE.to_owned()),
    };
    Config::parse(&name, &text).map_err(|errors| errors.to_string())
}

/// Opens the capture, and returns its name too.
fn capture(path: Option<&Path>) -> Result<(String, Source), String> {
    let name = path.map_or_else(|| "the embedded example".to_owned(), |path| path.display().to_string());
    let reader = match path {
        Some(path) => CaptureReader::open(path),
        None => CaptureReader::new(Box::new(DEMONSTRATION) as Box<dyn Read + Send>),
    };
    let source = reader.and_then(Source::read).map_err(|error| format!("{name}: {error}"))?;
    if source.frame_count() == 0 {
        return Err(format!("{name} holds no frame"));
    }
    if source.frame_count() == source::MAX_FRAMES {
        eprintln!("only the first {} frames of {name} are replayed", source::MAX_FRAMES);
    }
    Ok((name, source))
}

fn backend_shares(state: &ForwardingState) -> Vec<BackendShare> {
    let totals = state.traffic_totals().totals();
    let mut of_services: BTreeMap<&str, u64> = BTreeMap::new();
    for ((service, _), traffic) in &totals.backends {
        *of_services.entry(service).or_default() += traffic.volume.packets;
    }
    let mut shares = Vec::new();
    for table in state.lookup_tables() {
        for share in table.shares() {
            let backend = (table.service().into(), share.backend.into());
            let packets = totals.backends.get(&backend).map_or(0, |traffic| traffic.volume.packets);
            let all = of_services.get(table.service()).copied().unwrap_or(0);
            shares.push(BackendShare {
                backend_service: table.service().to_owned(),
                backend: share.backend.to_owned(),
                weight: share.weight,
                expected_share: f64::from(share.slots) / table.table().len() as f64,
                packets,
                share: packets as f64 / all.max(1) as f64,
            });
        }
    }
    shares
}

impl Replayed {
    /// Adds up the results of all workers; the description of the input is still empty.
    fn sum(played: &[Played]) -> Self {
        let mut counters = Counters::default();
        let mut frame_counts = FrameCounts::default();
        let mut bursts = played[0].bursts.clone();
        let mut full_bursts = played[0].full_bursts.clone();
        for (index, one) in played.iter().enumerate() {
            counters.add(&one.counters.pipeline);
            frame_counts.add(&one.frame_counts);
            if index > 0 {
                bursts.add(&one.bursts).expect("all have the same bounds");
                full_bursts.add(&one.full_bursts).expect("all have the same bounds");
            }
        }
        let rate = |one: &Played| one.frame_counts.offered as f64 / one.elapsed.as_secs_f64();
        let busy: Duration = played.iter().map(|one| one.busy).sum();
        let latest = played.iter().map(|one| one.latest).max().unwrap_or_default();
        let median = full_bursts.value_at_quantile(0.5) as f64 / guideway_dataplane::pipeline::BURST as f64;
        Self {
            capture: String::new(),
            driver: DRIVER,
            frames: 0,
            clones: 0,
            flows: 0,
            workers: 0,
            speed: Pacing::Full,
            asked_packets_per_sec: None,
            packets_per_sec: played.iter().map(rate).sum(),
            latest_ms: latest.as_secs_f64() * 1e3,
            ns_per_packet: busy.as_nanos() as f64 / counters.offered.max(1) as f64,
            median_ns_per_packet: (!full_bursts.is_empty()).then_some(median),
            frame_counts,
            passed: by_reason(PassReason::ALL.iter().map(|reason| reason.as_str()), &counters.passed),
            dropped: by_reason(DropReason::ALL.iter().map(|reason| reason.as_str()), &counters.dropped),
            conntrack: Conntrack {
                capacity: 0,
                hits: counters.conntrack.hits,
                new: counters.conntrack.inserts,
                full: counters.conntrack.full,
                untracked: counters.conntrack.untracked,
            },
            backends: Vec::new(),
            burst_ns: Percentiles::of(&bursts),
        }
    }
}

impl Percentiles {
    fn of(bursts: &Histogram<u64>) -> Self {
        Self {
            bursts: bursts.len(),
            p50: bursts.value_at_quantile(0.5),
            p90: bursts.value_at_quantile(0.9),
            p99: bursts.value_at_quantile(0.99),
            p99_9: bursts.value_at_quantile(0.999),
            max: bursts.max(),
        }
    }
}

/// Collects the counts that are not zero, by their reason.
fn by_reason(words: impl Iterator<Item = &'static str>, counts: &[u64]) -> BTreeMap<&'static str, u64> {
    words.zip(counts.iter().copied()).filter(|(_, count)| *count > 0).collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\n{}", self.replay, self.environment)
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frame_counts, conntrack, burst_ns, .. } = self;
        writeln!(
            f,
            "{}: {} frames, {} clones, {} flows; {} worker(s) over {}",
            self.capture, self.frames, self.clones, self.flows, self.workers, self.driver
        )?;
        let mpps = self.packets_per_sec / 1e6;
        match self.asked_packets_per_sec {
            Some(asked) => writeln!(
                f,
                "{mpps:.3} million packets/s of {:.3} asked for, at most {:.1} ms late",
                asked / 1e6,
                self.latest_ms
            )?,
            None => writeln!(f, "{mpps:.3} million packets/s, the making of frames included")?,
        }
        write!(f, "{:.1} ns a packet in the poll loop, on the wall", self.ns_per_packet)?;
        if let Some(median) = self.median_ns_per_packet {
            write!(f, "; {median:.1} in the median full burst")?;
        }
        writeln!(
            f,
            "\nbursts: {} in all, p50 {} ns, p90 {}, p99 {}, p99.9 {}, max {}\n",
            burst_ns.bursts, burst_ns.p50, burst_ns.p90, burst_ns.p99, burst_ns.p99_9, burst_ns.max
        )?;
        let share =
            |count: u64| format!("{:.2} %", count as f64 / frame_counts.offered.max(1) as f64 * 100.0);
        let line = |what: &str, count: u64| vec![what.to_owned(), count.to_string(), share(count)];
        let mut rows = vec![line("forwarded", frame_counts.forwarded)];
        rows.extend(self.passed.iter().map(|(reason, count)| line(&format!("passed: {reason}"), *count)));
        rows.extend(self.dropped.iter().map(|(reason, count)| line(&format!("dropped: {reason}"), *count)));
        rows.push(line("offered", frame_counts.offered));
        writeln!(f, "{}\n", markdown(["packets", "count", "share"], rows, 1))?;
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        let rows = self.backends.iter().map(|backend| {
            vec![
                backend.backend_service.clone(),
                backend.backend.clone(),
                backend.weight.to_string(),
                percent(backend.expected_share),
                percent(backend.share),
                backend.packets.to_string(),
            ]
        });
        let header = ["service", "backend", "weight", "by weight", "packets' share", "packets"];
        writeln!(f, "{}\n", markdown(header, rows, 2))?;
        writeln!(
            f,
            "conntrack: {} hits, {} new, {} without room, {} untracked; capacity {}",
            conntrack.hits, conntrack.new, conntrack.full, conntrack.untracked, conntrack.capacity
        )?;
        write!(
            f,
            "accounted for: {} put in, {} refused, {} offered; {} sent ({} of them answers), {} lost to a full \
             queue, {} for an unknown port, {} came out; {} to the host, {} found it full",
            frame_counts.put_in,
            frame_counts.refused,
            frame_counts.offered,
            frame_counts.sent,
            frame_counts.answered,
            frame_counts.tx_full,
            frame_counts.unknown_egress_port,
            frame_counts.came_out,
            frame_counts.to_host,
            frame_counts.host_full
        )
    }
}
