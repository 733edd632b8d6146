//! The control thread of the live appliance: what comes from workers, operators and the clock goes in, and the appliance's
//! state, which it alone has, goes on.
//!
//! ```text
//!  workers ── passed frames, failures ──▶ ┌────────────┐ ──▶ snapshots, the appliance's own frames ── workers
//!  admin socket, metrics ── requests ───▶ │ Supervisor │ ──▶ replies
//!  signals, clock ──────────────────────▶ └────────────┘ ──▶ log
//! ```
//!
//! One thread, which waits for nobody but the clock: every part of a turn is bounded.

mod announcements;
mod capture;
mod conntrack;
mod event_log;
mod health;
mod publish_latency;
mod requests;
mod views;
mod watchdog;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::frame::Frame;
use guideway_dataplane::snapshot::{OwnAddresses, Snapshot};
use guideway_engine::clock::Clock;
use guideway_engine::counters::CountersReader;
use guideway_engine::host_path::WorkerMailbox;
use guideway_engine::publish::Subscriber;
use guideway_engine::tap::{TapReader, TapSwitch};
use guideway_model::config::Config;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::api::request::{Refused, Request};
use crate::api::view;
use crate::api::view::EventKind;
use crate::config_file;
use crate::health::monitor::Monitor;
use crate::health::scheduler::ProbeReport;
use crate::log::Log;
use crate::net::host_stack::FrameKind;
use crate::net::probe_tcp;
use crate::run::appliance::Appliance;

use announcements::Announcements;
use capture::Capture;
use event_log::{EventLog, Note};
use publish_latency::PublishLatency;
use watchdog::Watchdog;

/// How long the control thread rests between turns: what an ARP request waits for at most, and a packet that finds its
/// backend changed.
const TURN: Duration = Duration::from_millis(1);

/// Frames of one worker that a turn takes in.
const FRAMES_A_TURN: usize = 256;

/// Outcomes of probes that are taken in at once, at most: as many as may wait.
const REPORTS_AT_ONCE: usize = 1_024;

/// How many turns pass between two looks at what changes slowly: workers' heartbeats, what has drained, what is free.
const TURNS_A_ROUND: u32 = 100;

/// The ports as the control thread has them.
pub trait Ports {
    /// What a frame is held in.
    type Frame: Frame;

    /// A frame of these bytes, or none where there is no memory for it.
    fn frame(&self, bytes: &[u8]) -> Option<Self::Frame>;

    /// What each port is, and how it is.
    fn states(&self) -> Vec<view::Port>;

    /// What each port's device has counted.
    fn stats(&self) -> Vec<view::PortStats>;
}

/// What the control thread has of a worker.
#[derive(Debug)]
pub struct WorkerEnd<F> {
    /// The core that it is pinned to.
    pub core: usize,
    /// What it has counted.
    pub counters: CountersReader,
    /// Its passed frames, and those that it is to send.
    pub host: WorkerMailbox<F>,
    /// What it records for captures.
    pub tap: TapReader,
}

/// A worker has ended though nobody told it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerFailure {
    /// Its number.
    pub worker: usize,
    /// The core that it was pinned to.
    pub core: usize,
    /// Why.
    pub message: String,
}

impl std::fmt::Display for WorkerFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "worker {} on core {} has failed ({}): the appliance stops, as it must not forward on some of its \
             queues alone",
            self.worker, self.core, self.message
        )
    }
}

impl std::error::Error for WorkerFailure {}

/// Where the supervisor hears of what happens.
#[derive(Debug)]
pub struct Inbox {
    /// What operators and Prometheus ask.
    pub requests: mpsc::Receiver<Request>,
    /// Workers that have failed.
    pub failures: mpsc::UnboundedReceiver<WorkerFailure>,
    /// How probes ended.
    pub reports: mpsc::Receiver<ProbeReport>,
}

/// What the supervisor and the workers share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The connections.
    pub table: Arc<ConntrackTable>,
    /// How connections are named.
    pub hasher: TrackingHasher,
    /// The time.
    pub clock: Clock,
}

/// The control thread's loop and all that it owns.
#[derive(Debug)]
pub struct Supervisor<P: Ports> {
    appliance: Appliance,
    ports: P,
    workers: Vec<WorkerEnd<P::Frame>>,
    shared: Shared,
    config_path: PathBuf,
    started_at: SystemTime,
    config_loaded_at: SystemTime,
    watchdog: Watchdog,
    turns: u32,
    tap_switch: TapSwitch,
    capture: Option<Capture>,
    monitor: Option<Monitor>,
    /// The addresses that probes come from.
    probing_from: OwnAddresses,
    event_log: EventLog,
    publish_latency: PublishLatency,
    announcements: Announcements,
    /// The control thread's own view of the snapshots, by which probes are delivered.
    snapshots: Subscriber<Snapshot>,
    /// Frames of its own that no worker or no mbuf could take.
    unsent: u64,
    conntrack_reader: conntrack::Reader,
    /// Where it logs to, to tell how much of that was lost.
    log: Option<Log>,
}

