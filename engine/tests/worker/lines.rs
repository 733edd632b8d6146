//! No line of memory is written by two workers that forward packets of established connections: addresses prove it.
//!
//! Workers do write in common to the conntrack table, where each entry notes its use once a second; a packet within the
//! same second writes nothing there, as its time stands still in this test.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Barrier};
use std::thread;

use guideway_dataplane::access_list::AccessList;
use guideway_dataplane::address::Address;
use guideway_dataplane::affinity::{AffinityPolicy, TrackingHasher};
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::delivery::Delivery;
use guideway_dataplane::egress::Egress;
use guideway_dataplane::forwarding_rule::{ForwardingRule, RulePorts, RuleProtocol};
use guideway_dataplane::snapshot::SnapshotBuilder;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::clock::Clock;
use guideway_engine::counters::counters;
use guideway_engine::driver::loopback::loopback;
use guideway_engine::host_path::host_path;
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;
use pcap_fixtures::packet::Packet;

const WORKERS: usize = 4;

/// Bytes that a processor fetches together: two lines of 64.
const LINES: usize = 128;

#[test]
fn no_line_is_written_by_two_workers() {
    // Few rules and backends: the counters of all workers would fit into a line or two.
    let mut builder = SnapshotBuilder::new();
    let service = builder.service(AffinityPolicy::default());
    builder.backend(service, "a", 1, Delivery::l2(Egress::to(MacAddress([2, 0, 0, 0, 1, 1])), 1500));
    let vip = Address::v4([203, 0, 113, 10]);
    let access_list = Some(builder.access_list(AccessList::new([], true)));
    let rule = ForwardingRule::new(vip, RuleProtocol::Tcp, RulePorts::All, service);
    builder.rule(ForwardingRule { access_list, ..rule });
    let publisher = Publisher::new(builder.counted_workers(WORKERS).build());
    let table = Arc::new(ConntrackTable::with_capacity(1_000).expect("24 kB"));
    let (clock, all) = (Clock::start(), Barrier::new(WORKERS));

    let written: Vec<Vec<Range<usize>>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let (feed, table, all) = (publisher.feed(), Arc::clone(&table), &all);
                scope.spawn(move || {
                    let mut subscriber = feed.subscribe();
                    let hasher = TrackingHasher::new([1, 2, 3, 4]);
                    let processor =
                        BurstProcessor::new(feed.subscribe(), table, hasher, number).among(WORKERS);
                    let (queues, mut wire) = loopback(64);
                    let (host_queue, _host) = host_path(64);
                    let (writer, reader) = counters();
                    let published = writer.addresses();
                    let mut poll_loop = PollLoop::new(processor, vec![queues], host_queue, clock, writer);
                    let start = std::ptr::from_ref(&poll_loop).addr();
                    let mut written = vec![start..start + size_of_val(&poll_loop), published];
                    // The first packet makes the connection, the others are hits.
                    for flags in [0x02, 0x10, 0x10] {
                        let src_port = 40_000 + number as u16;
                        let packet = Packet::between("192.0.2.7", "203.0.113.10").tcp(src_port, 80, flags);
                        let mut frame = Mbuf::new();
                        frame.fill(&packet.build());
                        wire.send(frame).expect("64 descriptors");
                        while poll_loop.turn() > 0 {}
                    }
                    let pipeline = reader.read().pipeline;
                    assert_eq!((pipeline.forwarded, pipeline.conntrack.hits), (3, 2));
                    let counted = subscriber.repin().traffic_counters.worker(number).expect("it is counted");
                    written.extend(counted.addresses());
                    written.push(counted.census().addresses());
                    // Nobody frees its memory, which another's could then be, before all have theirs.
                    all.wait();
                    written
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("it forwards")).collect()
    });

    let mut writers: HashMap<usize, usize> = HashMap::new();
    for (number, ranges) in written.iter().enumerate() {
        assert!(ranges.iter().all(|range| !range.is_empty()), "worker {number} writes {ranges:x?}");
        for line in ranges.iter().flat_map(|range| range.start / LINES..range.end.div_ceil(LINES)) {
            let writer = *writers.entry(line).or_insert(number);
            assert_eq!(writer, number, "two workers write to the line at {:#x}", line * LINES);
        }
    }
}
