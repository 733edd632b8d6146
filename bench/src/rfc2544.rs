//! Measures the rates that a device forwards without loss (NDR) and with little (PDR), and its latency below them.
//!
//! ```text
//!  sender ─▶ near port ══▶ device under test ══▶ far port ─▶ receiver
//!     ▲                                                        │ lost, twice, out of order, late
//!     └────────── next rate and duration ◀── search ◀──────────┘
//! ```
//!
//! Test frames are those of RFC 2544, the search is that of MLRsearch (draft-ietf-bmwg-mlrsearch). The tester drives two
//! DPDK ports before any device, or has the engine itself as the device, in memory.

mod client;
mod echo;
mod frame_len;
mod goal;
mod inside;
mod latency;
mod measurement;
mod pacer;
#[cfg(feature = "dpdk")]
mod ports;
mod protocol;
mod record;
mod report;
mod responder;
mod rig;
mod search;
mod stamp;
mod tally;
mod target;
mod traffic;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::driver::device::Device;
use guideway_model::config::Config;

use crate::environment::Watch;
use crate::output::Output;
use frame_len::FrameLen;
use goal::Goal;
use measurement::{Measured, Plan};
use protocol::{Family, Protocol};
use report::Report;
use rig::{Cores, Rig};
use search::Limits;
use target::Target;
use traffic::{Traffic, TrafficOptions};

/// Configuration of the device where none is given.
const DEVICE: &str = include_str!("rfc2544/device.toml");

/// Highest rate where no link says what it carries.
const MAX_RATE: u64 = 20_000_000;

/// Frames of one trial, at most: the receiver keeps a bit of each.
const MAX_FRAMES: f64 = 3e10;

/// Searches the rates that a device forwards without loss (NDR) and with little (PDR), and measures its latency
///
/// Sends test frames (RFC 2544) to the virtual addresses of a configuration by the first port, and counts what comes back
/// by the second, in whatever tunnel. One search (MLRsearch) finds the rates of all loss ratios; latencies are measured at
/// shares of the first. Without DPDK (feature `dpdk`), the device is the engine itself, in this process (`--inside`).
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Device of a port as DPDK names it: first the one that sends, then the one that receives; one alone does both
    #[arg(
        long,
        value_name = "DEVICE",
        num_args = 1,
        required_unless_present = "inside",
        conflicts_with = "inside"
    )]
    port: Vec<Device>,
    /// Measures the engine itself, on the last core of this machine, between ports in memory
    #[arg(long)]
    inside: bool,
    /// Configuration of the device under test, for its virtual addresses; without it, an embedded one
    #[arg(long)]
    config: Option<PathBuf>,
    /// MAC address of the device's port; without it, the device is asked for its first IPv4 address by ARP
    #[arg(long, value_parser = mac_address)]
    device_mac: Option<MacAddress>,
    /// Cores of the tester: sender and receiver, or one for both
    #[arg(long, value_delimiter = ',', num_args = 1..=2)]
    cores: Vec<usize>,
    /// Keeps frames in so many MiB of ordinary pages instead of huge pages
    #[arg(long, value_name = "MIB")]
    no_huge: Option<u32>,
    /// Bytes of a frame with its check sequence, 64 to 1518, or imix
    #[arg(long, value_delimiter = ',', default_value = frame_len::STANDARD)]
    frame_len: Vec<FrameLen>,
    /// Family of the frames
    #[arg(long, value_enum, default_value_t)]
    family: Family,
    /// Protocol of the frames
    #[arg(long, value_enum, default_value_t)]
    protocol: Protocol,
    /// Connections that the frames belong to, in turns
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=i64::from(client::MAX_FLOWS)))]
    flows: u32,
    /// Shares of the frames that may be lost: a rate is searched for each, the lowest first
    #[arg(long, value_delimiter = ',', default_value = "0,0.005", value_parser = share)]
    loss_ratio: Vec<f64>,
    /// Share of the trials at a rate that may lose more, by their time
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    exceed_ratio: f64,
    /// Distance of the bounds at which the search ends, as a share of the upper one
    #[arg(long, default_value_t = 0.005, value_parser = width)]
    width: f64,
    /// Seconds before the search in which the device comes to know connections, neighbours and healthy backends; without it,
    /// 10 before ports, and 1 inside
    #[arg(long, value_parser = seconds)]
    warm_up: Option<f64>,
    /// Seconds of the first trials
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    initial_trial: f64,
    /// Seconds of the last trials, which decide; RFC 2544 asks for 60
    #[arg(long, default_value_t = 60.0, value_parser = seconds)]
    final_trial: f64,
    /// Seconds of all trials at a rate that decide about it; without it, those of one final trial
    #[arg(long, value_parser = seconds)]
    duration_sum: Option<f64>,
    /// Seconds that the last frames of a trial have to come back
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    settle: f64,
    /// Frames that the sender makes up for after a stall, at most: more keeps the rate on a busy machine, in bursts
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    backlog: u32,
    /// Lowest rate that is tried, in frames per second
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    min_rate: u64,
    /// Highest rate that is tried, in frames per second; without it, what the link carries, or 20,000,000
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    max_rate: Option<u64>,
    /// Trials of a search, at most
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..))]
    max_trials: u16,
    /// Seconds that a search may take, with the pauses of its trials
    #[arg(long, default_value_t = 7_200.0, value_parser = seconds)]
    max_time: f64,
    /// Percent of the first goal's rate at which latencies are measured
    #[arg(long, value_delimiter = ',', default_value = "10,50,90", value_parser = clap::value_parser!(u8).range(1..=100))]
    latency_at: Vec<u8>,
    /// Seconds of a trial that measures latencies; without it, those of the final trials
    #[arg(long, value_parser = seconds)]
    latency_trial: Option<f64>,
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

