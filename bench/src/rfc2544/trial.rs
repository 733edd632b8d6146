//! Trial: test frames sent at one rate for some time, and what comes back of them until some time later.
//!
//! ```text
//!  sender:    clock → frames that are due → tx burst on the near port
//!  receiver:  rx burst on the far port → stamp → tally, latency;   neighbours, health checks → answers
//! ```
//!
//! Both are loops that never wait, each on a core of its own, or in turns on one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use guideway_dataplane::frame::Frame;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::driver::{Burst, QueuePair};

use super::echo::echo;
use super::latency::Latencies;
use super::pacer::Pacer;
use super::responder;
use super::stamp::Stamp;
use super::tally::Tally;
use super::traffic::Traffic;

/// Turns of the sender after which it looks at what has come in by its own port.
const TURNS_PER_LOOK: u32 = 64;

/// Mark of a sender that has not come to its end.
const SENDING: u64 = u64::MAX;

/// Memory that frames are made in.
pub(super) trait Memory {
    type Frame: Frame;

    /// Makes a frame of these bytes; none where there is no memory for it.
    fn frame(&self, bytes: &[u8]) -> Option<Self::Frame>;
}

/// Port of the tester on the thread that polls it.
pub(super) struct End<Q, M> {
    pub(super) queues: Q,
    pub(super) memory: M,
    pub(super) mac: MacAddress,
}

/// Settings of one trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Frames per second.
    pub(super) rate: u64,
    /// Time for which frames are sent.
    pub(super) duration: Duration,
    /// Time that the last frames have to come back.
    pub(super) settle: Duration,
    /// Frames that are made up for after a stall of the sender, at most.
    pub(super) backlog: u32,
    /// Number that no other trial's frames have.
    pub(super) signature: u32,
    /// True if the connections are not known to the device.
    pub(super) is_new: bool,
    /// True if latencies are recorded.
    pub(super) with_latencies: bool,
    /// Moment that times are counted from.
    pub(super) clock: Instant,
}

/// Result of a trial.
#[derive(Debug)]
pub(super) struct Seen {
    /// Frames that the port took.
    pub(super) sent: u64,
    /// Frames of these that have come back, each counted once.
    pub(super) received: u64,
    pub(super) duplicates: u64,
    pub(super) reordered: u64,
    pub(super) strangers: u64,
    /// Frames per second that were sent.
    pub(super) offered: u64,
    /// Frames that there was no memory for.
    pub(super) no_memory: u64,
    /// Frames that the tester's own ports had no descriptor or memory for.
    pub(super) missed: u64,
    pub(super) latencies: Option<Latencies>,
}

/// Frames that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    frames: u64,
    offered: u64,
    no_memory: u64,
}

/// Progress of the sender as the receiver sees it: the number of frames, once that is final.
#[derive(Debug)]
pub(super) struct Progress(AtomicU64);

impl Progress {
    /// Progress of a sender that has not begun.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(SENDING))
    }

    /// Tells the receiver that so many frames were sent in all.
    pub(super) fn finish(&self, sent: u64) {
        // Relaxed: the word carries nothing but itself.
        self.0.store(sent, Ordering::Relaxed);
    }

    fn sent(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|sent| *sent != SENDING)
    }
}

impl Run {
    fn now(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }

    /// Frames that the trial may send at most: the pace begins with one, and a burst is not cut.
    fn sendable(&self) -> u64 {
        (self.rate as f64 * self.duration.as_secs_f64()) as u64
            + 2 * guideway_dataplane::pipeline::BURST as u64
    }
}

/// Sends a trial's frames from the near port, on this thread alone.
pub(super) fn send<Q, M>(near: &mut End<Q, M>, traffic: &Traffic, run: &Run) -> Sent
where
    Q: QueuePair,
    M: Memory<Frame = Q::Frame>,
{
    let mut sender = Sender::new(traffic, run);
    let mut inbox = Burst::new();
    let mut turns = 0_u32;
    while sender.turn(near) {
        turns = turns.wrapping_add(1);
        if turns.is_multiple_of(TURNS_PER_LOOK) {
            attend(near, &mut inbox);
        }
    }
    sender.end()
}

