//! A worker's poll loop: receive, decide, send, from start to stop.
//!
//! ```text
//! every port:  rx burst → BurstProcessor::poll → forwarded         → tx burst on the backend's port
//!                                      → answered          → tx burst on the port that it came by
//!                                      → passed            → the control thread
//!                                      → dropped           → its pool
//! then:        what the control thread wants sent          → tx burst
//! ```
//!
//! Nothing here waits, locks or allocates: queues are asked, and what does not fit is counted and freed.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use guideway_dataplane::egress::PortId;
use guideway_dataplane::pipeline::{BURST, Decision};
use guideway_dataplane::verdict::Verdict;

use crate::burst_processor::BurstProcessor;
use crate::clock::{Clock, CoarseClock};
use crate::counters::{Adoption, CountersWriter, IoCounters, WorkerCounters};
use crate::driver::{Burst, QueuePair};
use crate::host_path::HostQueue;
use crate::tap::WorkerTap;

/// How often a full transmit queue is asked again before its frames are dropped: long enough for a NIC to fetch a few
/// descriptors, short enough not to fill the receive queues meanwhile.
const TX_RETRIES: usize = 8;

/// How many busy polls may pass before the counters are shown to readers; the first idle poll shows them too.
const POLLS_PER_PUBLICATION: u32 = 16;

/// After how many polls the counters are shown in any case: frames that the driver refuses make no poll busy.
const TURNS_PER_PUBLICATION: u64 = 1 << 16;

/// A worker with its queues of every port.
pub struct PollLoop<Q: QueuePair> {
    worker: BurstProcessor,
    /// By [`PortId`]: the worker's own queues of each port.
    ports: Box<[Q]>,
    host: HostQueue<Q::Frame>,
    clock: CoarseClock,
    counters: CountersWriter,
    tap: WorkerTap,
    link: IoCounters,
    /// The generation of the snapshot that the latest poll went by.
    adopted: u64,
    turns: u64,
    unpublished: u32,
    received: Burst<Q::Frame>,
    /// By [`PortId`]: what is to leave there.
    forwarded: Box<[Burst<Q::Frame>]>,
    answered: Burst<Q::Frame>,
    decisions: [Decision; BURST],
}

impl<Q: QueuePair> PollLoop<Q> {
    /// A loop over `ports`, the worker's own queues of each, at the places that their [`PortId`]s name.
    pub fn new(
        worker: BurstProcessor,
        ports: Vec<Q>,
        host: HostQueue<Q::Frame>,
        clock: Clock,
        counters: CountersWriter,
    ) -> Self {
        Self {
            worker,
            forwarded: ports.iter().map(|_| Burst::new()).collect(),
            ports: ports.into_boxed_slice(),
            host,
            clock: clock.coarse(),
            counters,
            tap: WorkerTap::off(),
            link: IoCounters::default(),
            adopted: 0,
            turns: 0,
            unpublished: 0,
            received: Burst::new(),
            answered: Burst::new(),
            decisions: [Decision::PENDING; BURST],
        }
    }

    /// The same loop, which records what captures ask of `tap`.
    #[must_use]
    pub fn tapped(self, tap: WorkerTap) -> Self {
        Self { tap, ..self }
    }

    /// Polls until `stop` is set, and shows the last counters.
    pub fn run(&mut self, stop: &AtomicBool) {
        // Relaxed: the flag carries nothing but itself; whoever set it joins this thread.
        while !stop.load(Ordering::Relaxed) {
            self.turn();
        }
        self.publish();
    }

    /// One poll of every port; returns how many frames came in.
    pub fn turn(&mut self) -> usize {
        let now = self.clock.now();
        let mut received = 0;
        for place in 0..self.ports.len() {
            let port = PortId(place as u8);
            self.ports[place].rx_burst(&mut self.received);
            received += self.received.len();
            let decisions = &mut self.decisions[..self.received.len()];
            let generation = self.worker.poll(&mut self.received, decisions, now);
            if generation != self.adopted {
                self.adopted = generation;
                self.tap.adopt(generation);
                self.counters.adopt(Adoption { generation, at: self.clock.elapsed() });
            }
            self.tap.record(port, &self.received, decisions);
            for (frame, decision) in self.received.drain(..).zip(decisions) {
                match decision.verdict {
                    Verdict::Forward => match self.forwarded.get_mut(usize::from(decision.egress.0)) {
                        Some(burst) => burst.push(frame),
                        None => self.link.unknown_egress_port += 1,
                    },
                    Verdict::Pass(_) => self.link.host_full += u64::from(!self.host.pass(port, frame)),
                    Verdict::Drop(_) if decision.answered => self.answered.push(frame),
                    Verdict::Drop(_) => drop(frame),
                }
            }
            for (queues, burst) in self.ports.iter_mut().zip(&mut self.forwarded) {
                transmit(queues, burst, &mut self.link);
            }
            transmit(&mut self.ports[place], &mut self.answered, &mut self.link);
        }
        self.send_for_host();
        self.turns += 1;
        self.counters.beat(self.turns);
        self.account(received);
        received
    }

    /// What this worker has counted up to now.
    pub fn counters(&self) -> WorkerCounters {
        WorkerCounters {
            pipeline: self.worker.counters().clone(),
            link: IoCounters { refused: self.ports.iter().map(Q::refused).sum(), ..self.link },
        }
    }

    /// Sends at most a burst of the control thread's frames: they are few, and the ports' must not wait for them.
    fn send_for_host(&mut self) {
        for _ in 0..BURST {
            let Some(host_frame) = self.host.take() else { return };
            match self.ports.get_mut(usize::from(host_frame.port.0)) {
                Some(queues) => {
                    self.answered.push(host_frame.frame);
                    transmit(queues, &mut self.answered, &mut self.link);
                }
                None => self.link.unknown_egress_port += 1,
            }
            // An idle worker that sends has counters to show as well.
            self.unpublished += 1;
        }
    }

    fn account(&mut self, received: usize) {
        if received > 0 {
            self.link.busy_polls += 1;
            self.unpublished += 1;
        }
        let idle = received == 0 && self.unpublished > 0;
        if idle
            || self.unpublished >= POLLS_PER_PUBLICATION
            || self.turns.is_multiple_of(TURNS_PER_PUBLICATION)
        {
            self.publish();
        }
    }

    fn publish(&mut self) {
        self.counters.publish(&self.counters());
        self.unpublished = 0;
    }
}

/// Sends all of `burst`, or as much as the queue takes within its retries; the rest is counted and freed.
#[inline]
fn transmit<Q: QueuePair>(queues: &mut Q, burst: &mut Burst<Q::Frame>, link: &mut IoCounters) {
    let count = burst.len();
    for _ in 0..=TX_RETRIES {
        if burst.is_empty() {
            break;
        }
        queues.tx_burst(burst);
    }
    link.sent += (count - burst.len()) as u64;
    link.tx_full += burst.len() as u64;
    burst.clear();
}

impl<Q: QueuePair> fmt::Debug for PollLoop<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollLoop")
            .field("turns", &self.turns)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}
