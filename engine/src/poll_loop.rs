//! A worker's poll loop: receive, decide, send, from start to stop.
//!
//! ```text
//! every port:  rx burst → Worker::poll → forwarded         → tx burst on the port's tx port
//!                                      → answered          → tx burst on the port that it came by
//!                                      → passed            → the control thread
//!                                      → dropped           → its pool
//! then:        what the control thread wants sent          → tx burst
//! ```
//!
//! Nothing here waits, locks or allocates: queues are asked, and what does not fit is counted and freed.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use guideway_dataplane::pipeline::{BURST, Decision};
use guideway_dataplane::verdict::Verdict;

use crate::clock::{Clock, CoarseClock};
use crate::counters::{CountersWriter, LinkCounters, WorkerCounters};
use crate::driver::{Burst, PortId, QueuePair};
use crate::host_path::WorkerLink;
use crate::worker::Worker;

/// How often a full transmit queue is asked again before its frames are dropped: long enough for a NIC to fetch a few
/// descriptors, short enough not to fill the receive queues meanwhile.
const TX_RETRIES: usize = 8;

/// How many busy polls may pass before the counters are shown to readers; the first idle poll shows them too.
const POLLS_PER_PUBLICATION: u32 = 16;

/// After how many polls the counters are shown in any case: frames that the driver refuses make no poll busy.
const TURNS_PER_PUBLICATION: u64 = 1 << 16;

/// A port as one worker sees it.
#[derive(Debug)]
pub struct WorkerPort<Q> {
    /// The worker's own queues of it.
    pub queues: Q,
    /// The port that sends what was received here: the same one, or the other arm.
    pub tx_port: PortId,
}

/// A worker with its queues of every port.
pub struct PollLoop<Q: QueuePair> {
    worker: Worker,
    ports: Box<[WorkerPort<Q>]>,
    host: WorkerLink<Q::Frame>,
    clock: CoarseClock,
    counters: CountersWriter,
    link: LinkCounters,
    turns: u64,
    unpublished: u32,
    received: Burst<Q::Frame>,
    forwarded: Burst<Q::Frame>,
    answered: Burst<Q::Frame>,
    decisions: [Decision; BURST],
}

impl<Q: QueuePair> PollLoop<Q> {
    /// A loop over `ports`, each at the place that its [`PortId`] names.
    ///
    /// # Panics
    /// Where a `tx_port` is none of `ports`.
    pub fn new(
        worker: Worker,
        ports: Vec<WorkerPort<Q>>,
        host: WorkerLink<Q::Frame>,
        clock: Clock,
        counters: CountersWriter,
    ) -> Self {
        assert!(ports.iter().all(|port| usize::from(port.tx_port.0) < ports.len()));
        Self {
            worker,
            ports: ports.into_boxed_slice(),
            host,
            clock: clock.coarse(),
            counters,
            link: LinkCounters::default(),
            turns: 0,
            unpublished: 0,
            received: Burst::new(),
            forwarded: Burst::new(),
            answered: Burst::new(),
            decisions: [Decision::PENDING; BURST],
        }
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
            self.ports[place].queues.rx_burst(&mut self.received);
            received += self.received.len();
            let decisions = &mut self.decisions[..self.received.len()];
            self.worker.poll(&mut self.received, decisions, now);
            for (frame, decision) in self.received.drain(..).zip(decisions) {
                match decision.verdict {
                    Verdict::Forward => self.forwarded.push(frame),
                    Verdict::Pass(_) => self.link.host_full += u64::from(!self.host.pass(port, frame)),
                    Verdict::Drop(_) if decision.answered => self.answered.push(frame),
                    Verdict::Drop(_) => drop(frame),
                }
            }
            let tx_port = usize::from(self.ports[place].tx_port.0);
            transmit(&mut self.ports[tx_port].queues, &mut self.forwarded, &mut self.link);
            transmit(&mut self.ports[place].queues, &mut self.answered, &mut self.link);
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
            link: LinkCounters {
                refused: self.ports.iter().map(|port| port.queues.refused()).sum(),
                ..self.link
            },
        }
    }

    /// Sends at most a burst of the control thread's frames: they are few, and the ports' must not wait for them.
    fn send_for_host(&mut self) {
        for _ in 0..BURST {
            let Some(host_frame) = self.host.take() else { return };
            if let Some(port) = self.ports.get_mut(usize::from(host_frame.port.0)) {
                self.answered.push(host_frame.frame);
                transmit(&mut port.queues, &mut self.answered, &mut self.link);
                // An idle worker that sends has counters to show as well.
                self.unpublished += 1;
            }
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
fn transmit<Q: QueuePair>(queues: &mut Q, burst: &mut Burst<Q::Frame>, link: &mut LinkCounters) {
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