/// Receives a trial's frames at the far port, on this thread alone, until the sender has ended and what it sent has come
/// back, or had its time.
pub(super) fn receive<Q, M>(
    far: &mut End<Q, M>,
    traffic: &Traffic,
    run: &Run,
    progress: &Progress,
) -> Received
where
    Q: QueuePair,
    M: Memory<Frame = Q::Frame>,
{
    let mut receiver = Receiver::new(traffic, run);
    while !receiver.has_all(progress.sent()) {
        receiver.turn(far);
    }
    receiver.received()
}

/// Sends and receives in turns on this thread; without a far port, by the near one.
pub(super) fn alone<Q, M>(
    near: &mut End<Q, M>,
    mut far: Option<&mut End<Q, M>>,
    traffic: &Traffic,
    run: &Run,
) -> Seen
where
    Q: QueuePair,
    M: Memory<Frame = Q::Frame>,
{
    let (mut sender, mut receiver) = (Sender::new(traffic, run), Receiver::new(traffic, run));
    let mut inbox = Burst::new();
    let mut sent = None;
    while !receiver.has_all(sent) {
        if sent.is_none() && !sender.turn(near) {
            sent = Some(sender.end().frames);
        }
        match far.as_deref_mut() {
            Some(far) => {
                receiver.turn(far);
                attend(near, &mut inbox);
            }
            None => receiver.turn(near),
        }
    }
    Seen::new(sender.end(), receiver.received())
}

/// Answers questions that have come in by a port, and frees what else has.
fn attend<Q, M>(end: &mut End<Q, M>, inbox: &mut Burst<Q::Frame>)
where
    Q: QueuePair,
    M: Memory<Frame = Q::Frame>,
{
    end.queues.rx_burst(inbox);
    for frame in inbox.drain(..) {
        end.answer(frame.bytes());
    }
}

impl<Q, M> End<Q, M>
where
    Q: QueuePair,
    M: Memory<Frame = Q::Frame>,
{
    /// Answers a frame if it is a question for a neighbour or a health check; true if it was.
    fn answer(&mut self, frame: &[u8]) -> bool {
        let answer = responder::answer(frame, self.mac).or_else(|| echo(frame, self.mac));
        let Some(answer) = answer else { return false };
        let mut burst: Burst<Q::Frame> = self.memory.frame(&answer).into_iter().collect();
        self.queues.tx_burst(&mut burst);
        true
    }
}

/// Sender between its turns.
struct Sender<'t, F> {
    traffic: &'t Traffic,
    run: Run,
    pacer: Pacer,
    /// Moment from which on no frame is due.
    ends: u64,
    /// Frames that were made, and may wait for room in the queue.
    made: u64,
    no_memory: u64,
    burst: Burst<F>,
}

impl<'t, F: Frame> Sender<'t, F> {
    fn new(traffic: &'t Traffic, run: &Run) -> Self {
        let began = run.now();
        let pacer = Pacer::new(run.rate, began, run.backlog);
        let ends = began + run.duration.as_nanos() as u64;
        Self { traffic, run: *run, pacer, ends, made: 0, no_memory: 0, burst: Burst::new() }
    }

    /// Sends what is due; false once all is sent that was due within the trial's time.
    fn turn<Q: QueuePair<Frame = F>, M: Memory<Frame = F>>(&mut self, end: &mut End<Q, M>) -> bool {
        let now = self.run.now();
        // A queue without room is asked again before more is made: the port is slower than the rate then.
        if self.burst.is_empty() {
            let due = self.pacer.due(now.min(self.ends));
            if due == 0 {
                return now < self.ends;
            }
            for _ in 0..due {
                self.make(now, &end.memory);
            }
        }
        end.queues.tx_burst(&mut self.burst);
        now < self.ends + self.run.settle.as_nanos() as u64
    }

    #[inline]
    fn make(&mut self, now: u64, memory: &impl Memory<Frame = F>) {
        let stamp = Stamp { signature: self.run.signature, time: now as u32, sequence: self.made };
        match memory.frame(self.traffic.unfinished(self.made)) {
            Some(mut frame) => {
                self.traffic.finish(frame.bytes_mut(), stamp, self.run.is_new);
                self.burst.push(frame);
                self.made += 1;
            }
            None => self.no_memory += 1,
        }
    }

