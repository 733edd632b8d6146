//! The workers as the control thread has them: frames that they pass on, frames that they are to send, and their health.
//!
//! The control thread has no queues of its own: a worker that goes on sends what it has to send.

use std::time::Duration;

use guideway_dataplane::address::Address;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_engine::counters::{Adoption, WorkerCounters};

use super::event_log::Note;
use super::load_watch::{self, LoadWatch};
use super::losses::Way;
use super::watchdog::{self, Watchdog};
use crate::api::view::{self, EventKind};
use crate::run::ports::Ports;
use crate::run::worker::{WorkerEnd, WorkerFailure};

/// Frames of one worker that are taken in at once.
const FRAMES_A_TURN: usize = 256;

/// The workers, by their numbers, and the ports that they poll.
pub(super) struct Workers<P: Ports> {
    ports: P,
    ends: Vec<WorkerEnd<P::Frame>>,
    watchdog: Watchdog,
    load_watch: LoadWatch,
    /// Frames of the control thread that no worker or no buffer could take.
    unsent: u64,
}

impl<P: Ports> Workers<P> {
    pub(super) fn new(ports: P, ends: Vec<WorkerEnd<P::Frame>>) -> Self {
        let watchdog = Watchdog::new(ends.len());
        Self { ports, ends, watchdog, load_watch: LoadWatch::new(), unsent: 0 }
    }

    /// Calls `handle` with the frames that the workers have passed on: a bounded number of each worker.
    pub(super) fn receive(&mut self, mut handle: impl FnMut(PortId, &[u8])) {
        for worker in &mut self.ends {
            for _ in 0..FRAMES_A_TURN {
                let Some(passed) = worker.mailbox.receive() else { break };
                handle(passed.port, passed.frame.bytes());
            }
        }
    }

    /// Frames of ARP and neighbour discovery that the workers could not pass on, because too many waited.
    pub(super) fn refused_of_neighbours(&self) -> u64 {
        self.ends.iter().map(|worker| worker.mailbox.refused_of_neighbours()).sum()
    }

    /// Ways on which frames may be lost: each port's device, inwards; each worker's rings of devices, and the way from here to
    /// the workers, outwards.
    pub(super) fn ways(&self) -> Vec<Way> {
        let port = |port: view::PortStats| Way { through: port.received, lost: port.missed + port.no_mbuf };
        let worker = |worker: &WorkerEnd<P::Frame>| {
            let io = worker.counters.read().io;
            Way { through: io.sent, lost: io.tx_full }
        };
        let ports = self.ports.stats().into_iter().map(port);
        let own = Way { through: 0, lost: self.unsent };
        ports.chain(self.ends.iter().map(worker)).chain([own]).collect()
    }

    /// Tells the workers the appliance's own addresses, whose packets wait in a room of their own.
    pub(super) fn set_own_addresses(&self, addresses: Vec<Address>) {
        self.ends.iter().for_each(|worker| worker.mailbox.set_own_addresses(addresses.iter().copied()));
    }

    /// A frame of these bytes, to be changed and then sent; none, which is counted, where there is no memory for it.
    pub(super) fn frame(&mut self, bytes: &[u8]) -> Option<P::Frame> {
        let frame = self.ports.frame(bytes);
        self.unsent += u64::from(frame.is_none());
        frame
    }

    /// Has the first worker that goes on send a frame; one that it has no room for is counted.
    pub(super) fn send(&mut self, port: PortId, frame: P::Frame) {
        let first = (0..self.ends.len()).find(|worker| !self.watchdog.is_stalled(*worker)).unwrap_or(0);
        let worker = self.ends.get_mut(first);
        let is_sent = worker.is_some_and(|worker| worker.mailbox.send(port, frame));
        self.unsent += u64::from(!is_sent);
    }

