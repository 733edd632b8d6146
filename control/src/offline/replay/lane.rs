//! A replay's worker thread, and the frames that go to it and come back.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::counters::Counters;
use guideway_dataplane::delivery::fragments::fragments;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::pipeline::{BURST, Decision};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::capture::Record;
use guideway_engine::mbuf::Mbuf;
use guideway_engine::publish::Feed;

use super::chronicle::Sighting;
use super::lane_key::LaneKey;
use super::sight::Sight;

/// Frame of the capture, and its decision.
pub(super) struct Job {
    pub(super) timestamp_nanos: u64,
    /// Time since the first frame, on the replay's clock.
    pub(super) at: Duration,
    /// Connection of the frame, where there is a chronicle.
    pub(super) sighting: Option<Sighting>,
    /// Port that the frame came by: the capture's interface.
    pub(super) port: PortId,
    pub(super) wire_len: u32,
    pub(super) decision: Decision,
    /// True if the frame fits a tracer's choice of flows as far as its bytes tell.
    pub(super) may_fit: bool,
    sight: Option<Box<Sight>>,
    captured_len: usize,
    frame: Mbuf,
}

impl Job {
    pub(super) fn new(record: &Record<'_>, at: Duration) -> Self {
        let mut frame = Mbuf::new();
        // Zeros stand for what the capture cut off: decisions need headers alone, an ICMP error's quote among them.
        frame.fill_padded(record.bytes, record.wire_len as usize);
        Self {
            timestamp_nanos: record.timestamp_nanos,
            at,
            sighting: None,
            port: PortId(record.interface.min(u8::MAX.into()) as u8),
            wire_len: record.wire_len,
            decision: Decision::PENDING,
            may_fit: false,
            sight: None,
            captured_len: record.bytes.len(),
            frame,
        }
    }

    /// Index of the worker, of `count`, that decides this frame.
    pub(super) fn lane(&self, key: LaneKey, count: usize) -> usize {
        key.lane(self.frame.bytes(), count)
    }

    /// Bytes of the frame, as it came or as it was delivered: with the VLAN tag of its network either way.
    pub(super) fn bytes(&self) -> &[u8] {
        self.frame.bytes()
    }

    /// Lets the worker that decides the frame look at it.
    pub(super) fn be_seen(&mut self) {
        self.sight = Some(Box::new(Sight::of(self.frame.bytes())));
    }

    /// Sight of the frame, where its worker was to look at it.
    pub(super) fn sight(&self) -> Option<&Sight> {
        self.sight.as_deref()
    }

    /// Frame that the appliance sends, as far as it is known, and its length on the wire.
    ///
    /// Known is what the appliance put before the frame, and of the frame what the capture held.
    pub(super) fn sent(&self) -> (&[u8], u32) {
        let bytes = self.frame.bytes();
        (&bytes[..self.known_len()], bytes.len() as u32)
    }

    /// Frames that the appliance sends in place of one that is too long: the bytes that are known, and the length on the
    /// wire. One fragment is one call of `take`.
    pub(super) fn sent_in_fragments<E>(
        &self,
        mtu: NonZeroU16,
        mut take: impl FnMut(&[u8], u32) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut known = self.known_len();
        let mut bytes = Vec::new();
        for fragment in fragments(self.frame.bytes(), usize::from(mtu.get())) {
            let headers = fragment.headers();
            if bytes.is_empty() {
                known = known.saturating_sub(headers.len());
            }
            bytes.clear();
            bytes.extend_from_slice(headers);
            bytes.extend_from_slice(&fragment.piece[..known.min(fragment.piece.len())]);
            known = known.saturating_sub(fragment.piece.len());
            take(&bytes, (headers.len() + fragment.piece.len()) as u32)?;
        }
        Ok(())
    }

    /// Number of the frame's bytes that are known.
    fn known_len(&self) -> usize {
        (self.frame.prepended() + self.captured_len).min(self.frame.bytes().len())
    }
}

/// Worker thread that decides the frames that it is given, in order.
pub(super) struct Lane {
    jobs: Option<SyncSender<(Tick, Vec<Job>)>>,
    decided: Receiver<(Vec<Job>, Counters)>,
    thread: Option<JoinHandle<()>>,
    counters: Counters,
}

impl Lane {
    pub(super) fn start(feed: Feed<Snapshot>, table: Arc<ConntrackTable>, hasher: TrackingHasher) -> Self {
        let (jobs, incoming) = mpsc::sync_channel::<(Tick, Vec<Job>)>(1);
        let (outgoing, decided) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            // Ages the whole table: another lane may have no frames for days of the capture's time.
            let mut worker = BurstProcessor::new(feed.subscribe(), table, hasher, 0);
            for (now, mut share) in incoming {
                decide(&mut worker, now, &mut share);
                if outgoing.send((share, worker.counters().clone())).is_err() {
                    break;
                }
            }
        });
        Self { jobs: Some(jobs), decided, thread: Some(thread), counters: Counters::default() }
    }

    /// Gives the worker frames of the second `now`; [`Lane::collect`] must follow.
    pub(super) fn submit(&self, now: Tick, share: Vec<Job>) {
        let sent = self.jobs.as_ref().map(|jobs| jobs.send((now, share)));
        assert!(matches!(sent, Some(Ok(()))), "a replay's worker ends only when it is dropped");
    }

    /// Waits for the frames that were submitted last.
    pub(super) fn collect(&mut self) -> Vec<Job> {
        let (share, counters) = self.decided.recv().expect("a replay's worker ends only when it is dropped");
        self.counters = counters;
        share
    }

    /// Counters of the worker.
    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the worker has been reported where its result was missed.
            let _ = thread.join();
        }
    }
}

/// Decides `share` in bursts; frames that are looked at are bursts of their own.
fn decide(worker: &mut BurstProcessor, now: Tick, share: &mut [Job]) {
    let mut frames = Vec::with_capacity(BURST);
    let mut decisions = [Decision::PENDING; BURST];
    let are_alike =
        |one: &Job, next: &Job| one.port == next.port && one.sight.is_none() && next.sight.is_none();
    let of_a_port = share.chunk_by_mut(are_alike);
    for burst in of_a_port.flat_map(|jobs| jobs.chunks_mut(BURST)) {
        if let Job { sight: Some(sight), port, frame, .. } = &mut burst[0] {
            sight.look(worker, *port, frame, now);
        }
        frames.extend(burst.iter_mut().map(|job| std::mem::take(&mut job.frame)));
        worker.poll(burst[0].port, &mut frames, &mut decisions[..burst.len()], now);
        for ((job, frame), decision) in burst.iter_mut().zip(frames.drain(..)).zip(decisions) {
            (job.frame, job.decision) = (frame, decision);
        }
        if let Some(sight) = &mut burst[0].sight {
            sight.look_again(worker);
        }
    }
}