    /// Result; what waits for room counts as not sent.
    fn end(&self) -> Sent {
        let frames = self.made - self.burst.len() as u64;
        let offered = (frames as f64 / self.run.duration.as_secs_f64()).round() as u64;
        Sent { frames, offered, no_memory: self.no_memory }
    }
}

impl Sent {
    /// Number of frames.
    pub(super) fn frames(self) -> u64 {
        self.frames
    }
}

/// Frames that were received.
#[derive(Debug)]
pub(super) struct Received {
    tally: Tally,
    latencies: Option<Latencies>,
}

/// Receiver between its turns.
struct Receiver<'t, F> {
    traffic: &'t Traffic,
    run: Run,
    result: Received,
    burst: Burst<F>,
    /// Moment after which nothing is waited for any more, once the sender has ended.
    deadline: Option<u64>,
}

impl<'t, F: Frame> Receiver<'t, F> {
    fn new(traffic: &'t Traffic, run: &Run) -> Self {
        let tally = Tally::new(run.sendable(), traffic.flows());
        let latencies = run.with_latencies.then(Latencies::new);
        let result = Received { tally, latencies };
        Self { traffic, run: *run, result, burst: Burst::new(), deadline: None }
    }

    /// True if all frames that were sent have come back, or none is waited for any more.
    fn has_all(&mut self, sent: Option<u64>) -> bool {
        let Some(sent) = sent else { return false };
        let now = self.run.now();
        let deadline = *self.deadline.get_or_insert(now + self.run.settle.as_nanos() as u64);
        self.result.tally.received >= sent || now >= deadline
    }

    fn turn<Q: QueuePair<Frame = F>, M: Memory<Frame = F>>(&mut self, end: &mut End<Q, M>) {
        end.queues.rx_burst(&mut self.burst);
        if self.burst.is_empty() {
            return;
        }
        let now = self.run.now() as u32;
        for frame in self.burst.drain(..) {
            let Received { tally, latencies } = &mut self.result;
            match self.traffic.read(frame.bytes(), self.run.signature) {
                Some(stamp) => {
                    if tally.count(stamp.sequence)
                        && let Some(latencies) = latencies
                    {
                        latencies.record(stamp.time, now);
                    }
                }
                None => tally.strangers += u64::from(!end.answer(frame.bytes())),
            }
        }
    }

    fn received(self) -> Received {
        self.result
    }
}