    /// Looks at how far the workers' polls have come, and at their shares of the packets; returns an event for each worker that
    /// has stalled or resumed, and of shares that have become uneven or even.
    pub(super) fn watch(&mut self, now: Duration) -> Vec<Note> {
        let counters = self.ends.iter().map(|worker| &worker.counters);
        let polls = counters.map(|counters| (counters.heartbeat(), counters.read().io.busy_polls));
        let note = |watchdog::News { worker, is_stalled }| {
            let core = self.ends[worker].core;
            if is_stalled {
                let text = format!(
                    "worker {worker} has not polled for {:?}: see what else runs on its core, {core}",
                    watchdog::PATIENCE
                );
                Note::new(EventKind::WorkerStalled, text)
            } else {
                Note::new(EventKind::WorkerResumed, format!("worker {worker} polls again, on core {core}"))
            }
        };
        let mut notes: Vec<Note> = self.watchdog.look(polls, now).into_iter().map(note).collect();
        // The others have its share, while a worker stands still.
        if !self.has_stalled() {
            let packets = self.ends.iter().map(|worker| worker.counters.read().pipeline.offered).collect();
            notes.extend(self.load_watch.look(packets, now).map(|news| self.note_of_load(news)));
        }
        notes
    }

    /// The event of shares that have become uneven or even.
    fn note_of_load(&self, news: load_watch::News) -> Note {
        let load_watch::News::Uneven { worker, share, rate } = news else {
            return Note::new(
                EventKind::LoadEven,
                "no worker gets much more than its share of the packets any more",
            );
        };
        let even = 100.0 / self.ends.len() as f64;
        let queues = self.ports.queues_of(worker as u16);
        let queues: Vec<String> = queues
            .iter()
            .filter_map(|queues| Some(format!("queue {} of port {}", queues.rx_queue?, queues.port)))
            .collect();
        let polls =
            if queues.is_empty() { String::new() } else { format!(", from {}", queues.join(" and ")) };
        let text = format!(
            "worker {worker} gets {:.0} % of the packets, {rate:.0} a second{polls}, and an even share is {even:.0} %: a \
             flow or a tunnel stays on one queue; have the senders use several tunnels, or tunnels over UDP whose source \
             ports differ",
            share * 100.0
        );
        Note::new(EventKind::LoadUneven, text)
    }

    /// Gives nothing more to a worker that has failed, and logs the failure.
    pub(super) fn give_up(&mut self, failure: &WorkerFailure) {
        tracing::error!("{failure}");
        self.watchdog.mark_ended(failure.worker);
    }

    /// True if a worker has stalled or ended.
    pub(super) fn has_stalled(&self) -> bool {
        (0..self.ends.len()).any(|worker| self.watchdog.is_stalled(worker))
    }

    /// The newest snapshot of each worker, and the time of its first poll by that.
    pub(super) fn adoptions(&self) -> impl ExactSizeIterator<Item = Adoption> {
        self.ends.iter().map(|worker| worker.counters.adoption())
    }

    /// Counters of each worker.
    pub(super) fn counters(&self) -> Vec<WorkerCounters> {
        self.ends.iter().map(|worker| worker.counters.read()).collect()
    }

    /// Polls of each worker since its start.
    pub(super) fn heartbeats(&self) -> impl Iterator<Item = u64> {
        self.ends.iter().map(|worker| worker.counters.heartbeat())
    }

    /// Packets that the workers have forwarded.
    pub(super) fn forwarded(&self) -> u64 {
        self.ends.iter().map(|worker| worker.counters.read().pipeline.forwarded).sum()
    }

    /// Frames of the control thread that no worker or no buffer could take.
    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }

    /// The ports.
    pub(super) fn ports(&self) -> &P {
        &self.ports
    }

    /// State of each worker, for operators.
    pub(super) fn states(&self) -> Vec<view::Worker> {
        let state = |(number, worker): (usize, &WorkerEnd<P::Frame>)| view::Worker {
            number: number as u16,
            core: worker.core as u32,
            node: self.ports.node_of(number as u16),
            state: if self.watchdog.is_stalled(number) {
                view::WorkerState::Stalled
            } else {
                view::WorkerState::Running
            },
            polls: worker.counters.heartbeat(),
            busy_share: self.watchdog.busy_share(number),
            packet_share: self.load_watch.share(number),
            queues: self.ports.queues_of(number as u16),
        };
        self.ends.iter().enumerate().map(state).collect()
    }
}

#[cfg(test)]
mod tests {
    use guideway_engine::counters::counters;
    use guideway_engine::host_path::{HostQueue, host_path};
    use guideway_engine::mbuf::Mbuf;

