//! Player: one worker of the replay with both ends of its wire. Frames go in, the poll loop turns, frames come out.
//!
//! Both ends are the worker's own thread's, in turns: a core for each worker is enough, and what a turn of the poll loop
//! takes is timed without the making of frames.

use std::sync::Arc;
use std::time::{Duration, Instant};

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::pipeline::BURST;
use guideway_dataplane::snapshot::Snapshot;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::clock::Clock;
use guideway_engine::counters::{WorkerCounters, counters};
use guideway_engine::driver::loopback::{LoopbackQueues, Wire, loopback};
use guideway_engine::host_path::{WorkerMailbox, host_path};
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Feed;
use hdrhistogram::Histogram;

use super::frame_counts::FrameCounts;
use super::schedule::{Due, Schedule};
use super::source::Source;

/// Descriptors of a queue, as many as a NIC's driver has.
const DESCRIPTORS: usize = 256;

/// Nanoseconds of the longest turn that is recorded as it is.
const LONGEST_NANOS: u64 = 10_000_000_000;

/// Speed at which frames come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speed {
    /// Frames come as fast as the worker takes them.
    Full,
    /// Frames come when they are due, so many times as fast as they were captured.
    Capture(f64),
}

/// State that all players share.
pub(super) struct Stage<'a> {
    pub(super) source: &'a Source,
    pub(super) feed: Feed<Snapshot>,
    pub(super) table: Arc<ConntrackTable>,
    pub(super) clock: Clock,
    pub(super) speed: Speed,
    pub(super) length: Duration,
    pub(super) clones: u64,
    pub(super) workers: u64,
}

/// Results of one worker's replay.
pub(super) struct Played {
    pub(super) counters: WorkerCounters,
    pub(super) frame_counts: FrameCounts,
    /// Time from the first frame until the last had gone through.
    pub(super) elapsed: Duration,
    /// Time of the turns that found frames.
    pub(super) busy: Duration,
    /// Nanoseconds of the turns that found a full burst.
    pub(super) full_bursts: Histogram<u64>,
    /// Nanoseconds of the turns that found any frame.
    pub(super) bursts: Histogram<u64>,
    /// Time by which the latest frame was put in after it was due.
    pub(super) latest: Duration,
}

/// Worker of a replay with both ends of its wire.
pub(super) struct Player<'a> {
    stage: &'a Stage<'a>,
    number: u64,
    poll_loop: PollLoop<LoopbackQueues<Mbuf>>,
    wire: Wire<Mbuf>,
    host: WorkerMailbox<Mbuf>,
    spare: Vec<Mbuf>,
    schedule: Schedule,
    put_in: u64,
    came_out: u64,
    to_host: u64,
    busy: Duration,
    full_bursts: Histogram<u64>,
    bursts: Histogram<u64>,
    latest: Duration,
}

impl<'a> Player<'a> {
    /// Makes worker `number`, which gets every clone whose number leaves this remainder.
    pub(super) fn new(stage: &'a Stage<'a>, number: usize) -> Self {
        let hasher = TrackingHasher::new([21, 22, 23, 24]);
        let processor = BurstProcessor::new(stage.feed.subscribe(), Arc::clone(&stage.table), hasher, number)
            .among(stage.workers as usize);
        let (queues, wire) = loopback(DESCRIPTORS);
        let (host_queue, host) = host_path(DESCRIPTORS);
        let poll_loop = PollLoop::new(processor, vec![queues], host_queue, stage.clock, counters().0);
        let number = number as u64;
        let clones = (stage.clones - number).div_ceil(stage.workers);
        let histogram = || Histogram::new_with_max(LONGEST_NANOS, 3).expect("three digits up to ten seconds");
        Self {
            stage,
            number,
            poll_loop,
            wire,
            host,
            spare: Vec::new(),
            schedule: Schedule::new(&stage.source.times, stage.source.length, clones),
            put_in: 0,
            came_out: 0,
            to_host: 0,
            busy: Duration::ZERO,
            full_bursts: histogram(),
            bursts: histogram(),
            latest: Duration::ZERO,
        }
    }

    /// Plays for the duration that the stage sets.
    pub(super) fn play(mut self) -> Played {
        let start = Instant::now();
        loop {
            let now = start.elapsed();
            if now >= self.stage.length {
                break;
            }
            self.feed(now);
            self.turn();
        }
        // What waits in the queues belongs to the sum.
        while self.turn() > 0 {}
        let counters = self.poll_loop.counters();
        let frame_counts = FrameCounts::new(&counters, self.put_in, self.came_out, self.to_host);
        Played {
            counters,
            frame_counts,
            elapsed: start.elapsed(),
            busy: self.busy,
            full_bursts: self.full_bursts,
            bursts: self.bursts,
            latest: self.latest,
        }
    }

    /// Puts a burst of frames that are due on the wire to the port.
    fn feed(&mut self, now: Duration) {
        for _ in 0..BURST {
            let Due { frame, clone, nanos } = self.schedule.peek();
            if let Speed::Capture(pace) = self.stage.speed {
                let due = Duration::from_nanos((nanos as f64 / pace) as u64);
                let Some(late) = now.checked_sub(due) else { return };
                self.latest = self.latest.max(late);
            }
            let mut mbuf = self.spare.pop().unwrap_or_default();
            self.stage.source.fill(&mut mbuf, frame, clone * self.stage.workers + self.number);
            if let Err(mbuf) = self.wire.send(mbuf) {
                self.spare.push(mbuf);
                return;
            }
            self.schedule.advance();
            self.put_in += 1;
        }
    }

    /// Turns the poll loop once and takes the frames that came out; returns how many the turn found.
    fn turn(&mut self) -> usize {
        let start = Instant::now();
        let found = self.poll_loop.turn();
        let took = start.elapsed();
        if found > 0 {
            self.busy += took;
            self.bursts.saturating_record(took.as_nanos() as u64);
        }
        if found == BURST {
            self.full_bursts.saturating_record(took.as_nanos() as u64);
        }
        while let Some(mbuf) = self.wire.receive() {
            self.came_out += 1;
            self.spare.push(mbuf);
        }
        while let Some(passed) = self.host.receive() {
            self.to_host += 1;
            self.spare.push(passed.frame);
        }
        found
    }
}