impl Seen {
    /// Puts together what the sender and the receiver have counted.
    pub(super) fn new(sent: Sent, received: Received) -> Self {
        let Received { tally, latencies } = received;
        Self {
            sent: sent.frames,
            received: tally.received,
            duplicates: tally.duplicates,
            reordered: tally.reordered,
            strangers: tally.strangers,
            offered: sent.offered,
            no_memory: sent.no_memory,
            missed: 0,
            latencies,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::net::IpAddr;
    use std::sync::mpsc;
    use std::thread;

    use guideway_engine::mbuf::Mbuf;

    use super::*;
    use crate::rfc2544::protocol::{Family, Protocol};
    use crate::rfc2544::target::Target;
    use crate::rfc2544::traffic::TrafficOptions;

    struct Heap;

    impl Memory for Heap {
        type Frame = Mbuf;

        fn frame(&self, bytes: &[u8]) -> Option<Mbuf> {
            let mut mbuf = Mbuf::new();
            mbuf.fill(bytes);
            Some(mbuf)
        }
    }

    /// Cable that loses, repeats and holds back frames, and has some of its own.
    #[derive(Default)]
    struct Faults {
        passing: VecDeque<Mbuf>,
        held: Option<Mbuf>,
        taken: u64,
        lost: u64,
        repeated: u64,
        overtaken: u64,
        strange: u64,
    }

    impl Faults {
        fn take(&mut self, frame: Mbuf) {
            self.taken += 1;
            match self.taken % 50 {
                10 => self.lost += 1,
                20 => {
                    self.repeated += 1;
                    self.passing.extend([frame.clone(), frame]);
                }
                30 => self.held = Some(frame),
                // Two flows take turns, so the second frame after one that was held is of its flow.
                32 => {
                    self.overtaken += u64::from(self.held.is_some());
                    self.passing.push_back(frame);
                    self.passing.extend(self.held.take());
                }
                40 => {
                    self.strange += 1;
                    let mut stranger = Mbuf::new();
                    stranger.fill(&[7; 60]);
                    self.passing.extend([stranger, frame]);
                }
                _ => self.passing.push_back(frame),
            }
        }
    }

    enum Side<'c> {
        In(&'c RefCell<Faults>),
        Out(&'c RefCell<Faults>),
    }

    impl QueuePair for Side<'_> {
        type Frame = Mbuf;

        fn rx_burst(&mut self, burst: &mut Burst<Mbuf>) {
            if let Self::Out(faults) = self {
                let mut faults = faults.borrow_mut();
                while !burst.is_full()
                    && let Some(frame) = faults.passing.pop_front()
                {
                    burst.push(frame);
                }
            }
        }

        fn tx_burst(&mut self, burst: &mut Burst<Mbuf>) {
            if let Self::In(faults) = self {
                burst.drain(..).for_each(|frame| faults.borrow_mut().take(frame));
            }
        }

        fn refused(&self) -> u64 {
            0
        }
    }

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

    fn traffic() -> Traffic {
        let targets = [Target { vip: IpAddr::from([203, 0, 113, 1]), port: 443 }];
        Traffic::new(&TrafficOptions {
            family: Family::Ipv4,
            protocol: Protocol::Udp,
            targets: &targets,
            round: &[64, 128],
            flows: 2,
            source: MAC,
            destination: MAC,
        })
    }

    fn run(settle: Duration) -> Run {
        Run {
            rate: 20_000,
            duration: Duration::from_millis(50),
            settle,
            backlog: 64,
            signature: 0x1234_5678,
            is_new: false,
            with_latencies: true,
            clock: Instant::now(),
        }
    }

    fn end<Q>(queues: Q) -> End<Q, Heap> {
        End { queues, memory: Heap, mac: MAC }
    }

    /// Cable between two threads.
    struct Channel(mpsc::Sender<Mbuf>, mpsc::Receiver<Mbuf>);

    impl QueuePair for Channel {
        type Frame = Mbuf;

        fn rx_burst(&mut self, burst: &mut Burst<Mbuf>) {
            while !burst.is_full()
                && let Ok(frame) = self.1.try_recv()
            {
                burst.push(frame);
            }
        }

        fn tx_burst(&mut self, burst: &mut Burst<Mbuf>) {
            burst.drain(..).for_each(|frame| drop(self.0.send(frame)));
        }

        fn refused(&self) -> u64 {
            0
        }
    }

    #[test]
    fn a_receiver_on_its_own_thread_gets_all_that_is_sent() {
        let (traffic, run, progress) = (traffic(), run(Duration::from_secs(30)), Progress::new());
        let ((to_far, from_near), (to_near, from_far)) = (mpsc::channel(), mpsc::channel());
        let (mut near, mut far) = (end(Channel(to_far, from_far)), end(Channel(to_near, from_near)));
        let seen = thread::scope(|scope| {
            let received = scope.spawn(|| receive(&mut far, &traffic, &run, &progress));
            let sent = send(&mut near, &traffic, &run);
            progress.finish(sent.frames());
            Seen::new(sent, received.join().expect("it ends"))
        });
        assert!(seen.sent > 0 && seen.received == seen.sent, "{seen:?}");
        assert_eq!((seen.duplicates, seen.reordered, seen.strangers), (0, 0, 0));
    }

    #[test]
    fn what_a_cable_does_to_frames_is_counted_exactly() {
        let (traffic, run) = (traffic(), run(Duration::from_millis(20)));
        let faults = RefCell::new(Faults::default());
        let (mut near, mut far) = (end(Side::In(&faults)), end(Side::Out(&faults)));
        let seen = alone(&mut near, Some(&mut far), &traffic, &run);
        let faults = faults.into_inner();
        assert!(seen.sent > 0 && seen.sent == faults.taken, "{seen:?}");
        assert_eq!(seen.sent - seen.received, faults.lost + u64::from(faults.held.is_some()));
        assert_eq!((seen.duplicates, seen.reordered), (faults.repeated, faults.overtaken));
        assert_eq!(seen.strangers, faults.strange);
        let latencies = seen.latencies.and_then(|latencies| latencies.summary()).expect("frames came back");
        assert!(latencies.min <= latencies.p50 && latencies.p50 <= latencies.max);
    }
}
