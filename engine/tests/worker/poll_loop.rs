//! Poll loop on queues in memory: each frame's end, the counters, and overload.

use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::BURST;
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::clock::Clock;
use guideway_engine::counters::{CountersReader, counters};
use guideway_engine::driver::loopback::{LoopbackQueues, Wire, loopback};
use guideway_engine::host_path::{WorkerMailbox, host_path};
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;
use pcap_fixtures::packet::Packet;

use crate::appliance::{Outcome, expected, frames, snapshot, snapshot_of, worker};

/// Poll loop over two ports in memory, with the far ends of all that it is connected to.
struct Bench {
    poll_loop: PollLoop<LoopbackQueues<Mbuf>>,
    wires: [Wire<Mbuf>; 2],
    host: WorkerMailbox<Mbuf>,
    counters: CountersReader,
}

/// Makes a poll loop whose backends are behind port `egress`.
fn bench(descriptors: usize, host_frames: usize, egress: u8) -> Bench {
    bench_of(snapshot(PortId(egress)), descriptors, host_frames)
}

fn bench_of(snapshot: Snapshot, descriptors: usize, host_frames: usize) -> Bench {
    let publisher = Publisher::new(snapshot);
    let [(first, first_wire), (second, second_wire)] = [loopback(descriptors), loopback(descriptors)];
    let ports = vec![first, second];
    let (host_queue, host) = host_path(host_frames);
    let (writer, reader) = counters();
    Bench {
        poll_loop: PollLoop::new(worker(&publisher), ports, host_queue, Clock::start(), writer),
        wires: [first_wire, second_wire],
        host,
        counters: reader,
    }
}

fn mbuf(bytes: &[u8]) -> Mbuf {
    let mut mbuf = Mbuf::new();
    mbuf.fill(bytes);
    mbuf
}

fn receive_all(wire: &mut Wire<Mbuf>) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| wire.receive()).map(|mbuf| mbuf.bytes().to_vec()).collect()
}

fn receive_passed(host: &mut WorkerMailbox<Mbuf>) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| host.receive()).map(|passed| passed.frame.bytes().to_vec()).collect()
}

#[test]
fn every_frame_ends_where_a_worker_alone_would_have_it_end() {
    let frames = frames();
    let mut bench = bench(256, 256, 0);
    for frame in &frames {
        bench.wires[0].send(mbuf(frame)).expect("256 descriptors");
    }
    while bench.poll_loop.turn() > 0 {}
    let counted = bench.counters.read();
    let outcome = Outcome {
        sent: receive_all(&mut bench.wires[0]),
        passed: receive_passed(&mut bench.host),
        dropped: counted.pipeline.dropped_total() as usize - counted.pipeline.icmp_errors_sent as usize,
    };
    assert_eq!(outcome, expected(&frames));
    assert_eq!(counted, bench.poll_loop.counters());
    assert_eq!(counted.pipeline.offered, frames.len() as u64);
    assert_eq!(counted.io.sent, outcome.sent.len() as u64);
    assert!(receive_all(&mut bench.wires[1]).is_empty());
}

#[test]
fn a_two_armed_appliance_forwards_to_the_other_port_and_answers_on_the_same() {
    let frames = frames();
    let mut bench = bench(256, 256, 1);
    for frame in &frames {
        bench.wires[0].send(mbuf(frame)).expect("256 descriptors");
    }
    while bench.poll_loop.turn() > 0 {}
    let counted = bench.poll_loop.counters().pipeline;
    assert!(counted.icmp_errors_sent > 0);
    assert_eq!(receive_all(&mut bench.wires[0]).len() as u64, counted.icmp_errors_sent);
    assert_eq!(receive_all(&mut bench.wires[1]).len() as u64, counted.forwarded);
}