/// Waits until a probe in the path of traffic has something to send; for ever where there are none.
async fn wanted(stack: Option<probe_tcp::Handle>) {
    match stack {
        Some(stack) => stack.wanted().await,
        None => std::future::pending().await,
    }
}

/// Why the loop goes on or ends.
enum Next {
    Turn,
    Stop,
}

impl<P: Ports> Supervisor<P> {
    /// A supervisor of a configured appliance, whose configuration is read again from `config_path`; `tap_switch` is that
    /// of the workers' taps.
    pub fn new(
        appliance: Appliance,
        ports: P,
        workers: Vec<WorkerEnd<P::Frame>>,
        tap_switch: TapSwitch,
        shared: Shared,
        config_path: PathBuf,
    ) -> Self {
        let now = SystemTime::now();
        let snapshots = appliance.feed().subscribe();
        let watchdog = Watchdog::new(workers.len());
        let publish_latency = PublishLatency::new(appliance.snapshot_generation());
        Self {
            appliance,
            ports,
            workers,
            shared,
            config_path,
            started_at: now,
            config_loaded_at: now,
            watchdog,
            turns: 0,
            tap_switch,
            capture: None,
            monitor: None,
            probing_from: OwnAddresses::default(),
            event_log: EventLog::default(),
            publish_latency,
            announcements: Announcements::default(),
            snapshots,
            unsent: 0,
            conntrack_reader: conntrack::Reader::default(),
            log: None,
        }
    }

    /// Has it tell what was lost of this log.
    pub fn log_by(&mut self, log: Log) {
        self.log = Some(log);
    }

