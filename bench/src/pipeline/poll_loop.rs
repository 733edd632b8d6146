//! Takes the poll loop apart: what its queues, its pipeline and the loop itself each cost a packet, in memory and on
//! DPDK's virtual devices.
//!
//! ```text
//! queues         rx_burst →                        → tx_burst
//! with pipeline  rx_burst → BurstProcessor::poll   → tx_burst
//! with loop      PollLoop::turn
//! ```
//!
//! The three take turns on the same queues, with frames of the same flows. Frames of the queues in memory are made as
//! they are received, and go round in as many slots as those of `pipeline`; those of `net_pcap` are a capture's, which the
//! driver copies into mbufs again and again.

mod by_turns;
#[cfg(feature = "dpdk")]
mod dpdk_queues;
mod memory_queues;
pub(in crate::pipeline) mod shared;
pub(in crate::pipeline) mod waiting_burst;

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::DeliveryMode;
use guideway_dataplane::pipeline::BURST;
use guideway_engine::clock::Clock;
use guideway_engine::publish::Publisher;
use serde::Serialize;

use super::lane::Lane;
use super::scenario::{Affinity, Family, PacketForm, Packets, RuleForm, Scenario, delivery_modes};
use super::traffic::{Sent, Traffic};
use crate::environment::{Environment, Watch};
use crate::output::{Output, markdown};
use crate::pinned;
use by_turns::ByTurns;
use memory_queues::MemoryQueues;

/// Measures what the queues, the pipeline and the poll loop itself each cost a packet
///
/// Packets belong to established connections. With the feature `dpdk`, the virtual devices net_pcap, net_ring and net_null
/// are measured beside queues in memory; the last two alone, as they have no packets for a rule.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Connections that the packets belong to
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000],
        value_parser = clap::value_parser!(u32).range(32..=20_000))]
    flows: Vec<u32>,
    /// Delivery mode of the backends
    #[arg(long, default_value = "ipip", value_parser = delivery_modes())]
    delivery: DeliveryMode,
    /// Runs of each measurement
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Bursts of 32 packets in each run
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    bursts: u32,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Results on all queues, with their environment.
#[derive(Serialize)]
struct Report {
    measured: Vec<Measured>,
    environment: Environment,
}

/// Nanoseconds of the thread per packet on one kind of queues; the least of all runs.
#[derive(Serialize)]
struct Measured {
    /// Name of the queues: `memory`, or the driver of a virtual device.
    queues: &'static str,
    /// Connections; None where frames belong to none.
    flows: Option<u32>,
    /// Received, and sent as they came.
    queues_ns: f64,
    /// Received, decided, and sent; None where nothing is forwarded.
    decided_ns: Option<f64>,
    /// Turned over by the poll loop.
    loop_ns: Option<f64>,
    /// The pipeline alone, as the subcommand `pipeline` measures it.
    pipeline_ns: Option<f64>,
}

/// Number and length of the runs.
#[derive(Clone, Copy)]
struct Effort {
    runs: usize,
    bursts: usize,
}

/// Measures all queues and prints the table.
pub(crate) fn run(args: &Args) -> ExitCode {
    let watch = Watch::begin();
    let measured = pinned::run(1, |_, start| {
        start.wait();
        measure(args)
    });
    let measured = match measured.into_iter().collect::<Result<Vec<_>, _>>() {
        Ok(measured) => measured.into_iter().flatten().collect(),
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let report = Report { measured, environment: watch.end() };
    match args.output {
        Output::Table => println!("{report}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report).expect("plain data")),
    }
    ExitCode::SUCCESS
}

fn measure(args: &Args) -> Result<Vec<Measured>, String> {
    let effort = Effort { runs: args.runs.into(), bursts: args.bursts as usize };
    let mut measured = Vec::new();
    for &flows in &args.flows {
        let scenario = scenario(flows, args.delivery);
        let traffic = Traffic::new(&scenario);
        let mut alone = alone(&scenario, &traffic);
        let queues = MemoryQueues::new(&traffic, flows);
        let mut by_turns = ByTurns::new(&scenario, queues);
        measured.push(Measured::new("memory", Some(flows), by_turns.measure(effort, &mut alone)));
    }
    #[cfg(feature = "dpdk")]
    measured.extend(dpdk_queues::measure(args, effort)?);
    Ok(measured)
}

/// Established connections before a hundred backends.
fn scenario(flows: u32, delivery: DeliveryMode) -> Scenario {
    Scenario {
        flows: flows as usize,
        frame_len: 60,
        family: Family::Ipv4,
        delivery,
        affinity: Affinity::None,
        per_session: false,
        packets: Packets::Hit,
        workers: 1,
        backends: 100,
        rules: 1,
        rule: RuleForm::Port,
        form: PacketForm::Plain,
        networks: 1,
    }
}

/// Makes the measurement of the pipeline alone: nanoseconds of so many bursts, without the making of their frames.
fn alone<'t>(scenario: &Scenario, traffic: &'t Traffic) -> impl FnMut(usize) -> f64 + use<'t> {
    let publisher = Publisher::new(scenario.snapshot(1));
    let table = Arc::new(ConntrackTable::with_capacity(scenario.capacity()).expect("memory for the table"));
    let mut lane = Lane::new(0, &publisher.feed(), &table, traffic, Clock::start().coarse());
    let flows = scenario.flows as u32;
    // Two packets of each at once: a second confirms the entry, which before would give way to the next flow's.
    let mut each = (0..flows).flat_map(|flow| [flow, flow]).cycle();
    lane.forward((2 * flows as usize).div_ceil(BURST), Sent::Plain, || each.next().expect("it goes round"));
    let mut random = fastrand::Rng::with_seed(0);
    move |bursts| {
        // Held by the lane's subscription as long as it is used.
        let _ = &publisher;
        let making = lane.make(bursts, Sent::InForm, || random.u32(..flows));
        lane.forward(bursts, Sent::InForm, || random.u32(..flows)) - making
    }
}

impl Measured {
    fn new(queues: &'static str, flows: Option<u32>, [in_queues, decided, in_loop, alone]: [f64; 4]) -> Self {
        let some = |ns| flows.map(|_| ns);
        Self {
            queues,
            flows,
            queues_ns: in_queues,
            decided_ns: some(decided),
            loop_ns: some(in_loop),
            pipeline_ns: some(alone),
        }
    }

    fn row(&self) -> Vec<String> {
        let ns = |ns: Option<f64>| ns.map_or_else(String::new, |ns| format!("{ns:.1}"));
        let less = |more: Option<f64>, less: Option<f64>| more.zip(less).map(|(more, less)| more - less);
        let deciding = less(self.decided_ns, Some(self.queues_ns));
        vec![
            self.queues.to_owned(),
            self.flows.map_or_else(String::new, |flows| flows.to_string()),
            format!("{:.1}", self.queues_ns),
            ns(self.decided_ns),
            ns(self.loop_ns),
            ns(self.pipeline_ns),
            ns(less(deciding, self.pipeline_ns)),
            ns(less(self.loop_ns, self.decided_ns)),
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = [
            "queues",
            "flows",
            "queues ns",
            "+ pipeline",
            "+ poll loop",
            "pipeline alone",
            "frames' memory",
            "poll loop itself",
        ];
        writeln!(f, "{}\n", markdown(header, self.measured.iter().map(Measured::row), 1))?;
        write!(f, "{}", self.environment)
    }
}
