//! Replays of random scenarios, compared with a second statement of the semantics.
//!
//! A scenario is a random configuration, packets, and changes meanwhile, all of which its number decides. To repeat
//! one: `GUIDEWAY_SCENARIOS=347..348`; to try more: `GUIDEWAY_SCENARIOS=1000..9000`, with `--release`.

mod change;
mod dice;
mod reference;
mod service;
mod setup;
mod traces;
mod traffic;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;

use guideway::offline::replay::{Outputs, TraceOrder, Traces, replay};
use guideway::offline::timeline::{Moment, Timeline};
use guideway_engine::capture::{CaptureReader, CaptureWriter};
use guideway_model::config::Config;
use guideway_model::forwarding_state::StateChange;

use change::{Change, Timed};
use dice::Dice;
use reference::{Decision, Reference};
use setup::Setup;
use traffic::Packet;

/// Number of scenarios for each number of workers.
const SCENARIOS: u64 = 80;
/// Number of packets in a scenario.
const PACKETS: usize = 500;

struct Scenario {
    setup: Setup,
    packets: Vec<Packet>,
    changes: Vec<Timed>,
}

impl Scenario {
    fn new(number: u64) -> Self {
        let mut dice = Dice::new(number);
        // Shorter than any timeout but draining; longer than the timeouts of EXTERNAL services; longer than all.
        let horizon = Duration::from_secs(dice.pick(&[20, 150, 1500]));
        let setup = Setup::random(&mut dice);
        let packets = traffic::packets(&mut dice, &setup, PACKETS, horizon);
        let changes = change::changes(&mut dice, &setup, horizon);
        Self { setup, packets, changes }
    }

    /// Changes by instant.
    fn moments(&self) -> Vec<&[Timed]> {
        self.changes.chunk_by(|a, b| a.at == b.at).collect()
    }

    fn decisions(&self, workers: usize) -> Vec<Decision> {
        self.replayed(workers, None).0
    }

    /// Decisions, and the traces of packets that were ordered.
    fn replayed(&self, workers: usize, trace: Option<TraceOrder>) -> (Vec<Decision>, Option<Traces>) {
        let moments = self.moments().into_iter().map(|moment| Moment {
            at: moment[0].at,
            changes: moment.iter().map(|timed| replayed(&timed.change)).collect(),
        });
        let mut capture = CaptureWriter::new(Vec::new()).expect("memory takes everything");
        for packet in &self.packets {
            let nanos = 1_767_225_600_000_000_000 + packet.at.as_nanos() as u64;
            capture.write(nanos, &packet.frame, packet.frame.len() as u32).expect("memory takes everything");
        }
        let capture = capture.finish().expect("memory takes everything");
        let reader = CaptureReader::new(&capture[..]).expect("a capture that was just written");
        let written = Shared::default();
        let outputs = Outputs { decisions: Some(Box::new(written.clone())), trace, ..Outputs::default() };
        let timeline = Timeline { moments: moments.collect(), ..Timeline::default() };
        let (mut summary, result) = replay(parsed(&self.setup), timeline, reader, workers, outputs);
        assert!(result.is_ok() && summary.is_balanced(), "{summary:?}");
        let text = String::from_utf8(written.0.borrow().clone()).expect("JSON");
        (text.lines().map(decision).collect(), summary.traces.take())
    }

    /// Compares decisions with the reference; fails with a description of the first wrong one.
    ///
    /// Returns how many later fragments followed their first, how many packets were hashed as those of the opposite
    /// direction, how many belong to rules whose VIPs are prefixes, how many choices were within subsets, and how many packets
    /// were forwarded in one of several networks, were of none, or came from the appliance's own address.
    fn judge(&self, decisions: &[Decision]) -> Result<[u64; 7], String> {
        assert_eq!(decisions.len(), self.packets.len(), "a decision a frame");
        let mut reference = Reference::default();
        reference.load(&self.setup, Duration::ZERO);
        reference.settle();
        let mut moments = self.moments().into_iter().peekable();
        for (index, (packet, decision)) in self.packets.iter().zip(decisions).enumerate() {
            while let Some(moment) = moments.next_if(|moment| moment[0].at <= packet.at) {
                for timed in moment {
                    match &timed.change {
                        Change::Health { service, backend, healthy } => {
                            reference.set_health(service, backend, *healthy);
                        }
                        Change::Weight { service, backend, weight } => {
                            reference.set_weight(service, backend, *weight);
                        }
                        Change::Reload(setup) => reference.load(setup, timed.at),
                    }
                }
                reference.settle();
            }
            reference.judge(packet, decision).map_err(|expected| {
                let Packet { at, vlan, flow, syn, quoted, .. } = packet;
                format!(
                    "packet {} at {at:?}, VLAN {vlan:?}, {flow:?}, SYN {syn}, quotes {quoted:?}\n     got: {decision:?}\nexpected: \
                     {expected}",
                    index + 1
                )
            })?;
        }
        Ok([
            reference.followed,
            reference.turned,
            reference.by_prefix,
            reference.within_subsets,
            reference.in_several,
            reference.outside,
            reference.from_own,
        ])
    }
}

