//! Faults on demand, in builds for tests alone: with `GUIDEWAY_FAULT=panic:WORKER:PACKETS` a worker panics once that many
//! packets were offered to it, with `stall:WORKER:PACKETS` it rests for three seconds, with
//! `freeze:WORKER:PACKETS` for ever.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use guideway_engine::driver::QueuePair;
use guideway_engine::poll_loop::PollLoop;

/// A fault of one worker, which strikes after a number of packets.
struct Fault {
    kind: String,
    worker: usize,
    packets: u64,
}

impl Fault {
    fn configured() -> Option<Self> {
        let text = std::env::var("GUIDEWAY_FAULT").ok()?;
        let [kind, worker, packets] = text.split(':').collect::<Vec<_>>()[..] else { return None };
        Some(Self { kind: kind.to_owned(), worker: worker.parse().ok()?, packets: packets.parse().ok()? })
    }
}

/// Polls until `stop` is set or the fault strikes, where one is configured for this worker.
pub(super) fn run<Q: QueuePair>(poll_loop: &mut PollLoop<Q>, worker: usize, stop: &AtomicBool) {
    if let Some(fault) = Fault::configured().filter(|fault| fault.worker == worker) {
        while poll_loop.counters().pipeline.offered < fault.packets && !stop.load(Ordering::Relaxed) {
            poll_loop.turn();
        }
        match &*fault.kind {
            "panic" => panic!("injected by GUIDEWAY_FAULT"),
            "freeze" => loop {
                std::thread::park();
            },
            "stall" => std::thread::sleep(Duration::from_secs(3)),
            _ => {}
        }
    }
}
