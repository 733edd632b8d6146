//! Functions whose instructions are counted. Callgrind finds them by their names (`callgrind.rs` has the pattern), so
//! each stays a function, and there is no other in this file, nor a closure.

use std::hint::black_box;

use guideway_dataplane::delivery::{PlainDelivery, PlainPacket};
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::pipeline::Decision;
use guideway_dataplane::time::Tick;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::poll_loop::PollLoop;

use crate::pipeline::poll_loop::shared::Shared;
use crate::pipeline::poll_loop::waiting_burst::WaitingBurst;
use crate::pipeline::slot::Slot;

/// Decides a burst as a worker does, its counters and traffic counters included.
#[inline(never)]
pub(super) fn counted_decide(
    processor: &mut BurstProcessor,
    frames: &mut [Slot],
    decisions: &mut [Decision],
    now: Tick,
) {
    processor.poll(PortId(0), frames, decisions, now);
    // Something after the call, so that it is no jump out of what is counted.
    black_box(decisions);
}

/// Turns a poll loop once.
#[inline(never)]
pub(super) fn counted_turn(poll_loop: &mut PollLoop<Shared<WaitingBurst>>) {
    black_box(poll_loop.turn());
}

/// Parses frames with the parser that takes any packet.
#[inline(never)]
pub(super) fn counted_parse(frames: &[Slot]) {
    for frame in frames {
        // Looked at where it lies, not copied.
        let _ = black_box(&Packet::parse(frame.bytes()));
    }
}

/// Makes frames into those that their backends get. `packets` are those of the frames.
#[inline(never)]
pub(super) fn counted_deliver(frames: &mut [Slot], packets: &[PlainPacket], deliveries: &[PlainDelivery]) {
    for ((frame, packet), delivery) in frames.iter_mut().zip(packets).zip(deliveries) {
        black_box(delivery.deliver(frame, packet));
    }
}
