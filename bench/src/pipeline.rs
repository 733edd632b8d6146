//! Packets per second through a worker: parse, classify, track, deliver, from memory to memory.
//!
//! Frames are made in the slots of a small ring, as a NIC would put them there, and what their making costs is
//! measured by itself in the same run and taken off.

mod lane;
mod scenario;
mod slot;
mod traffic;

use std::sync::{Arc, Barrier};
use std::thread;

use clap::Args as ClapArgs;
use comfy_table::Table;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::pipeline::BURST;
use guideway_engine::clock::Clock;
use guideway_engine::publish::Publisher;

use lane::Lane;
use scenario::{Affinity, Family, Packets, Scenario, Way};
use traffic::Traffic;

/// How fast one worker or several forward packets.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// Connections that the packets belong to
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,1000000")]
    flows: Vec<usize>,
    /// Length of the frames, without their check sequence
    #[arg(long, value_delimiter = ',', default_value = "60")]
    frame_len: Vec<usize>,
    #[arg(long, value_delimiter = ',', default_value = "ipv4")]
    family: Vec<Family>,
    #[arg(long, value_delimiter = ',', default_value = "ipip")]
    delivery: Vec<Way>,
    #[arg(long, value_delimiter = ',', default_value = "NONE")]
    affinity: Vec<Affinity>,
    #[arg(long)]
    per_session: bool,
    #[arg(long, value_delimiter = ',', default_value = "hit")]
    packets: Vec<Packets>,
    #[arg(long, value_delimiter = ',', default_value = "1")]
    workers: Vec<usize>,
    #[arg(long, default_value = "100")]
    backends: usize,
    #[arg(long, default_value = "1")]
    rules: usize,
    /// Runs of each measurement, of which the least, the median and the most are shown
    #[arg(long, default_value = "60")]
    runs: usize,
    /// Packets in each run, for each worker
    #[arg(long, default_value = "200000")]
    run_packets: usize,
}

pub(crate) fn run(args: &Args) {
    let mut table = Table::new();
    table.set_header([
        "flows",
        "family",
        "delivery",
        "packets",
        "workers",
        "ns/packet min",
        "median",
        "making",
        "p50",
        "p99",
    ]);
    for &flows in &args.flows {
        let scenario = Scenario {
            flows,
            frame_len: args.frame_len[0],
            family: args.family[0],
            delivery: args.delivery[0],
            affinity: args.affinity[0],
            per_session: args.per_session,
            packets: args.packets[0],
            workers: args.workers[0],
            backends: args.backends,
            rules: args.rules,
        };
        measure(&scenario, args);
    }
}

fn measure(scenario: &Scenario, args: &Args) {
    let publisher = Publisher::new(scenario.snapshot());
    let table = Arc::new(
        ConntrackTable::with_capacity((scenario.flows * 4).div_ceil(3)).expect("memory for the table"),
    );
    let traffic = Traffic::new(scenario);
    let clock = Clock::start();
    let mut lane = Lane::new(0, &publisher.feed(), &table, &traffic, clock.coarse());
    let mut next = 0u32;
    lane.forward(scenario.flows.div_ceil(BURST), false, || {
        next = (next + 1) % scenario.flows as u32;
        next
    });
    let mut seed = 88172645463325252u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (((seed >> 32) * scenario.flows as u64) >> 32) as u32
    };
    let bursts = args.run_packets / BURST;
    let mut made = vec![];
    let mut forwarded = vec![];
    for _ in 0..args.runs {
        made.push(lane.make(bursts, false, &mut random).as_nanos() as f64 / (bursts * BURST) as f64);
        forwarded.push(lane.forward(bursts, false, &mut random).as_nanos() as f64 / (bursts * BURST) as f64);
    }
    made.sort_by(f64::total_cmp);
    forwarded.sort_by(f64::total_cmp);
    println!(
        "{:>9} {:6.1} {:6.1} made {:5.1} net {:5.1} {:?}",
        scenario.flows,
        forwarded[0],
        forwarded[args.runs / 2],
        made[0],
        forwarded[0] - made[0],
        lane.counters().conntrack
    );
}