    use super::*;
    use crate::run::ports::MemoryPorts;

    const PORT: PortId = PortId(3);

    /// Two workers that never poll, whose mailboxes hold `frames` frames.
    fn workers(frames: usize) -> (Workers<MemoryPorts>, [HostQueue<Mbuf>; 2]) {
        let mut ends = Vec::new();
        let queues = [0, 1].map(|core| {
            let (queue, mailbox) = host_path(frames);
            ends.push(WorkerEnd { core, counters: counters().1, mailbox });
            queue
        });
        (Workers::new(MemoryPorts, ends), queues)
    }

    fn send(workers: &mut Workers<MemoryPorts>) {
        let frame = workers.frame(b"frame").expect("memory is there");
        workers.send(PORT, frame);
    }

    #[test]
    fn the_first_worker_that_goes_on_sends() {
        let (mut workers, mut queues) = workers(4);
        send(&mut workers);
        workers.give_up(&WorkerFailure { worker: 0, core: 0, message: "a bug".to_owned() });
        assert!(workers.has_stalled());
        send(&mut workers);
        send(&mut workers);
        let sent = queues.each_mut().map(|queue| std::iter::from_fn(|| queue.take()).count());
        assert_eq!((sent, workers.unsent()), ([1, 2], 0));
    }

    #[test]
    fn a_frame_that_no_worker_has_room_for_is_counted() {
        let (mut workers, mut queues) = workers(1);
        send(&mut workers);
        send(&mut workers);
        assert_eq!(workers.unsent(), 1);
        assert_eq!(queues[0].take().map(|sent| sent.port), Some(PORT));
    }

    #[test]
    fn a_flood_of_one_worker_leaves_the_turn_to_the_others() {
        let (mut workers, mut queues) = workers(2 * FRAMES_A_TURN);
        // Frames of many senders and of two sorts: few of one of either may wait.
        let mut waiting = 0;
        for ethertype in [[8, 6], [8, 0]] {
            for sender in 0..=255 {
                let mut frame = Mbuf::new();
                frame.fill(&[&[2; 11][..], &[sender], &ethertype].concat());
                waiting += usize::from(queues[0].pass(PORT, frame));
            }
        }
        assert!(waiting > FRAMES_A_TURN, "{waiting}");
        assert!(queues[1].pass(PortId(1), Mbuf::new()));
        let mut from = Vec::new();
        workers.receive(|port, _| from.push(port));
        assert_eq!(from.len(), FRAMES_A_TURN + 1);
        assert_eq!(from.last(), Some(&PortId(1)));
    }

    #[test]
    fn a_worker_with_most_of_the_packets_is_told_of_unless_another_stands_still() {
        let notes = |beats_of_the_other: fn(u64) -> u64| {
            let (mut ends, mut writers) = (Vec::new(), Vec::new());
            for core in 0..2 {
                let (writer, reader) = counters();
                writers.push(writer);
                ends.push(WorkerEnd { core, counters: reader, mailbox: host_path::<Mbuf>(1).1 });
            }
            let mut workers = Workers::new(MemoryPorts, ends);
            let mut notes = Vec::new();
            for second in 1..20 {
                for (writer, packets) in writers.iter_mut().zip([90_000, 10_000]) {
                    let mut counted = WorkerCounters::default();
                    counted.pipeline.offered = packets * second;
                    writer.publish(&counted);
                }
                writers[0].beat(second);
                writers[1].beat(beats_of_the_other(second));
                notes.extend(workers.watch(Duration::from_secs(second)));
            }
            notes.iter().map(|note| format!("{note:?}")).collect::<Vec<_>>()
        };
        let told = notes(|second| second);
        let [told] = &told[..] else { panic!("{told:?}") };
        assert!(told.contains("LoadUneven"), "{told}");
        assert!(
            told.contains("worker 0 gets 90 % of the packets, 90000 a second, and an even share is 50 %: "),
            "{told}"
        );
        let stalled = notes(|_| 1);
        assert!(stalled.iter().all(|note| !note.contains("LoadUneven")), "{stalled:?}");
    }
}
