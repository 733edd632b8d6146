//! Replays a capture on its own clock: every frame is decided as the live appliance would have decided it then.
//!
//! The frames go through the same workers, snapshots and conntrack table as live traffic. One thread reads; it hands
//! each frame to the worker that its addresses pick (`lane_key`), a chunk at a time, and writes what comes back in the
//! order of the capture. All packets that may share an entry, and all fragments of a datagram, meet the same worker in
//! order, and the decisions do not depend on the number of workers, as long as the table and each worker's memory of
//! first fragments have room: who finds a full bucket is a race between workers, here as in life. A new second of the
//! capture's clock ends a chunk, so that no worker sees another's entries from a later time; an event ends one too:
//! all frames before it are decided, the snapshot is published, and the rest follow. So does an ICMP error that may be
//! about the appliance's own tunnel packets, for what it teaches changes the snapshot.

pub mod chronicle;
mod expected_shares;
mod lane;
mod lane_key;
mod sight;
mod summary;
mod tracer;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::{ConntrackTable, Standing, SweepCursor, TableTooLarge};
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;
use guideway_dataplane::verdict::Verdict;
use guideway_engine::capture::{CaptureError, CaptureReader, CaptureWriter};
use guideway_engine::publish::Publisher;
use guideway_model::config::{Config, MAX_IDLE_TIMEOUT_SEC};
use guideway_model::decision_line::DecisionLine;
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::forwarding_state::{ForwardingState, StateChange};
use guideway_model::path_mtu::PathMtus;

use crate::offline::timeline::{Moment, Timeline};

use chronicle::{Chronicle, Sighting};
use lane::{Job, Lane};
use lane_key::LaneKey;
pub use summary::Summary;
use tracer::Tracer;
pub use tracer::{TraceOrder, Traces};

/// Frames that are read before the workers get them.
const CHUNK: usize = 4096;

/// Keys of a replay's conntrack table: any, as nobody attacks a capture; always the same, so that with one
/// worker even what depends on a full bucket is repeatable.
const TRACKING_KEYS: [u64; 4] = [0x6775, 0x6964, 0x6577, 0x6179];

/// Destinations of a replay's results.
#[derive(Default)]
pub struct Outputs {
    /// Decisions, one line of JSON per frame.
    pub decisions: Option<Box<dyn Write>>,
    /// Frames that the appliance sends.
    pub frames: Option<CaptureWriter<Box<dyn Write>>>,
    /// True if the summary is to have a chronicle, for a report.
    pub chronicle: bool,
    /// Packets whose way is traced.
    pub trace: Option<TraceOrder>,
}

/// Reasons why a replay ended early.
#[derive(Debug)]
pub enum ReplayError {
    /// The capture cannot be read on; what was read has been replayed.
    Capture(CaptureError),
    /// A result cannot be written.
    Write(io::Error),
    /// The conntrack table does not fit the memory.
    Table(TableTooLarge),
}