#[test]
fn a_burst_that_leaves_whole_keeps_its_order_and_so_does_one_with_another_frame_amid_it() {
    let datagram = |number: u8| {
        Packet::between("192.0.2.7", "203.0.113.20").udp(5060, 53).payload(&[number; 32]).build()
    };
    let other = Packet::between("192.0.2.7", "203.0.113.99").udp(5060, 53).build();
    // None but forwarded frames; then one that is passed at the begin, amid them and at the end.
    for passed_at in [None, Some(0), Some(11), Some(BURST - 1)] {
        let mut bench = bench(256, 4, 1);
        let mut burst: Vec<Vec<u8>> = (0..BURST as u8).map(datagram).collect();
        let mut numbers: Vec<u8> = (0..BURST as u8).collect();
        if let Some(at) = passed_at {
            burst[at].clone_from(&other);
            numbers.remove(at);
        }
        for frame in &burst {
            bench.wires[0].send(mbuf(frame)).expect("256 descriptors");
        }
        assert_eq!(bench.poll_loop.turn(), BURST);
        let sent = receive_all(&mut bench.wires[1]);
        let last_bytes: Vec<u8> = sent.iter().filter_map(|frame| frame.last().copied()).collect();
        assert_eq!(last_bytes, numbers, "{passed_at:?}");
        assert_eq!(receive_passed(&mut bench.host).len(), usize::from(passed_at.is_some()));
        assert_eq!(bench.poll_loop.counters().io.sent, numbers.len() as u64);
        assert!(receive_all(&mut bench.wires[0]).is_empty());
    }
}

#[test]
fn a_burst_whose_frames_leave_by_two_ports_is_parted() {
    let mut bench = bench_of(snapshot_of(PortId(1), PortId(0)), 256, 4);
    let datagram = Packet::between("192.0.2.7", "203.0.113.20").udp(5060, 53).build();
    let segment = Packet::between("192.0.2.7", "203.0.113.10").tcp(5060, 80, 0x02).build();
    for frame in [&segment, &segment, &datagram, &segment] {
        bench.wires[0].send(mbuf(frame)).expect("256 descriptors");
    }
    bench.poll_loop.turn();
    assert_eq!(bench.wires.each_mut().map(|wire| receive_all(wire).len()), [1, 3]);
    assert_eq!(bench.poll_loop.counters().io.sent, 4);
}

#[test]
fn a_burst_that_leaves_whole_and_finds_a_full_queue_is_dropped_from_its_end_and_counted() {
    let datagram = |number: u8| {
        Packet::between("192.0.2.7", "203.0.113.20").udp(5060, 53).payload(&[number; 32]).build()
    };
    let mut bench = bench(BURST, 4, 0);
    for frame in (0..BURST as u8).map(datagram) {
        bench.wires[0].send(mbuf(&frame)).expect("as many descriptors");
    }
    bench.poll_loop.turn();
    for _ in 0..10 {
        bench.wires[0].receive().expect("the first burst was sent");
    }
    for frame in (0..BURST as u8).map(datagram) {
        bench.wires[0].send(mbuf(&frame)).expect("as many descriptors");
    }
    bench.poll_loop.turn();
    let sent = receive_all(&mut bench.wires[0]);
    let last_bytes: Vec<u8> = sent.iter().filter_map(|frame| frame.last().copied()).collect();
    assert_eq!(last_bytes, (10..BURST as u8).chain(0..10).collect::<Vec<_>>());
    let counted = bench.poll_loop.counters();
    assert_eq!((counted.io.sent, counted.io.tx_full), (BURST as u64 + 10, BURST as u64 - 10));
    // The rest of it does not leave with the next burst.
    bench.wires[0].send(mbuf(&datagram(77))).expect("as many descriptors");
    bench.poll_loop.turn();
    assert_eq!(receive_all(&mut bench.wires[0]).len(), 1);
}

