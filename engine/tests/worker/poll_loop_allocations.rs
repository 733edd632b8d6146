//! No packet costs an allocation, whatever becomes of it.

use allocation_counter::measure;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_engine::clock::Clock;
use guideway_engine::counters::counters;
use guideway_engine::driver::loopback::loopback;
use guideway_engine::host_path::host_path;
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;

use crate::appliance::{expected, frames, snapshot, worker};

#[test]
fn no_packet_costs_an_allocation() {
    let frames = frames();
    let outcome = expected(&frames);
    let publisher = Publisher::new(snapshot(PortId(0)));
    let (queues, mut wire) = loopback(256);
    let (host_queue, mut host) = host_path(256);
    let (writer, reader) = counters();
    let ports = vec![queues];
    let mut poll_loop = PollLoop::new(worker(&publisher), ports, host_queue, Clock::start(), writer);
    for frame in &frames {
        let mut mbuf = Mbuf::new();
        mbuf.fill(frame);
        wire.send(mbuf).expect("256 descriptors");
    }
    let allocated = measure(|| while poll_loop.turn() > 0 {});
    assert_eq!(allocated.count_total, 0);

    assert_eq!(reader.read().pipeline.offered, frames.len() as u64);
    let sent = std::iter::from_fn(|| wire.receive()).filter(|frame| !frame.bytes().is_empty()).count();
    let passed = std::iter::from_fn(|| host.receive()).count();
    assert_eq!((sent, passed), (outcome.sent.len(), outcome.passed.len()));
}