impl From<io::Error> for ReplayError {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

/// Replays `capture` under `config` and the events of `timeline` on `workers` threads.
///
/// The summary is of all frames that were decided, also where an error ended the replay early.
pub fn replay<R: Read>(
    config: Config,
    timeline: Timeline,
    capture: CaptureReader<R>,
    workers: usize,
    outputs: Outputs,
) -> (Summary, Result<(), ReplayError>) {
    let mut summary = Summary::default();
    let result = match Replay::new(config, timeline, workers, outputs) {
        Ok(mut replay) => {
            let result = replay.run(capture, &mut summary);
            // What was decided before an error is written all the same; the first error is the one to tell.
            let result = result.and(replay.finish());
            summary.chronicle = replay.concluded_chronicle();
            summary.traces = replay.tracer.take().map(Tracer::into_traces);
            summary.conclude(&replay.state, &replay.lanes.iter().map(Lane::counters).collect::<Vec<_>>());
            result
        }
        Err(error) => Err(ReplayError::Table(error)),
    };
    (summary, result)
}

struct Replay {
    state: ForwardingState,
    publisher: Publisher<Snapshot>,
    chronicle: Option<Box<Chronicle>>,
    tracer: Option<Tracer>,
    table: Arc<ConntrackTable>,
    lanes: Vec<Lane>,
    lane_key: LaneKey,
    moments: std::iter::Peekable<std::vec::IntoIter<Moment>>,
    outputs: Outputs,
    /// Frames of the current chunk, in order, all of the second `now`.
    chunk: Vec<Job>,
    now: Tick,
    frames: u64,
}

impl Replay {
    fn new(
        config: Config,
        timeline: Timeline,
        workers: usize,
        mut outputs: Outputs,
    ) -> Result<Self, TableTooLarge> {
        let table = Arc::new(ConntrackTable::with_capacity(config.conntrack.max_entries as usize)?);
        let hasher = TrackingHasher::new(TRACKING_KEYS);
        let reloads =
            timeline.moments.iter().flat_map(|moment| &moment.changes).filter_map(|change| match change {
                StateChange::Config(config) => Some(&**config),
                _ => None,
            });
        let lane_key = LaneKey::new(reloads.chain([&config]));
        let mut state = ForwardingState::offline(config);
        let publisher = Publisher::new(state.snapshot(&StandInMacs));
        let chronicle = outputs.chronicle.then(|| {
            let mut chronicle = Box::new(Chronicle::new());
            chronicle.published(&state, publisher.feed().subscribe().repin());
            chronicle
        });
        let tracer = outputs.trace.take().map(Tracer::new);
        let lane = |_| Lane::start(publisher.feed(), Arc::clone(&table), hasher.clone());
        let lanes = (0..workers.max(1)).map(lane).collect();
        let moments = timeline.moments.into_iter().peekable();
        let (chunk, now, frames) = (Vec::with_capacity(CHUNK), Tick::default(), 0);
        Ok(Self {
            state,
            publisher,
            chronicle,
            tracer,
            table,
            lanes,
            lane_key,
            moments,
            outputs,
            chunk,
            now,
            frames,
        })
    }

    fn run<R: Read>(
        &mut self,
        mut capture: CaptureReader<R>,
        summary: &mut Summary,
    ) -> Result<(), ReplayError> {
        let mut start = None;
        let mut now = Duration::ZERO;
        summary.published(&self.state);
        loop {
            let record = match capture.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => break,
                Err(error) => {
                    self.decide_chunk(summary)?;
                    return Err(ReplayError::Capture(error));
                }
            };
            let first = *start.get_or_insert(record.timestamp_nanos);
            summary.start_unix_nanos = first;
            // A clock that was set back while it captured stands still here until it has caught up.
            now = now.max(Duration::from_nanos(record.timestamp_nanos.saturating_sub(first)));
            if let Some(chronicle) = &mut self.chronicle {
                chronicle.start_nanos.get_or_insert(first);
            }
            while let Some(moment) = self.moments.next_if(|moment| moment.at <= now) {
                self.decide_chunk(summary)?;
                self.apply(moment, summary);
            }
            let second = Tick::from_secs(now.as_secs());
            if second != self.now || self.chunk.len() == CHUNK {
                self.decide_chunk(summary)?;
                self.turn_clock(second);
                self.note_entries(now);
                self.state.expire_path_mtus(now);
                if self.state.is_stale() {
                    self.publish(summary);
                }
            }
            summary.read(&record, now);
            let mut job = Job::new(&record, now);
            let network = self.state.network_of(job.port, record.bytes);
            if self.chronicle.is_some() {
                job.sighting = Sighting::of(job.bytes(), network);
            }
            if let Some(tracer) = &self.tracer {
                job.may_fit = tracer.may_fit(job.bytes());
                if job.may_fit && tracer.has_room() {
                    job.be_seen();
                }
            }
            self.chunk.push(job);
            if let Some(network) = network.filter(|_| PathMtus::is_candidate(record.bytes)) {
                // Later frames of the capture are decided by the MTU that this one teaches, however many workers there are.
                let is_passed = self.decide_chunk(summary)?;
                if is_passed && self.state.take_in_tunnel_error(network, record.bytes, now).is_some() {
                    self.publish(summary);
                }
            }
        }
        self.decide_chunk(summary)?;
        self.note_entries(now);
        Ok(())
    }