fn share(text: &str) -> Result<f64, String> {
    within(text, 0.0, 0.99)
}

fn width(text: &str) -> Result<f64, String> {
    within(text, 0.0001, 0.1)
}

fn seconds(text: &str) -> Result<f64, String> {
    within(text, 0.001, 86_400.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let fits = (least..=most).contains(&number);
    fits.then_some(number).ok_or_else(|| format!("it must lie between {least} and {most}"))
}

fn mac_address(text: &str) -> Result<MacAddress, String> {
    let bytes: Option<Vec<u8>> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.map(MacAddress).ok_or_else(|| "write it as 02:00:00:00:00:01".to_owned())
}

/// Measures and prints the report; fails where a measurement can't be made.
pub(crate) fn run(args: &Args) -> ExitCode {
    match args.measure() {
        Ok(report) => {
            match args.output {
                Output::Table => println!("{report}"),
                Output::Json => println!("{}", serde_json::to_string_pretty(&report).expect("plain data")),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ends of the cables, as far as frames name them.
#[derive(Clone, Copy, Debug)]
struct Link {
    source: MacAddress,
    destination: MacAddress,
    /// Bits per second that the link carries, if a real one says so.
    bits: Option<f64>,
}

impl Args {
    fn measure(&self) -> Result<Report, String> {
        let config = self.configuration()?;
        let targets = target::targets(&config, self.family, self.protocol);
        if targets.is_empty() {
            return Err(format!(
                "the configuration has no rule for {} over {} that takes clients of {}",
                self.protocol,
                self.family,
                client::ends(self.family)[0]
            ));
        }
        let mut remarks = Vec::new();
        let watch = Watch::begin();
        let (device, measured) = if self.inside {
            let (device_core, cores) = self.inside_cores(&mut remarks)?;
            let link = Link { source: inside::TESTER_MAC, destination: inside::DEVICE_MAC, bits: None };
            remarks.push(
                "The device is this program's own engine, between ports in memory: no NIC and no driver takes part."
                    .to_owned(),
            );
            let measured = inside::with_device(&config, device_core, cores, |rig| {
                self.measure_all(&targets, link, rig, &mut remarks)
            })?;
            ("the engine, inside".to_owned(), measured)
        } else {
            let device: Vec<String> = self.port.iter().map(Device::to_string).collect();
            (device.join(" → device → "), self.measure_ports(&config, &targets, &mut remarks)?)
        };
        Ok(Report {
            device,
            family: self.family,
            protocol: self.protocol,
            flows: self.flows,
            targets: targets.len(),
            plan: self.plan(self.max_rate.unwrap_or(MAX_RATE)),
            measured,
            remarks,
            environment: watch.end(),
        })
    }

    #[cfg(feature = "dpdk")]
    fn measure_ports(
        &self,
        config: &Config,
        targets: &[Target],
        remarks: &mut Vec<String>,
    ) -> Result<Vec<Measured>, String> {
        if self.port.len() > 2 {
            return Err("name one port or two".to_owned());
        }
        let cores = self.tester_cores(&cores(), self.port.len() > 1, remarks)?;
        let options = ports::PortsOptions { devices: &self.port, no_huge: self.no_huge, cores };
        ports::with_ports(&options, |rig| {
            let destination = match (self.device_mac, ipv4_of(config)) {
                (Some(mac), _) => mac,
                (None, Some(address)) => rig.ask_for_mac(address)?,
                (None, None) => {
                    return Err(
                        "the first port has no IPv4 address to ask for: state `--device-mac`".to_owned()
                    );
                }
            };
            let link = Link { source: rig.mac(), destination, bits: rig.link_bits() };
            self.measure_all(targets, link, rig, remarks)
        })
    }

    #[cfg(not(feature = "dpdk"))]
    fn measure_ports(&self, _: &Config, _: &[Target], _: &mut Vec<String>) -> Result<Vec<Measured>, String> {
        Err("ports need DPDK: build with `--features dpdk`, or measure the engine itself (`--inside`)"
            .to_owned())
    }

    fn measure_all(
        &self,
        targets: &[Target],
        link: Link,
        rig: &mut dyn Rig,
        remarks: &mut Vec<String>,
    ) -> Result<Vec<Measured>, String> {
        let mut measured = Vec::new();
        for frame_len in &self.frame_len {
            let round = frame_len.round(traffic::shortest_frame(self.family, self.protocol));
            let traffic = Traffic::new(&TrafficOptions {
                family: self.family,
                protocol: self.protocol,
                targets,
                round: &round,
                flows: self.flows,
                source: link.source,
                destination: link.destination,
            });
            let line_rate = link.bits.map(|bits| (bits / frame_len::wire_bits(&round)) as u64);
            let max_rate = self.max_rate.or(line_rate).unwrap_or(MAX_RATE);
            let plan = self.plan(max_rate);
            let longest = plan.goals[0].final_trial.max(plan.latency_trial).as_secs_f64();
            if max_rate as f64 * longest > MAX_FRAMES || self.min_rate > max_rate {
                return Err(format!(
                    "rates from {} to {max_rate} for {longest} s are too many frames, or none",
                    self.min_rate
                ));
            }
            eprintln!("frames of {frame_len}");
            let one = measurement::measure(&plan, *frame_len, &round, &traffic, rig)?;
            if one.goals[0].found.lower.is_none() {
                remarks.push(format!(
                    "Frames of {frame_len}: no rate met the first goal, so no latency was measured; the device's counters may tell \
                     why."
                ));
            }
            measured.push(one);
        }
        Ok(measured)
    }

    fn plan(&self, max_rate: u64) -> Plan {
        let final_trial = Duration::from_secs_f64(self.final_trial);
        let mut loss_ratios = self.loss_ratio.clone();
        loss_ratios.sort_by(f64::total_cmp);
        let goal = |loss_ratio| Goal {
            loss_ratio,
            exceed_ratio: self.exceed_ratio,
            width: self.width,
            initial_trial: Duration::from_secs_f64(self.initial_trial).min(final_trial),
            final_trial,
            duration_sum: self.duration_sum.map_or(final_trial, Duration::from_secs_f64),
        };
        Plan {
            goals: loss_ratios.into_iter().map(goal).collect(),
            limits: Limits {
                min_rate: self.min_rate,
                max_rate,
                max_trials: self.max_trials.into(),
                max_time: Duration::from_secs_f64(self.max_time),
                rate_tolerance: self.width,
            },
            warm_up: Duration::from_secs_f64(self.warm_up.unwrap_or(if self.inside { 1.0 } else { 10.0 })),
            settle: Duration::from_secs_f64(self.settle),
            backlog: self.backlog,
            latency_shares: self.latency_at.iter().map(|percent| f64::from(*percent) / 100.0).collect(),
            latency_trial: self.latency_trial.map_or(final_trial, Duration::from_secs_f64),
        }
    }

    fn configuration(&self) -> Result<Config, String> {
        let (name, text) = match &self.config {
            Some(path) => {
                let text = std::fs::read_to_string(path);
                (path.display().to_string(), text.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            None => ("the embedded configuration".to_owned(), DEVICE.to_owned()),
        };
        Config::parse(&name, &text).map_err(|errors| errors.to_string())
    }

    /// Chooses the device's core, the last one, and the tester's among the others.
    fn inside_cores(&self, remarks: &mut Vec<String>) -> Result<(usize, Cores), String> {
        let all = cores();
        let (last, others) = all.split_last().ok_or("this process may run on no core")?;
        if others.is_empty() {
            remarks.push(
                "Warning: device and tester share the only core, so neither has what it needs.".to_owned(),
            );
            return Ok((*last, Cores { sender: *last, receiver: None }));
        }
        Ok((*last, self.tester_cores(others, true, remarks)?))
    }

    /// Chooses the tester's cores among these, unless they are stated.
    fn tester_cores(&self, free: &[usize], two: bool, remarks: &mut Vec<String>) -> Result<Cores, String> {
        let chosen = if self.cores.is_empty() { free } else { &self.cores };
        let cores = match *chosen {
            [] => return Err("this process may run on no core".to_owned()),
            [sender, receiver, ..] if two && sender != receiver => Cores { sender, receiver: Some(receiver) },
            [sender, ..] => Cores { sender, receiver: None },
        };
        if two && cores.receiver.is_none() {
            remarks.push(
                "Warning: sender and receiver share a core, so the tester reaches half of its rate at most, and each \
                 adds to the latencies."
                    .to_owned(),
            );
        }
        Ok(cores)
    }
}

/// Numbers of the cores that this process may run on.
fn cores() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect()
}

/// First IPv4 address of the configuration's first port.
#[cfg(feature = "dpdk")]
fn ipv4_of(config: &Config) -> Option<[u8; 4]> {
    let port = config.ports.first()?;
    port.addresses.iter().find_map(|on_link| match on_link.addr() {
        std::net::IpAddr::V4(address) => Some(address.octets()),
        std::net::IpAddr::V6(_) => None,
    })
}