    /// Runs until it is told to stop, by a signal or a request, or until a worker fails; then withdraws what it has had
    /// announced.
    ///
    /// # Errors
    /// [`WorkerFailure`] of the first worker that failed.
    pub async fn run(&mut self, inbox: Inbox) -> Result<(), WorkerFailure> {
        let Inbox { mut requests, mut failures, mut reports } = inbox;
        let listen = |kind| signal(kind).expect("the runtime has signals, and these can be caught");
        let (mut terminate, mut interrupt, mut hang_up) =
            (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::hangup()));
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failure = loop {
            // A reload may bring another one.
            let stack = self.monitor.as_ref().map(|monitor| monitor.stack().clone());
            // Not in random order: a failure comes before all else, and a flood of requests must not keep out the turn.
            let next = tokio::select! {
                biased;
                Some(failure) = failures.recv() => break Some(failure),
                _ = terminate.recv() => Next::Stop,
                _ = interrupt.recv() => Next::Stop,
                _ = turns.tick() => self.turn(),
                _ = hang_up.recv() => self.hang_up(),
                () = wanted(stack) => self.exchange_probes(),
                Some(report) = reports.recv() => self.take_in(report, &mut reports),
                Some(request) = requests.recv() => self.answer(request),
            };
            if matches!(next, Next::Stop) {
                break None;
            }
        };
        match &failure {
            None => self.note(Note::new(EventKind::Stopping, "the appliance stops")),
            Some(failure) => self.bury(failure),
        }
        let _ = sd_notify::notify(false, &[sd_notify::NotifyState::Stopping]);
        // Routers learn of it first. For so long, workers that are left go on, and so does what keeps packets
        // away from backends that fail.
        let mut withdrawn = std::pin::pin!(self.withdraw_all());
        loop {
            tokio::select! {
                biased;
                () = &mut withdrawn => break,
                Some(another) = failures.recv() => {
                    self.bury(&another);
                    failure.get_or_insert(another);
                }
                _ = turns.tick() => drop(self.turn()),
                Some(report) = reports.recv() => drop(self.take_in(report, &mut reports)),
            }
        }
        self.note_withdrawals().await;
        self.end_capture();
        failure.map_or(Ok(()), Err)
    }

    /// Gives nothing more to a worker that has failed, and says so before the appliance ends for it.
    fn bury(&mut self, failure: &WorkerFailure) {
        tracing::error!("{failure}");
        self.watchdog.bury(failure.worker);
    }

    /// The ports, once the loop has ended.
    pub fn into_ports(self) -> P {
        self.ports
    }

    /// The worker that sends what the control thread has to send: the first that goes on.
    fn sender(&self) -> usize {
        (0..self.workers.len()).find(|worker| !self.watchdog.is_stalled(*worker)).unwrap_or(0)
    }

    fn now(&self) -> Duration {
        self.shared.clock.elapsed()
    }

    /// Takes in what the workers passed on, does what is due, and sends what the appliance has to say.
    fn turn(&mut self) -> Next {
        let now = self.now();
        let mut conflicts = Vec::new();
        for worker in &mut self.workers {
            for _ in 0..FRAMES_A_TURN {
                let Some(passed) = worker.host.receive() else { break };
                let kind = self.appliance.handle(passed.port, passed.frame.bytes(), now);
                if let (FrameKind::OtherOwn, Some(monitor)) = (kind, &self.monitor) {
                    health::receive(monitor, passed.frame.bytes());
                }
                if kind == FrameKind::AddressConflict {
                    conflicts.extend(self.appliance.new_conflict());
                }
            }
        }
        for conflict in conflicts {
            let text = format!("another host claims {}: {}", conflict.address, conflict.mac);
            self.note(Note::new(EventKind::AddressConflict, text));
        }
        self.appliance.poll(now);
        let adoptions = self.workers.iter().map(|worker| worker.counters.adoption());
        self.publish_latency.look(self.appliance.snapshot_generation(), adoptions);
        self.send();
        self.exchange_probes();
        self.drain_taps();
        self.plan_announcements();
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(TURNS_A_ROUND) { self.round(now) } else { Next::Turn }
    }

    /// Looks at what changes slowly.
    fn round(&mut self, now: Duration) -> Next {
        self.appliance.tidy(now);
        self.end_first_rounds();
        let counters = self.workers.iter().map(|worker| &worker.counters);
        let polls = counters.map(|counters| (counters.heartbeat(), counters.read().link.busy_polls));
        for watchdog::News { worker, is_stalled } in self.watchdog.look(polls, now) {
            let core = self.workers[worker].core;
            self.note(if is_stalled {
                let text = format!(
                    "worker {worker} has not polled for {:?}: see what else runs on its core, {core}",
                    watchdog::PATIENCE
                );
                Note::new(EventKind::WorkerStalled, text)
            } else {
                Note::new(EventKind::WorkerResumed, format!("worker {worker} polls again, on core {core}"))
            });
        }
        self.follow_announcements(now)
    }

    /// Has a worker that goes on send the appliance's own frames.
    fn send(&mut self) {
        let alive = self.sender();
        while let Some(outgoing) = self.appliance.transmit() {
            let frame = self.ports.frame(&outgoing.bytes);
            let worker = self.workers.get_mut(alive);
            let sent =
                worker.zip(frame).is_some_and(|(worker, frame)| worker.host.send(outgoing.port, frame));
            self.unsent += u64::from(!sent);
        }
    }

    fn hang_up(&mut self) -> Next {
        if let Err(Refused::Config(errors)) = self.reload() {
            tracing::error!("what is wrong with the configuration:\n{}", errors.render(false));
        }
        Next::Turn
    }

    /// Reads the configuration again and takes it over, whole or not at all.
    fn reload(&mut self) -> Result<view::Reload, Refused> {
        let reload = self.take_over_file();
        self.note(match &reload {
            Ok(reload) => {
                let (number, changes) = (reload.configuration_generation, reload.changes.len());
                Note::new(
                    EventKind::Reloaded,
                    format!("configuration {number} is in force, {changes} changes"),
                )
            }
            Err(refused) => {
                let why = match refused {
                    Refused::Config(errors) => {
                        format!("it is wrong in {} places, as `guideway check` shows", errors.errors().len())
                    }
                    Refused::ConfigUnreadable { path, error } => {
                        format!("cannot read {}: {error}", path.display())
                    }
                    other => format!("{other:?}"),
                };
                Note::new(
                    EventKind::ReloadRefused,
                    format!("configuration not reloaded, nothing has changed: {why}"),
                )
            }
        });
        reload
    }

    fn take_over_file(&mut self) -> Result<view::Reload, Refused> {
        let path = &self.config_path;
        let text = config_file::read(path)
            .map_err(|error| Refused::ConfigUnreadable { path: path.clone(), error })?;
        let config = Config::parse(&path.to_string_lossy(), &text).map_err(Refused::Config)?;
        // The names before those that come now are known, and no others: what goes by older ones is read now.
        self.drain_taps();
        let changes = self.appliance.reload(config, self.now());
        self.config_loaded_at = SystemTime::now();
        self.configure_checks();
        for change in &changes {
            tracing::info!("reload: {change}");
        }
        Ok(view::Reload {
            configuration_generation: self.appliance.configuration_generation(),
            changes: changes.iter().map(view::Change::from).collect(),
        })
    }
}