#[test]
fn whole_bursts_and_mixed_ones_leave_in_the_order_in_which_they_came() {
    let frames = frames();
    let mut bench = bench(256, 256, 0);
    let whole = Packet::between("192.0.2.7", "203.0.113.20").udp(5060, 53).payload_len(18).build();
    for frame in std::iter::repeat_n(&whole, BURST).chain(&frames).chain(std::iter::repeat_n(&whole, BURST)) {
        bench.wires[0].send(mbuf(frame)).expect("256 descriptors");
    }
    while bench.poll_loop.turn() > 0 {}
    let sent = receive_all(&mut bench.wires[0]);
    let alone = expected(&frames).sent;
    assert_eq!(sent.len(), alone.len() + 2 * BURST);
    let lens = |sent: &[Vec<u8>]| sent.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lens(&sent[BURST..sent.len() - BURST]), lens(&alone));
}

#[test]
fn what_finds_no_room_is_dropped_and_counted() {
    let frames = frames();
    let mut bench = bench(256, 1, 1);
    for frame in frames.iter().cycle().take(256) {
        bench.wires[0].send(mbuf(frame)).expect("256 descriptors");
    }
    while bench.poll_loop.turn() > 0 {}
    for frame in frames.iter().cycle().take(256) {
        bench.wires[0].send(mbuf(frame)).expect("256 descriptors");
    }
    while bench.poll_loop.turn() > 0 {}
    let counted = bench.poll_loop.counters();
    let forwarded = receive_all(&mut bench.wires[1]).len() as u64;
    assert_eq!(forwarded, 256);
    assert!(counted.io.tx_full > 0);
    assert_eq!(counted.io.unknown_egress_port, 0);
    assert_eq!(counted.pipeline.forwarded, forwarded + counted.io.tx_full);
    assert_eq!(counted.io.sent, forwarded + counted.pipeline.icmp_errors_sent);
    assert_eq!(counted.pipeline.passed_total(), 1 + counted.io.host_full);
}

#[test]
fn a_packet_too_long_for_its_tunnel_leaves_in_fragments_in_its_turn() {
    let datagram = |payload_len| {
        Packet::between("192.0.2.7", "203.0.113.20").udp(5060, 53).payload_len(payload_len).build()
    };
    let mut bench = bench(256, 1, 1);
    for payload_len in [100, 1472, 3000, 200] {
        bench.wires[0].send(mbuf(&datagram(payload_len))).expect("256 descriptors");
    }
    bench.poll_loop.turn();
    let sent = receive_all(&mut bench.wires[1]);
    // Without Ethernet, 32 bytes of outer headers and 28 of the packet; of later fragments, 20 of the outer header.
    let lens: Vec<_> = sent.iter().map(|frame| frame.len() - 14).collect();
    assert_eq!(lens, [160, 1500, 52, 1500, 1500, 100, 260]);
    let counted = bench.poll_loop.counters();
    assert_eq!((counted.pipeline.forwarded, counted.pipeline.fragmented), (4, 2));
    assert_eq!((counted.io.sent, counted.io.fragments, counted.io.no_fragment_memory), (7, 5, 0));
}

#[test]
fn a_packet_of_more_fragments_than_a_burst_is_lost_whole_and_counted() {
    let mut bench = bench(256, 1, 1);
    let long = Packet::between("192.0.2.7", "203.0.113.20").udp(5060, 53).payload_len(60_000).build();
    bench.wires[0].send(mbuf(&long)).expect("256 descriptors");
    bench.poll_loop.turn();
    assert!(receive_all(&mut bench.wires[1]).is_empty());
    let counted = bench.poll_loop.counters();
    assert_eq!((counted.pipeline.forwarded, counted.pipeline.fragmented), (1, 1));
    assert_eq!((counted.io.sent, counted.io.fragments, counted.io.no_fragment_memory), (0, 0, 1));
}

