//! Tap of a worker: it sees frames as they leave, and between threads every frame that is offered is read whole and
//! in order, or counted as missed.

use std::net::IpAddr;
use std::thread::{self, JoinHandle};

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::conntrack::Stage;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{BURST, Decision, Tracking};
use guideway_dataplane::verdict::{DropReason, PassReason, Verdict};
use guideway_engine::clock::Clock;
use guideway_engine::counters::counters;
use guideway_engine::driver::loopback::{LoopbackQueues, Wire, loopback};
use guideway_engine::host_path::{WorkerMailbox, host_path};
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;
use guideway_engine::tap::{
    FlowFilter, SNAPLEN, TapFilter, TapOrder, TapReader, TapSwitch, TappedBytes, WorkerTap,
};

use crate::appliance::{expected, frames, snapshot, worker};

const SLOTS: usize = 32;
const BURSTS: u64 = 4_000;
const HEAD_START: u64 = 8;

/// Makes frame `number` of a worker: its number, then as many bytes of it as make up a length between 8 and 1,700.
fn bytes_of(number: u64) -> Vec<u8> {
    let mut bytes = vec![number as u8; 8 + (number * 37 % 1693) as usize];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn decision_of(number: u64) -> Decision {
    let verdict = match number % 3 {
        0 => Verdict::Forward,
        1 => Verdict::Pass(PassReason::NotIp),
        _ => Verdict::Drop(DropReason::ALL[number as usize % DropReason::ALL.len()]),
    };
    Decision { verdict, ..Decision::PENDING }
}

fn record_burst(tap: &mut WorkerTap, port: PortId, burst: u64) {
    let numbers = || (0..BURST as u64).map(|index| burst * BURST as u64 + index);
    let frames: Vec<Mbuf> = numbers()
        .map(|number| {
            let mut frame = Mbuf::new();
            frame.fill(&bytes_of(number));
            frame
        })
        .collect();
    let decisions: Vec<Decision> = numbers().map(decision_of).collect();
    tap.take_in(&frames);
    tap.record(burst, port, 0, &frames, &decisions);
}

/// Reads the waiting frames, compares them with those that were recorded, and returns their number.
fn read(reader: &mut TapReader, port: PortId, filter: TapFilter, next: &mut u64) -> u64 {
    let mut count = 0;
    while let Some(frame) = reader.read() {
        let copy = frame.received().or(frame.sent()).expect("one copy");
        let number = u64::from_be_bytes(copy.bytes[..8].try_into().expect("8 bytes"));
        assert!(number >= *next, "{number} after {}", *next - 1);
        *next = number + 1;
        let bytes = bytes_of(number);
        assert_eq!(copy.bytes, &bytes[..bytes.len().min(SNAPLEN)]);
        assert_eq!(copy.wire_len as usize, bytes.len());
        assert_eq!((frame.came_by(), *frame.decision()), (port, decision_of(number)));
        assert_eq!(frame.generation(), number / BURST as u64);
        assert!(filter.contains(frame.decision().verdict));
        count += 1;
    }
    count
}

/// Makes workers record as fast as they can while one thread reads.
fn run(filter: TapFilter) {
    let mut switch = TapSwitch::new();
    switch.set(filter);
    let mut readers = Vec::new();
    let mut workers = Vec::new();
    for port in [PortId(0), PortId(1)] {
        let (mut worker, reader) = switch.tap(SLOTS);
        // More than there are slots, whatever the filter, before anybody reads.
        (0..HEAD_START).for_each(|burst| record_burst(&mut worker, port, burst));
        assert!(reader.missed() > 0);
        readers.push((port, reader, 0));
        workers.push(thread::spawn(move || {
            (HEAD_START..BURSTS).for_each(|burst| record_burst(&mut worker, port, burst));
        }));
    }
    let mut recorded = [0; 2];
    let mut read_all = || {
        for ((port, reader, next), recorded) in readers.iter_mut().zip(&mut recorded) {
            *recorded += read(reader, *port, filter, next);
        }
    };
    while !workers.iter().all(JoinHandle::is_finished) {
        read_all();
        thread::yield_now();
    }
    workers.into_iter().for_each(|worker| worker.join().expect("workers do not panic"));
    read_all();
    let wanted = |number: &u64| filter.contains(decision_of(*number).verdict);
    let offered = (0..BURSTS * BURST as u64).filter(wanted).count() as u64;
    for ((_, reader, _), recorded) in readers.iter().zip(recorded) {
        assert!(recorded >= SLOTS as u64);
        assert_eq!(recorded + reader.missed(), offered);
    }
}

#[test]
fn recorded_and_missed_are_all_that_was_offered() {
    run(TapFilter::ALL);
}

#[test]
fn recorded_and_missed_are_all_that_was_wanted() {
    run(TapFilter::FORWARD | TapFilter::of(Verdict::Drop(DropReason::TtlExpired)));
}

/// Poll loop of two ports, which forwards by the second, with its tap and its ends.
struct Bench {
    poll_loop: PollLoop<LoopbackQueues<Mbuf>>,
    wire: Wire<Mbuf>,
    out: Wire<Mbuf>,
    host: WorkerMailbox<Mbuf>,
    reader: TapReader,
}

impl Bench {
    /// Bench whose tap goes by this order, and which has decided these frames.
    fn decided(order: impl Into<TapOrder>, frames: &[Vec<u8>]) -> Self {
        let publisher = Publisher::new(snapshot(PortId(1)));
        let [(first, mut wire), (second, out)] = [loopback(256), loopback(256)];
        let (host_queue, host) = host_path(256);
        let mut switch = TapSwitch::new();
        let (tap, reader) = switch.tap(256);
        let ports = vec![first, second];
        let mut poll_loop =
            PollLoop::new(worker(&publisher), ports, host_queue, Clock::start(), counters().0).tapped(tap);
        switch.set(order);
        for bytes in frames {
            let mut frame = Mbuf::new();
            frame.fill(bytes);
            wire.send(frame).expect("256 descriptors");
        }
        while poll_loop.turn() > 0 {}
        Self { poll_loop, wire, out, host, reader }
    }
}

fn sent(wire: &mut Wire<Mbuf>) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| wire.receive()).map(|frame| frame.bytes().to_vec()).collect()
}

