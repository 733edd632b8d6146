//! A worker's poll loop: receive, decide, send, from start to stop.
//!
//! ```text
//! every port:  rx burst → BurstProcessor::poll → forwarded  → tx burst on the backend's port
//!                                              → too long   → its fragments → tx burst on the backend's port
//!                                              → answered   → tx burst on the port that it came by
//!                                              → passed     → the control thread
//!                                              → dropped    → its pool
//! then:        frames of the control thread                 → tx burst
//! ```
//!
//! Nothing here waits, locks or allocates: queues are asked, and what does not fit is counted and freed.

#[cfg(feature = "dpdk")]
mod over_dpdk;

use std::fmt;
use std::num::NonZeroU16;
use std::sync::atomic::{AtomicBool, Ordering};

use guideway_dataplane::delivery::fragments::fragments;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{BURST, Decision};
use guideway_dataplane::time::Tick;
use guideway_dataplane::verdict::Verdict;

use crate::burst_processor::BurstProcessor;
use crate::clock::{Clock, CoarseClock};
use crate::counters::{Adoption, CountersWriter, IoCounters, WorkerCounters};
use crate::driver::{Burst, QueuePair};
use crate::host_path::HostQueue;
use crate::tap::WorkerTap;

/// Times that a full transmit queue is asked again before its frames are dropped: long enough for a NIC to fetch a few
/// descriptors, short enough not to fill the receive queues meanwhile.
const TX_RETRIES: usize = 8;

/// Busy polls that may pass before the counters are shown to readers; the first idle poll shows them too.
const POLLS_PER_PUBLICATION: u32 = 64;

/// Polls after which the counters are shown in any case: frames that the driver refuses make no poll busy.
const TURNS_PER_PUBLICATION: u64 = 1 << 16;

/// Poll loop of one worker: its queues of every port, and all that a frame passes between them.
pub struct PollLoop<Q: QueuePair> {
    processor: BurstProcessor,
    /// The worker's own queues of each port, by [`PortId`].
    ports: Box<[Q]>,
    host_queue: HostQueue<Q::Frame>,
    clock: CoarseClock,
    counters: CountersWriter,
    tap: WorkerTap,
    io: IoCounters,
    /// Generation of the snapshot that the latest poll went by.
    adopted: u64,
    turns: u64,
    unpublished: u32,
    received: Burst<Q::Frame>,
    /// Frames that are to leave by each port, by [`PortId`].
    forwarded: Box<[Burst<Q::Frame>]>,
    answered: Burst<Q::Frame>,
    /// Fragments of one frame.
    fragments: Burst<Q::Frame>,
    decisions: [Decision; BURST],
}

impl<Q: QueuePair> PollLoop<Q> {
    /// Makes the loop of a worker over `ports`: its own queues of each, in the order of their [`PortId`]s.
    pub fn new(
        processor: BurstProcessor,
        ports: Vec<Q>,
        host_queue: HostQueue<Q::Frame>,
        clock: Clock,
        counters: CountersWriter,
    ) -> Self {
        Self {
            processor,
            forwarded: ports.iter().map(|_| Burst::new()).collect(),
            ports: ports.into_boxed_slice(),
            host_queue,
            clock: clock.coarse(),
            counters,
            tap: WorkerTap::off(),
            io: IoCounters::default(),
            adopted: 0,
            turns: 0,
            unpublished: 0,
            received: Burst::new(),
            answered: Burst::new(),
            fragments: Burst::new(),
            decisions: [Decision::PENDING; BURST],
        }
    }

    /// Adds the tap by which captures record frames of this loop.
    #[must_use]
    pub fn tapped(self, tap: WorkerTap) -> Self {
        Self { tap, ..self }
    }

    /// Polls until `stop` is set, and then shows the last counters.
    pub fn run(&mut self, stop: &AtomicBool) {
        // Relaxed: the flag carries nothing but itself; whoever set it joins this thread.
        while !stop.load(Ordering::Relaxed) {
            self.turn();
        }
        self.publish();
    }

    /// Polls every port once, and returns how many frames came in.
    // Not inlined, so that a profile has it by its name.
    #[inline(never)]
    pub fn turn(&mut self) -> usize {
        let now = self.clock.now();
        let mut received = 0;
        for index in 0..self.ports.len() {
            self.ports[index].rx_burst(&mut self.received);
            received += self.received.len();
            let generation = if self.tap.is_on() {
                self.poll_tapped(index, now)
            } else {
                let decisions = &mut self.decisions[..self.received.len()];
                self.processor.poll(PortId(index as u8), &mut self.received, decisions, now)
            };
            if generation != self.adopted {
                self.adopted = generation;
                self.counters.adopt(Adoption { generation, at: self.clock.elapsed() });
            }
            if !self.received.is_empty() {
                self.hand_on(index);
            }
        }
        self.send_for_host();
        self.turns += 1;
        self.counters.beat(self.turns);
        self.account(received);
        received
    }

    /// Decides the burst that came in by the port with this index, and records frames of it. Before each frame whose way is to
    /// be recorded, the burst is parted: what that frame meets is what those before it have left.
    #[cold]
    #[inline(never)]
    fn poll_tapped(&mut self, index: usize, now: Tick) -> u64 {
        let port = PortId(index as u8);
        let Self { processor, tap, received, decisions, .. } = self;
        let decisions = &mut decisions[..received.len()];
        tap.take_in(received);
        let mut first = 0;
        loop {
            if tap.looks_at(first) {
                tap.note(first, processor.look(port, received[first].bytes(), now));
            }
            let end = (first + 1..received.len()).find(|next| tap.looks_at(*next)).unwrap_or(received.len());
            let (frames, decisions) = (&mut received[first..end], &mut decisions[first..end]);
            let generation = processor.poll(port, frames, decisions, now);
            tap.revise(first, |look| processor.look_again(look));
            tap.record(generation, port, first, frames, decisions);
            if end == received.len() {
                return generation;
            }
            first = end;
        }
    }

