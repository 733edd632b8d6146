//! Measures packets per second through a worker: parse, classify, track, deliver, from memory to memory.
//!
//! Frames are made in the slots of a small ring, as a NIC would put them there. What their making costs is measured by
//! itself in the same runs and taken off; the rest is all that an engine's worker does between receiving and sending,
//! its counters and its look at the newest snapshot included.

pub(crate) mod instructions;
mod lane;
pub(crate) mod poll_loop;
mod run;
mod scenario;
mod slot;
mod traffic;

use clap::ValueEnum;
use guideway_dataplane::delivery::DeliveryMode;
use serde::Serialize;

use crate::environment::{Environment, Watch};
use crate::output::{Output, markdown};
use crate::pinned;
use run::{Effort, Measured};
use scenario::{Affinity, Family, GUE, PacketForm, Packets, RuleForm, Scenario, delivery_modes};

/// Measures what a packet costs a worker, from memory to memory
///
/// Without any of the lists below, the most telling scenarios are measured. With one, all combinations are; a list that
/// is missing stands for 1,000,000 flows, frames of 60 bytes, IPv4, ipip, affinity NONE, one
/// listed port, hits, one worker.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Connections that the packets belong to, in random order
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(32..=500_000_000))]
    flows: Vec<u32>,
    /// Bytes of a frame without its check sequence; at least 74 over IPv6
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(60..=1518))]
    frame_len: Vec<u16>,
    /// Families of the packets, and of the tunnels that they go through
    #[arg(long, value_delimiter = ',')]
    family: Vec<Family>,
    /// Delivery modes of the backends
    #[arg(long, value_delimiter = ',', value_parser = delivery_modes())]
    delivery: Vec<DeliveryMode>,
    /// Session affinities
    #[arg(long, value_delimiter = ',')]
    affinity: Vec<Affinity>,
    /// Work that the packets make for the conntrack table
    #[arg(long, value_delimiter = ',')]
    packets: Vec<Packets>,
    /// Workers, each on a core of its own, over one conntrack table
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Vec<u16>,
    /// Tracks sessions by the selection hash (PER_SESSION): workers then have all flows, else each has its own
    #[arg(long)]
    per_session: bool,
    /// Backends of the service
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    backends: u16,
    /// Forwarding rules, over which the flows are spread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rules: u16,
    /// Form of the rules
    #[arg(long, value_delimiter = ',')]
    rule: Vec<RuleForm>,
    /// Form of the packets of established connections
    #[arg(long, value_delimiter = ',')]
    form: Vec<PacketForm>,
    /// Networks over which the flows are spread; of several, each is a VLAN, and packets have a tag whatever their form
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=64))]
    networks: Vec<u16>,
    /// Snapshots published per second while the bursts are timed
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=1000))]
    publish_per_sec: u16,
    /// Runs of each measurement
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=1000))]
    runs: u16,
    /// Bursts of 32 packets in each run
    #[arg(long, default_value_t = 6_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    bursts: u32,
    /// Measures a few bursts of few flows: a check that all of it works, not of its speed
    #[arg(long, conflicts_with_all = ["runs", "bursts", "flows"])]
    quick: bool,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Results of all scenarios, with their environment.
#[derive(Serialize)]
struct Report {
    measured: Vec<Measured>,
    environment: Environment,
}

/// Measures the scenarios and prints the report.
pub(crate) fn run(args: &Args) {
    let watch = Watch::begin();
    let effort = if args.quick {
        Effort { runs: 2, bursts: 50, publish_per_sec: args.publish_per_sec }
    } else {
        Effort { runs: args.runs.into(), bursts: args.bursts as usize, publish_per_sec: args.publish_per_sec }
    };
    let measured = args
        .scenarios()
        .into_iter()
        .filter(|scenario| {
            let fits = scenario.workers <= pinned::core_count();
            if !fits {
                eprintln!("skipped: {} workers need as many cores", scenario.workers);
            }
            fits
        })
        .map(|scenario| run::measure(&scenario, &effort))
        .collect();
    let report = Report { measured, environment: watch.end() };
    match args.output {
        Output::Table => println!("{report}"),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report).expect("plain data")),
    }
}

