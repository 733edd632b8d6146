//! Measures one scenario, which is one line of the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::pipeline::BURST;
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::clock::Clock;
use guideway_engine::publish::{Feed, Publisher};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::lane::Lane;
use super::scenario::{Packets, Scenario};
use super::traffic::{Sent, Traffic};
use crate::pinned::{self, Start};
use crate::sample::Sample;

/// Number and length of the runs.
pub(super) struct Effort {
    pub(super) runs: usize,
    pub(super) bursts: usize,
    pub(super) publish_per_sec: u16,
}

/// Measurements of a scenario.
#[derive(Serialize)]
pub(super) struct Measured {
    scenario: Scenario,
    /// Nanoseconds per packet on each worker, without the making of its frame.
    net_ns: f64,
    net_median_ns: f64,
    /// Nanoseconds per packet as measured, with the making of its frame.
    gross_ns: Sample,
    making_ns: Sample,
    /// Millions of packets per second that all workers together decide.
    mpps: f64,
    /// Share of the packets that a valid entry decided.
    hit_share: f64,
    /// Nanoseconds for a burst of 32, each timed by itself.
    burst_ns: Percentiles,
    /// Snapshots that were published while the bursts were timed.
    publications: u64,
}

#[derive(Serialize)]
struct Percentiles {
    p50: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

/// Measurements of one worker.
struct Outcome {
    making: Vec<f64>,
    forwarding: Vec<f64>,
    bursts: Histogram<u64>,
    /// Packets of all runs, and those of them that an entry decided.
    offered: u64,
    hits: u64,
}

/// Measures a scenario.
///
/// # Panics
/// If a packet was lost, or a flood cost an established connection its entry.
pub(super) fn measure(scenario: &Scenario, effort: &Effort) -> Measured {
    let mut publisher = Publisher::new(scenario.snapshot(1));
    let table = Arc::new(ConntrackTable::with_capacity(scenario.capacity()).expect("memory for the table"));
    // As an appliance does at its start. Where the system can't, pages come at their first use, in the first run.
    let _ = table.populate(0, 1);
    let traffic = Traffic::new(scenario);
    let feed = publisher.feed();
    let done = AtomicBool::new(false);
    let (outcomes, publications) = thread::scope(|scope| {
        let workers = scope.spawn(|| {
            let work = |number, start: &Start<'_>| {
                Worker { number, scenario, effort, feed: &feed, table: &table, traffic: &traffic }.work(start)
            };
            let outcomes = pinned::run(scenario.workers, work);
            done.store(true, Ordering::Relaxed);
            outcomes
        });
        let publications = publish(&mut publisher, scenario, effort.publish_per_sec, &done);
        (workers.join().expect("workers check what they do"), publications)
    });
    Measured::new(*scenario, outcomes, publications)
}

/// Publishes snapshots at the rate of the scenario until the workers are done; returns their number.
fn publish(publisher: &mut Publisher<Snapshot>, scenario: &Scenario, per_sec: u16, done: &AtomicBool) -> u64 {
    let mut publications = 0;
    let pause = Duration::from_secs(1) / u32::from(per_sec.max(20));
    while !done.load(Ordering::Relaxed) {
        let next = Instant::now() + pause;
        if per_sec > 0 {
            publications += 1;
            publisher.publish(scenario.snapshot(1 + publications));
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    publications
}

/// Worker of a scenario.
struct Worker<'a> {
    number: usize,
    scenario: &'a Scenario,
    effort: &'a Effort,
    feed: &'a Feed<Snapshot>,
    table: &'a Arc<ConntrackTable>,
    traffic: &'a Traffic,
}

impl Worker<'_> {
    fn work(&self, start: &Start<'_>) -> Outcome {
        let clock = Clock::start().coarse();
        let mut lane = Lane::new(self.number, self.feed, self.table, self.traffic, clock);
        let established = self.establish(&mut lane);
        start.wait();
        let before = lane.counters().clone();
        let mut flows = self.flows();
        let sent = if self.scenario.packets == Packets::Hit { Sent::InForm } else { Sent::Opening };
        let (mut making, mut forwarding) = (Vec::new(), Vec::new());
        let bursts = self.bursts();
        let per_packet = |ns: f64| ns / (bursts * BURST) as f64;
        for _ in 0..self.effort.runs {
            making.push(per_packet(lane.make(bursts, sent, &mut flows.clone())));
            forwarding.push(per_packet(lane.forward(bursts, sent, &mut flows)));
        }
        let timed = lane.time(bursts * self.effort.runs.min(10), sent, &mut flows);
        let after = lane.counters().clone();
        assert_eq!(after.forwarded, after.offered, "every packet has a backend");
        if self.scenario.packets == Packets::Flood {
            assert_eq!(self.hits(&mut lane), established, "a flood takes nobody's entry");
        }
        let (offered, hits) = (after.offered - before.offered, after.conntrack.hits - before.conntrack.hits);
        Outcome { making, forwarding, bursts: timed, offered, hits }
    }

    /// Lets the worker's own flows be established, and returns how many of them have an entry.
    fn establish(&self, lane: &mut Lane<'_>) -> u64 {
        if self.scenario.packets == Packets::New {
            return 0;
        }
        let own: Vec<u32> = self.own().collect();
        for part in self.scenario.parts(&own) {
            let mut flows = part.iter().copied().cycle();
            let bursts = part.len().div_ceil(BURST);
            let mut forward = |lane: &mut Lane<'_>| {
                lane.forward(bursts, Sent::Plain, || flows.next().expect("it goes round"));
            };
            forward(lane);
            lane.pass_a_second();
            forward(lane);
        }
        lane.pass_a_second();
        // Flows that have an entry by now are established by this.
        self.hits(lane)
    }

    /// Counts the worker's own flows that have an entry.
    fn hits(&self, lane: &mut Lane<'_>) -> u64 {
        let before = lane.counters().conntrack.hits;
        let mut flows = self.own().cycle();
        lane.forward(self.own().len() / BURST, Sent::Plain, || flows.next().expect("it goes round"));
        lane.counters().conntrack.hits - before
    }

    /// Numbers of the worker's own flows.
    fn own(&self) -> std::ops::Range<u32> {
        let all = self.scenario.established();
        if self.scenario.per_session {
            return 0..all as u32;
        }
        let share = all / self.scenario.workers;
        (self.number * share) as u32..((self.number + 1) * share) as u32
    }

    /// Makes the sequence of the packets' flows.
    fn flows(&self) -> impl FnMut() -> u32 + Clone + use<> {
        let own = self.own();
        let in_order = self.scenario.packets != Packets::Hit;
        // Flows that nobody has seen lie above those that are established; each worker has its own.
        let mut next = self.scenario.established() as u32 + (self.number as u32) * (1 << 26);
        let mut random = fastrand::Rng::with_seed(self.number as u64);
        move || {
            if in_order {
                next = next.wrapping_add(1);
                next
            } else {
                random.u32(own.clone())
            }
        }
    }

    /// Number of bursts of a run: if each packet takes an entry, no more than the table has room for in all.
    fn bursts(&self) -> usize {
        match self.scenario.packets {
            Packets::New => {
                let rounds = self.effort.runs + self.effort.runs.min(10);
                (self.scenario.flows / self.scenario.workers / rounds / BURST).clamp(1, self.effort.bursts)
            }
            Packets::Hit | Packets::Flood => self.effort.bursts,
        }
    }
}