    /// Notes in the chronicle how many entries are valid at `at`, if it is time for it.
    fn note_entries(&mut self, at: Duration) {
        if self.chronicle.as_ref().is_some_and(|chronicle| chronicle.entries.is_due(at)) {
            let valid = self.valid_entries(self.now);
            self.chronicle.iter_mut().for_each(|chronicle| chronicle.entries.add(at, valid));
        }
    }

    /// Number of the conntrack table's entries that are valid at `now` under the newest snapshot.
    fn valid_entries(&self, now: Tick) -> usize {
        let mut subscriber = self.publisher.feed().subscribe();
        let snapshot = subscriber.repin();
        self.table.entries().filter(|(_, entry)| snapshot.standing(entry, now) != Standing::Void).count()
    }

    /// Takes the chronicle out of the replay, which has ended.
    fn concluded_chronicle(&mut self) -> Option<Box<Chronicle>> {
        let mut chronicle = self.chronicle.take()?;
        chronicle.conclude(self.moments.len());
        Some(chronicle)
    }

    /// Moves the clock on to `second`.
    fn turn_clock(&mut self, second: Tick) {
        // Nothing outlives such a gap. Workers age the table as they poll, but in a gap nobody polls, and entries keep
        // their time in few bits, which a gap of days would wrap.
        if second.0 - self.now.0 > MAX_IDLE_TIMEOUT_SEC {
            self.table.sweep(&mut SweepCursor::default(), self.table.bucket_count(), |_| Standing::Void);
        }
        self.now = second;
    }

    /// Takes in the events of one instant. Names were looked up when the events were read; whoever is gone since has no state to change.
    fn apply(&mut self, moment: Moment, summary: &mut Summary) {
        // Entries that have timed out since the last frame are none that the event ends.
        let now = self.now.max(Tick::from_secs(moment.at.as_secs()));
        let before = self.chronicle.is_some().then(|| {
            let words: Vec<String> = {
                let changes = moment.changes.iter();
                changes.filter_map(|change| chronicle::words(change, self.state.config())).collect()
            };
            (words, self.valid_entries(now))
        });
        let has_reload = moment.changes.iter().any(|change| matches!(change, StateChange::Config(_)));
        let applied = self.state.apply(moment.changes, moment.at);
        self.publish(summary);
        if let Some((mut words, entries)) = before {
            words.extend(has_reload.then(|| chronicle::reload(&applied.config)));
            let left = self.valid_entries(now);
            self.chronicle.iter_mut().for_each(|chronicle| {
                chronicle.event(moment.at, std::mem::take(&mut words), entries, left);
            });
        }
    }

    fn publish(&mut self, summary: &mut Summary) {
        self.publisher.publish(self.state.snapshot(&StandInMacs));
        summary.published(&self.state);
        if let Some(chronicle) = &mut self.chronicle {
            chronicle.published(&self.state, self.publisher.feed().subscribe().repin());
        }
    }

    /// Gives the chunk to the workers, and writes their decisions in the order of the capture. True if its last frame was
    /// passed.
    fn decide_chunk(&mut self, summary: &mut Summary) -> Result<bool, ReplayError> {
        let mut is_passed = false;
        let order: Vec<usize> =
            self.chunk.iter().map(|job| job.lane(self.lane_key, self.lanes.len())).collect();
        let mut shares: Vec<Vec<Job>> = self.lanes.iter().map(|_| Vec::new()).collect();
        for (job, lane) in self.chunk.drain(..).zip(&order) {
            shares[*lane].push(job);
        }
        for (lane, share) in self.lanes.iter().zip(shares) {
            lane.submit(self.now, share);
        }
        let mut decided: Vec<_> = self.lanes.iter_mut().map(|lane| lane.collect().into_iter()).collect();
        for lane in order {
            let job = decided[lane].next().expect("a lane returns every job that it was given, in order");
            self.write(&job, summary)?;
            is_passed = matches!(job.decision.verdict, Verdict::Pass(_));
        }
        Ok(is_passed)
    }