fn bytes(copy: Option<TappedBytes<'_>>) -> Vec<u8> {
    copy.expect("a copy").bytes.to_vec()
}

#[test]
fn forwarded_and_answered_frames_are_tapped_as_they_are_sent_and_others_as_they_came() {
    let frames = frames();
    let mut bench = Bench::decided(TapFilter::ALL, &frames);
    let (mut forwarded, mut answered, mut passed, mut dropped) = (vec![], vec![], vec![], vec![]);
    while let Some(frame) = bench.reader.read() {
        assert_eq!(frame.came_by(), PortId(0));
        let (leaves_by, copy, other, pile) = match frame.decision().verdict {
            Verdict::Forward => (Some(PortId(1)), frame.sent(), frame.received(), &mut forwarded),
            Verdict::Pass(_) => (None, frame.received(), frame.sent(), &mut passed),
            Verdict::Drop(_) if frame.decision().answered => {
                (Some(PortId(0)), frame.sent(), frame.received(), &mut answered)
            }
            Verdict::Drop(_) => (None, frame.received(), frame.sent(), &mut dropped),
        };
        assert_eq!((frame.leaves_by(), other), (leaves_by, None));
        pile.push(bytes(copy));
    }
    let handed_on = std::iter::from_fn(|| bench.host.receive()).map(|passed| passed.frame.bytes().to_vec());
    assert_eq!(forwarded, sent(&mut bench.out));
    assert_eq!(answered, sent(&mut bench.wire));
    assert_eq!(passed, handed_on.collect::<Vec<_>>());
    assert_eq!(dropped.len(), expected(&frames).dropped);
    assert!(dropped.iter().all(|bytes| frames.contains(bytes)));
    assert!(!forwarded.is_empty() && !answered.is_empty() && !passed.is_empty());
    assert_eq!(bench.reader.missed(), 0);
}

#[test]
fn frames_are_tapped_as_received_too_in_their_order() {
    let frames = frames();
    let order = TapOrder { received: true, ..TapOrder::from(TapFilter::ALL) };
    let mut bench = Bench::decided(order, &frames);
    let (mut received, mut forwarded) = (Vec::new(), Vec::new());
    while let Some(frame) = bench.reader.read() {
        received.push(bytes(frame.received()));
        if frame.decision().verdict == Verdict::Forward {
            forwarded.push(bytes(frame.sent()));
        }
    }
    assert_eq!(received, frames);
    assert_eq!(forwarded, sent(&mut bench.out));
}

#[test]
fn packets_of_a_flow_tell_what_they_met_and_are_decided_as_without_a_tap() {
    let frames = frames();
    let address = |text: &str| Address::from(text.parse::<IpAddr>().expect("an address"));
    let flows = FlowFilter {
        client: Some(Prefix::new(address("192.0.2.0"), 24)),
        vip: Some(address("203.0.113.10").into()),
        vip_port: Some(80),
        client_port: Some(40_005),
        ..FlowFilter::default()
    };
    let order = TapOrder { flows, received: true, looks: true, ..TapOrder::from(TapFilter::ALL) };
    let mut bench = Bench::decided(order, &frames);
    let mut ways = Vec::new();
    while let Some(frame) = bench.reader.read() {
        let flow = frame.flow().expect("a flow");
        assert_eq!((flow.src_port, flow.dst_port), (40_005, 80));
        assert!(frames.contains(&bytes(frame.received())) && frame.sent().is_some());
        let look = frame.look().expect("a look");
        let entry = look.connection.expect("a connection").entry;
        ways.push((frame.decision().tracking, entry.map(|entry| (Some(entry.backend), entry.stage))));
        assert_eq!(look.outcome(), Some((frame.decision().backend, frame.decision().tracking)));
        if let Some(entry) = entry {
            assert_eq!(Some(entry.backend), frame.decision().backend);
        }
    }
    // The two are of one burst: the second meets what the first has left.
    let backend = ways[1].1.expect("an entry").0;
    assert_eq!(ways, [(Tracking::New, None), (Tracking::Hit, Some((backend, Stage::HalfOpen)))]);
    let mut all = sent(&mut bench.out);
    all.append(&mut sent(&mut bench.wire));
    let mut untapped = Bench::decided(TapFilter::NONE, &frames);
    let mut expected = sent(&mut untapped.out);
    expected.append(&mut sent(&mut untapped.wire));
    assert_eq!(all, expected);
    assert_eq!(bench.poll_loop.counters(), untapped.poll_loop.counters());
}