impl Measured {
    fn new(scenario: Scenario, outcomes: Vec<Outcome>, publications: u64) -> Self {
        let workers = outcomes.len() as f64;
        let mut bursts = outcomes[0].bursts.clone();
        for outcome in &outcomes[1..] {
            bursts.add(&outcome.bursts).expect("all have the same bounds");
        }
        let sum = |of: fn(&Outcome) -> u64| outcomes.iter().map(of).sum::<u64>() as f64;
        // Workers run side by side: their runs of one number belong together.
        let mean = |of: fn(&Outcome) -> &Vec<f64>| {
            let runs = 0..of(&outcomes[0]).len();
            Sample::of(
                runs.map(|run| outcomes.iter().map(|one| of(one)[run]).sum::<f64>() / workers).collect(),
            )
        };
        let (making_ns, gross_ns) = (mean(|one| &one.making), mean(|one| &one.forwarding));
        let net_ns = gross_ns.min - making_ns.min;
        Self {
            scenario,
            net_ns,
            net_median_ns: gross_ns.median - making_ns.median,
            gross_ns,
            making_ns,
            mpps: workers * 1000.0 / net_ns,
            hit_share: sum(|one| one.hits) / sum(|one| one.offered),
            burst_ns: Percentiles {
                p50: bursts.value_at_quantile(0.5),
                p99: bursts.value_at_quantile(0.99),
                p99_9: bursts.value_at_quantile(0.999),
                max: bursts.max(),
            },
            publications,
        }
    }

    /// Makes the line of the table.
    pub(super) fn row(&self) -> Vec<String> {
        let Scenario {
            packets,
            family,
            delivery,
            affinity,
            rule,
            form,
            networks,
            workers,
            frame_len,
            flows,
            ..
        } = self.scenario;
        let word = |value: &dyn std::fmt::Debug| format!("{value:?}").to_lowercase();
        let tracked = if self.scenario.per_session { " per session" } else { "" };
        vec![
            word(&packets),
            word(&family),
            delivery.as_str().to_owned(),
            format!(
                "{}{tracked}",
                serde_json::to_value(affinity).expect("a word").as_str().unwrap_or_default()
            ),
            serde_json::to_value(rule).expect("a word").as_str().unwrap_or_default().to_owned(),
            serde_json::to_value(form).expect("a word").as_str().unwrap_or_default().to_owned(),
            networks.to_string(),
            workers.to_string(),
            frame_len.to_string(),
            flows.to_string(),
            format!("{:.1}", self.net_ns),
            format!("{:.1}", self.net_median_ns),
            format!("{:.1}", self.making_ns.min),
            format!("{:.1}", self.mpps),
            self.burst_ns.p50.to_string(),
            self.burst_ns.p99.to_string(),
            self.burst_ns.p99_9.to_string(),
            self.burst_ns.max.to_string(),
        ]
    }
}