    fn write(&mut self, job: &Job, summary: &mut Summary) -> Result<(), ReplayError> {
        self.frames += 1;
        let decision = &job.decision;
        summary.decided(decision, self.state.names(), job.wire_len);
        if let Some(chronicle) = &mut self.chronicle {
            let (names, sighting) = (self.state.names(), job.sighting.as_ref());
            chronicle.decided(self.frames, job.at, decision, sighting, names, job.wire_len);
        }
        if let Some(tracer) = self.tracer.as_mut().filter(|_| job.may_fit)
            && tracer.fits(decision, self.state.names())
            && tracer.has_room()
        {
            let mut subscriber = self.publisher.feed().subscribe();
            tracer.trace(self.frames, job, &self.state, subscriber.repin());
        }
        if let Some(out) = &mut self.outputs.decisions {
            let network = self.state.network_of(job.port, job.bytes());
            let network = network.and_then(|network| self.state.network_name(network));
            DecisionLine::new(self.frames, decision, self.state.names()).in_network(network).write(out)?;
        }
        if let Some(out) = &mut self.outputs.frames
            && (decision.verdict == Verdict::Forward || decision.answered)
        {
            let mut write = |bytes: &[u8], wire_len| out.write(job.timestamp_nanos, bytes, wire_len);
            match decision.fragment_mtu {
                Some(mtu) => job.sent_in_fragments(mtu, write)?,
                None => {
                    let (bytes, wire_len) = job.sent();
                    write(bytes, wire_len)?;
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ReplayError> {
        if let Some(mut out) = self.outputs.decisions.take() {
            out.flush()?;
        }
        if let Some(out) = self.outputs.frames.take() {
            out.finish()?.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use guideway_dataplane::verdict::{DropReason, PassReason};
    use guideway_model::sample::sample;

    use super::*;

    /// Writer that holds back what is written until it is flushed, as a buffer before a full disk does.
    struct Unflushed {
        buffer: Vec<u8>,
        flushed: Rc<RefCell<Vec<u8>>>,
    }

    impl Write for Unflushed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.buffer.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.flushed.borrow_mut().append(&mut self.buffer);
            Ok(())
        }
    }

    #[test]
    fn what_was_decided_before_a_capture_breaks_off_is_written() {
        let mut capture = CaptureWriter::new(Vec::new()).unwrap();
        for second in 0..2 {
            capture.write(second * 1_000_000_000, &[0; 60], 60).unwrap();
        }
        let mut capture = capture.finish().unwrap();
        capture.pop();
        let flushed = Rc::new(RefCell::new(Vec::new()));
        let unflushed = Unflushed { buffer: Vec::new(), flushed: Rc::clone(&flushed) };
        let outputs = Outputs { decisions: Some(Box::new(unflushed)), ..Outputs::default() };
        let group = "[[backend_group]]\nname = \"group\"\nendpoints = []";
        let config = sample("", "backends = [{ group = \"group\" }]", group);
        let capture = CaptureReader::new(&capture[..]).unwrap();
        let (summary, result) = replay(config, Timeline::default(), capture, 1, outputs);
        assert!(matches!(result, Err(ReplayError::Capture(_))));
        assert_eq!(summary.packets, 1);
        let line = "{\"frame\":1,\"verdict\":\"pass\",\"reason\":\"not_ip\"}\n";
        assert_eq!(String::from_utf8_lossy(&flushed.borrow()), line);
    }

    #[test]
    fn every_reason_is_documented() {
        let manual = include_str!("../../../docs/replay.md");
        let drops = DropReason::ALL.iter().map(|reason| reason.as_str());
        let passes = PassReason::ALL.iter().map(|reason| reason.as_str());
        for word in drops.chain(passes) {
            assert!(manual.contains(&format!("| `{word}` |")), "{word}");
        }
    }
}