#[test]
fn a_frame_for_a_port_that_the_worker_lacks_is_not_counted_as_a_full_queue() {
    let frames = frames();
    let mut bench = bench(256, 256, 2);
    for frame in &frames {
        bench.wires[0].send(mbuf(frame)).expect("256 descriptors");
    }
    while bench.poll_loop.turn() > 0 {}
    let counted = bench.poll_loop.counters();
    assert!(counted.pipeline.forwarded > 0);
    assert_eq!(counted.io.unknown_egress_port, counted.pipeline.forwarded);
    assert_eq!(counted.io.tx_full, 0);
    assert_eq!(counted.io.sent, counted.pipeline.icmp_errors_sent);
}

#[test]
fn the_control_threads_frames_leave_by_the_port_that_it_names() {
    let mut bench = bench(256, 64, 0);
    for byte in 0..40 {
        assert!(bench.host.send(PortId(byte % 2), mbuf(&[byte])));
    }
    assert!(bench.host.send(PortId(7), mbuf(&[0xff])), "a port that is none costs the frame alone");
    bench.poll_loop.turn();
    assert_eq!(bench.counters.read().io.sent, BURST as u64);
    bench.poll_loop.turn();
    for (port, wire) in bench.wires.iter_mut().enumerate() {
        let sent = receive_all(wire);
        assert!(sent.iter().map(|frame| frame[0]).eq((port as u8..40).step_by(2)), "{sent:?}");
    }
    let counted = bench.counters.read().io;
    assert_eq!((counted.sent, counted.unknown_egress_port), (40, 1));
}

#[test]
fn a_running_loop_beats_shows_its_counters_and_stops_when_told() {
    let stop = AtomicBool::new(false);
    let (mut wires, readers) = thread::scope(|scope| {
        let (report, reported) = std::sync::mpsc::channel();
        let stop = &stop;
        // A loop is made on the thread that runs it: its subscription to the snapshots stays there.
        let running = scope.spawn(move || {
            let Bench { mut poll_loop, wires, counters, .. } = bench(256, 256, 1);
            report.send((wires, counters)).expect("the test waits for it");
            poll_loop.run(stop);
            poll_loop.counters()
        });
        let (mut wires, counters) = reported.recv().expect("the loop is made");
        for frame in frames() {
            wires[1].send(mbuf(&frame)).expect("256 descriptors");
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while counters.read().pipeline.offered < 160 && Instant::now() < deadline {
            let counted = counters.read().pipeline;
            let ends = counted.forwarded + counted.passed_total() + counted.dropped_total();
            assert_eq!(counted.offered, ends, "a reader sees whole updates");
        }
        let beats = counters.heartbeat();
        while counters.heartbeat() == beats && Instant::now() < deadline {}
        assert!(counters.heartbeat() > beats);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let last = running.join().expect("no panic");
        assert_eq!(counters.read(), last);
        assert_eq!(last.pipeline.offered, 160);
        (wires, counters)
    });
    assert_eq!(receive_all(&mut wires[1]).len() as u64, readers.read().io.sent);
}

#[test]
fn a_new_snapshot_is_told_once_with_the_time_of_the_first_poll_that_went_by_it() {
    let numbered = |generation| Snapshot { generation, ..snapshot(PortId(0)) };
    let mut publisher = Publisher::new(numbered(5));
    let (queues, _wire) = loopback::<Mbuf>(8);
    let (host_queue, _host) = host_path(8);
    let (writer, reader) = counters();
    let clock = Clock::start();
    let mut poll_loop = PollLoop::new(worker(&publisher), vec![queues], host_queue, clock, writer);
    assert_eq!(reader.adoption().generation, 0);
    let before = clock.elapsed();
    poll_loop.turn();
    let first = reader.adoption();
    assert_eq!(first.generation, 5);
    assert!((before..=clock.elapsed()).contains(&first.at));
    poll_loop.turn();
    assert_eq!(reader.adoption(), first, "the same snapshot is no news");
    publisher.publish(numbered(6));
    assert_eq!(reader.adoption(), first, "a publication alone moves no worker");
    let published = clock.elapsed();
    poll_loop.turn();
    let second = reader.adoption();
    assert_eq!(second.generation, 6);
    assert!(second.at >= published);
}
