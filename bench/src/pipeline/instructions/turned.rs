//! Case of the poll loop: bursts that wait to be received are decided and sent, the queues costing next to nothing.

use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::pipeline::BURST;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::clock::Clock;
use guideway_engine::counters::counters;
use guideway_engine::host_path::host_path;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Publisher;

use super::stage;
use crate::pipeline::poll_loop::shared::Shared;
use crate::pipeline::poll_loop::waiting_burst::WaitingBurst;
use crate::pipeline::scenario::Scenario;
use crate::pipeline::slot::Slot;
use crate::pipeline::traffic::{Sent, Traffic};

/// Turns of one poll loop: it reads the clock at the 32nd, and by that the machine's speed would decide when a second is
/// over.
const TURNS: usize = 16;

/// Turns poll loops over so many bursts of established connections, counted by callgrind.
///
/// # Panics
/// If a packet belongs to no connection, or is not sent.
pub(super) fn turn(scenario: &Scenario, bursts: usize) {
    let publisher = Publisher::new(scenario.snapshot(1));
    let table = Arc::new(ConntrackTable::with_capacity(scenario.capacity()).expect("memory for the table"));
    let traffic = Traffic::new(scenario);
    let slots = (0..BURST).map(|_| Box::new(Slot::empty())).collect();
    let queues = Shared::new(WaitingBurst::new(slots));
    let receive = |next: &mut dyn FnMut() -> u32| {
        let mut waiting = queues.borrow_mut();
        waiting.frames_mut().iter_mut().for_each(|slot| traffic.receive(slot, next(), Sent::InForm));
    };
    let poll_loop = |second: u64| {
        let hasher = TrackingHasher::new([11, 12, 13, 14]);
        let processor = BurstProcessor::new(publisher.feed().subscribe(), Arc::clone(&table), hasher, 0);
        let clock = Clock::running_for(Duration::from_secs(second));
        PollLoop::new(processor, vec![queues.clone()], host_path(1).0, clock, counters().0)
    };
    let flows = scenario.established() as u32;
    // Two packets of each, a second apart: the later one tells a connection from a packet that nobody follows up.
    for second in [0, 1] {
        let mut once = 0..flows;
        for _ in 0..flows as usize / BURST / TURNS {
            let mut poll_loop = poll_loop(second);
            for _ in 0..TURNS {
                receive(&mut || once.next().expect("no more than there are"));
                poll_loop.turn();
            }
        }
    }
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..bursts / TURNS {
        let mut poll_loop = poll_loop(1);
        for _ in 0..TURNS {
            receive(&mut || random.u32(..flows));
            stage::counted_turn(&mut poll_loop);
        }
        let counted = poll_loop.counters();
        assert_eq!(counted.io.sent, (TURNS * BURST) as u64, "every packet is sent");
        assert!(
            counted.pipeline.conntrack.hits * 100 > counted.io.sent * 98,
            "nearly all had room in the table"
        );
    }
}