    /// Takes the frames of a decided burst, which came in by the port with this index, to where they belong.
    #[inline]
    fn hand_on(&mut self, index: usize) {
        let decisions = &self.decisions[..self.received.len()];
        let egress = decisions[0].egress;
        let leave_together = decisions.iter().all(|decision| leaves_whole_by(decision, egress));
        match self.ports.get_mut(usize::from(egress.0)) {
            Some(queues) if leave_together => transmit(queues, &mut self.received, &mut self.io),
            _ => self.hand_on_one_by_one(index),
        }
    }

    /// Takes frames that do not all leave by one port to where they belong.
    #[inline(never)]
    fn hand_on_one_by_one(&mut self, index: usize) {
        let port = PortId(index as u8);
        for (frame, decision) in self.received.drain(..).zip(&self.decisions) {
            match decision.verdict {
                Verdict::Forward => match self.forwarded.get_mut(usize::from(decision.egress.0)) {
                    Some(burst) => match decision.fragment_mtu {
                        None => burst.push(frame),
                        Some(mtu) => {
                            let queues = &mut self.ports[usize::from(decision.egress.0)];
                            // Frames that came before this one leave before it.
                            transmit(queues, burst, &mut self.io);
                            transmit_in_fragments(queues, &frame, mtu, &mut self.fragments, &mut self.io);
                        }
                    },
                    None => self.io.unknown_egress_port += 1,
                },
                Verdict::Pass(_) => self.io.host_full += u64::from(!self.host_queue.pass(port, frame)),
                Verdict::Drop(_) if decision.answered => self.answered.push(frame),
                Verdict::Drop(_) => drop(frame),
            }
        }
        for (queues, burst) in self.ports.iter_mut().zip(&mut self.forwarded) {
            transmit(queues, burst, &mut self.io);
        }
        transmit(&mut self.ports[index], &mut self.answered, &mut self.io);
    }

    /// Counters of this worker at this moment; readers see those that were shown last.
    pub fn counters(&self) -> WorkerCounters {
        WorkerCounters {
            pipeline: self.processor.counters().clone(),
            io: IoCounters {
                refused: self.ports.iter().map(Q::refused).sum(),
                joined: self.ports.iter().map(Q::joined).sum(),
                ..self.io
            },
        }
    }

    /// Sends at most a burst of the control thread's frames: they are few, and received frames must not wait for them.
    fn send_for_host(&mut self) {
        for _ in 0..BURST {
            let Some(host_frame) = self.host_queue.take() else { return };
            match self.ports.get_mut(usize::from(host_frame.port.0)) {
                Some(queues) => {
                    self.answered.push(host_frame.frame);
                    transmit(queues, &mut self.answered, &mut self.io);
                }
                None => self.io.unknown_egress_port += 1,
            }
            // An idle worker that sends has counters to show as well.
            self.unpublished += 1;
        }
    }

    /// Counts a busy poll, and shows the counters if it is time to.
    fn account(&mut self, received: usize) {
        if received > 0 {
            self.io.busy_polls += 1;
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

/// True for a packet that is forwarded in one piece by this port.
#[inline]
fn leaves_whole_by(decision: &Decision, egress: PortId) -> bool {
    // No short circuit: a branch for each packet, not three.
    (decision.verdict == Verdict::Forward) & (decision.egress == egress) & decision.fragment_mtu.is_none()
}

/// Sends all of `burst`, or as much as the queue takes within its retries; the rest is counted and freed.
#[inline]
fn transmit<Q: QueuePair>(queues: &mut Q, burst: &mut Burst<Q::Frame>, io: &mut IoCounters) {
    let count = burst.len();
    for _ in 0..=TX_RETRIES {
        if burst.is_empty() {
            break;
        }
        queues.tx_burst(burst);
    }
    io.sent += (count - burst.len()) as u64;
    io.tx_full += burst.len() as u64;
    burst.clear();
}

/// Sends the fragments of `frame`, by way of `burst`; of all or of none of them, so that no part of a packet travels
/// in vain, unless the queue is full.
#[cold]
fn transmit_in_fragments<Q: QueuePair>(
    queues: &mut Q,
    frame: &Q::Frame,
    mtu: NonZeroU16,
    burst: &mut Burst<Q::Frame>,
    io: &mut IoCounters,
) {
    let cut = fragments(frame.bytes(), usize::from(mtu.get()));
    let is_whole = cut.into_iter().all(|fragment| {
        let made = frame.another([fragment.headers(), fragment.piece]);
        made.is_some_and(|made| burst.try_push(made).is_ok())
    });
    if is_whole && !burst.is_empty() {
        io.fragments += burst.len() as u64;
        transmit(queues, burst, io);
    } else {
        io.no_fragment_memory += 1;
        burst.clear();
    }
}

impl<Q: QueuePair> fmt::Debug for PollLoop<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PollLoop").field("turns", &self.turns).field("io", &self.io).finish_non_exhaustive()
    }
}