fn replayed(change: &Change) -> StateChange {
    match change.clone() {
        Change::Health { service, backend, healthy } => StateChange::Health { service, backend, healthy },
        Change::Weight { service, backend, weight } => {
            StateChange::ReportedWeight { service, backend, weight }
        }
        Change::Reload(setup) => StateChange::Config(Box::new(parsed(&setup))),
    }
}

fn parsed(setup: &Setup) -> Config {
    let text = setup.toml();
    Config::parse("scenario.toml", &text).unwrap_or_else(|errors| panic!("{}\n{text}", errors.render(false)))
}

fn decision(line: &str) -> Decision {
    let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
    let word = |key: &str| line.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    Decision {
        verdict: word("verdict").expect("every decision has a verdict"),
        network: word("network"),
        rule: word("forwarding_rule"),
        service: word("backend_service"),
        backend: word("backend"),
        tracking: word("tracking"),
    }
}

/// Memory that the replay writes and the test reads.
#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Judges every fourth scenario, beginning with the one whose number is one less than that of the workers.
fn decisions_follow_the_semantics(workers: usize) {
    let chosen = std::env::var("GUIDEWAY_SCENARIOS").ok();
    let numbers = chosen.as_deref().map_or(0..4 * SCENARIOS, |text| {
        let (first, end) = text.split_once("..").expect("a range of scenarios");
        first.parse().expect("a number")..end.parse().expect("a number")
    });
    let mut wrong = Vec::new();
    let mut seen = BTreeMap::new();
    let mut rarities = [0; 7];
    for number in numbers.filter(|number| *number as usize % 4 == workers - 1) {
        let scenario = Scenario::new(number);
        let decisions = scenario.decisions(workers);
        match scenario.judge(&decisions) {
            Ok(counts) => rarities.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count),
            Err(discrepancy) => wrong.push(format!("scenario {number}: {discrepancy}")),
        }
        for (packet, decision) in scenario.packets.iter().zip(decisions) {
            let quotes = packet.quoted.is_some();
            *seen.entry((decision.verdict, decision.tracking, quotes)).or_insert(0) += 1;
        }
    }
    assert!(wrong.is_empty(), "{} scenarios went wrong:\n{}", wrong.len(), wrong.join("\n"));
    let is_frequent = rarities.iter().all(|count| *count >= SCENARIOS);
    assert!(
        is_frequent || chosen.is_some(),
        "too few followers, answers by routes, packets of prefixes, choices within subsets, packets in several networks or \
         in none, or packets from own addresses: {rarities:?}"
    );
    let kind = |verdict: &str, tracking: Option<&str>, quotes| {
        (verdict.to_owned(), tracking.map(str::to_owned), quotes)
    };
    for kind in [
        kind("forward", Some("hit"), false),
        kind("forward", Some("new"), false),
        kind("forward", Some("off"), false),
        kind("forward", Some("hit"), true),
        kind("forward", Some("off"), true),
        kind("drop", None, false),
        kind("pass", None, false),
    ] {
        let is_frequent = seen.get(&kind).is_some_and(|count| *count >= SCENARIOS);
        assert!(is_frequent || chosen.is_some(), "too little of {kind:?}: {seen:?}");
    }
}

#[test]
fn decisions_of_one_worker_follow_the_semantics() {
    decisions_follow_the_semantics(1);
}

#[test]
fn decisions_of_two_workers_follow_the_semantics() {
    decisions_follow_the_semantics(2);
}

#[test]
fn decisions_of_three_workers_follow_the_semantics() {
    decisions_follow_the_semantics(3);
}

#[test]
fn decisions_of_four_workers_follow_the_semantics() {
    decisions_follow_the_semantics(4);
}

#[test]
fn the_number_of_workers_decides_nothing() {
    for number in 0..24 {
        let scenario = Scenario::new(number);
        assert!(scenario.decisions(1) == scenario.decisions(4), "scenario {number}");
    }
}