impl Args {
    fn scenarios(&self) -> Vec<Scenario> {
        let usual = Scenario {
            flows: if self.quick { 10_000 } else { 1_000_000 },
            frame_len: 60,
            family: Family::Ipv4,
            delivery: DeliveryMode::Ipip,
            affinity: Affinity::None,
            per_session: self.per_session,
            packets: Packets::Hit,
            workers: 1,
            backends: self.backends.into(),
            rules: self.rules.into(),
            rule: RuleForm::Port,
            form: PacketForm::Plain,
            networks: 1,
        };
        let lists = [self.flows.len(), self.frame_len.len(), self.family.len(), self.delivery.len()];
        let more_lists =
            [self.affinity.len(), self.packets.len(), self.workers.len(), self.rule.len(), self.form.len()];
        let networks = [self.networks.len()];
        let lists = lists.iter().chain(&more_lists).chain(&networks);
        if !self.per_session && lists.sum::<usize>() == 0 {
            return Self::telling(&usual, self.quick);
        }
        let mut scenarios = vec![usual];
        vary(&mut scenarios, &self.frame_len, |scenario, len| scenario.frame_len = len.into());
        vary(&mut scenarios, &self.delivery, |scenario, mode| scenario.delivery = mode);
        vary(&mut scenarios, &self.affinity, |scenario, affinity| scenario.affinity = affinity);
        vary(&mut scenarios, &self.packets, |scenario, packets| scenario.packets = packets);
        vary(&mut scenarios, &self.rule, |scenario, form| scenario.rule = form);
        vary(&mut scenarios, &self.form, |scenario, form| scenario.form = form);
        vary(&mut scenarios, &self.networks, |scenario, networks| scenario.networks = networks.into());
        vary(&mut scenarios, &self.workers, |scenario, workers| scenario.workers = workers.into());
        vary(&mut scenarios, &self.family, |scenario, family| scenario.family = family);
        vary(&mut scenarios, &self.flows, |scenario, flows| scenario.flows = flows as usize);
        scenarios.into_iter().map(Scenario::sound).collect()
    }

    /// Lists the forms of rules and of packets, all with few flows, so that nothing but the form differs.
    fn cliffs(usual: &Scenario) -> Vec<Scenario> {
        let plainest = Scenario { flows: 1_000, ..*usual };
        let rules = RuleForm::value_variants().iter().map(|rule| Scenario { rule: *rule, ..plainest });
        let forms =
            PacketForm::value_variants().iter().skip(1).map(|form| Scenario { form: *form, ..plainest });
        let networks = [2, 64].map(|networks| Scenario { networks, form: PacketForm::Vlan, ..plainest });
        rules.chain(forms).chain([Scenario { rules: 10_000, ..plainest }]).chain(networks).collect()
    }

    /// Lists the scenarios that tell most, for a run without arguments.
    fn telling(usual: &Scenario, quick: bool) -> Vec<Scenario> {
        let by_flows = |family| {
            let flows: &[usize] =
                if quick { &[1_000, 10_000] } else { &[1_000, 100_000, 1_000_000, 10_000_000] };
            flows.iter().map(move |&flows| Scenario { flows, family, ..*usual })
        };
        let mut scenarios: Vec<Scenario> = by_flows(Family::Ipv4).chain(by_flows(Family::Ipv6)).collect();
        scenarios.extend([Packets::New, Packets::Flood].map(|packets| Scenario { packets, ..*usual }));
        scenarios.extend(
            [DeliveryMode::L2, DeliveryMode::Gre, GUE].map(|delivery| Scenario { delivery, ..*usual }),
        );
        scenarios.push(Scenario { frame_len: 1514, ..*usual });
        scenarios.push(Scenario { workers: 2, ..*usual });
        scenarios.extend(Self::cliffs(usual));
        let sessions = Scenario { affinity: Affinity::ClientIp, per_session: true, ..*usual };
        scenarios.extend([1, 2].map(|workers| Scenario { workers, ..sessions }));
        scenarios.into_iter().map(Scenario::sound).collect()
    }
}

/// Replaces each scenario by one for each of `values`, if there are any.
fn vary<T: Copy>(scenarios: &mut Vec<Scenario>, values: &[T], set: impl Fn(&mut Scenario, T)) {
    if values.is_empty() {
        return;
    }
    *scenarios = scenarios
        .iter()
        .flat_map(|scenario| {
            values.iter().map(|value| {
                let mut varied = *scenario;
                set(&mut varied, *value);
                varied
            })
        })
        .collect();
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let header = [
            "packets",
            "family",
            "delivery",
            "affinity",
            "rule",
            "form",
            "networks",
            "workers",
            "frame",
            "flows",
            "ns/packet",
            "median",
            "making",
            "Mpps",
            "burst p50 ns",
            "p99",
            "p99.9",
            "max",
        ];
        let rows = self.measured.iter().map(Measured::row);
        writeln!(f, "{}\n", markdown(header, rows, 6))?;
        write!(f, "{}", self.environment)
    }
}
