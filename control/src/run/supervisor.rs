//! The control thread of the live appliance: it alone has the appliance's state, and moves it on by what workers, operators
//! and the clock say.
//!
//! ```text
//!  workers ── passed frames, failures ──▶ ┌────────────┐ ──▶ snapshots, the appliance's own frames ── workers
//!  admin socket, metrics ── requests ───▶ │ Supervisor │ ──▶ replies
//!  signals, clock ──────────────────────▶ └────────────┘ ──▶ log
//! ```
//!
//! One thread, which waits for nobody but the clock: every part of a turn is bounded. Each part owns its state, takes in
//! what concerns it together with the time, and returns events and changes; the supervisor alone brings them together.

mod announcements;
mod capture;
mod config_reader;
mod config_source;
mod conntrack_reader;
mod devices;
mod endpoints_files;
mod event_log;
mod flow_watch;
mod hand_probes;
mod load_watch;
mod loop_watch;
mod losses;
mod neighbour_watch;
mod operator;
mod packet_tracer;
mod plan_reader;
mod port_watch;
mod probes;
mod publish_latency;
mod reload;
mod requests;
mod stalls;
mod state_keeper;
mod taps;
mod tunnels;
mod views;
mod watchdog;
mod what_if;
mod workers;

use std::time::{Duration, SystemTime};

use guideway_engine::clock::Clock;
use guideway_model::flow_text::FlowText;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::api::request::Request;
use crate::api::view;
use crate::api::view::EventKind;
use crate::health::change::HealthChange;
use crate::health::descriptors;
use crate::health::scheduler::ProbeReport;
use crate::log::Log;
use crate::net::host_stack::FrameKind;
use crate::net::probe_tcp;
use crate::run::appliance::Appliance;
use crate::run::kept_state::KeptState;
use crate::run::last_resort::LastResort;
use crate::run::machine::Machine;
use crate::run::operator_state::OperatorState;
use crate::run::ports::Ports;
use crate::run::process::Process;
use crate::run::service_manager::{self, Heartbeat};
use crate::run::warnings::warnings;
use crate::run::worker::{Shared, WorkerEnd, WorkerFailure};

use announcements::{Announcements, Obstacles};
use config_reader::ConfigReader;
use config_source::ConfigSource;
use conntrack_reader::ConntrackReader;
use endpoints_files::EndpointsFiles;
use event_log::{EventLog, Note};
use hand_probes::HandProbes;
use loop_watch::LoopWatch;
use losses::Losses;
use neighbour_watch::NeighbourWatch;
use plan_reader::PlanReader;
use port_watch::PortWatch;
use probes::{HealthUpdate, Probes};
use publish_latency::PublishLatency;
use stalls::Stalls;
use state_keeper::StateKeeper;
use taps::Listening;
use what_if::WhatIf;
use workers::Workers;

pub(super) use taps::Taps;

/// The rest between two turns: the longest that an ARP request waits, or a packet that finds its backend changed.
const TURN: Duration = Duration::from_millis(1);

/// Outcomes of probes that may wait for the supervisor, which takes in as many at once.
pub(super) const PENDING_REPORTS: usize = 1_024;

/// Turns between two looks at what changes slowly: workers' heartbeats, what has drained, what is free.
const TURNS_A_ROUND: u32 = 100;

/// The receivers of all that reaches the supervisor from outside.
#[derive(Debug)]
pub(super) struct Inbox {
    /// Requests of operators and of Prometheus.
    pub(super) requests: mpsc::Receiver<Request>,
    /// Workers that have failed.
    pub(super) failures: mpsc::UnboundedReceiver<WorkerFailure>,
    /// Outcomes of probes.
    pub(super) reports: mpsc::Receiver<ProbeReport>,
}

/// The things that a supervisor is made of.
pub(super) struct Parts<P: Ports> {
    pub(super) appliance: Appliance,
    pub(super) ports: P,
    pub(super) workers: Vec<WorkerEnd<P::Frame>>,
    pub(super) taps: Taps,
    pub(super) shared: Shared,
    /// The way of the probes' outcomes to [`Inbox::reports`]; none where nothing is to be probed.
    pub(super) probe_reports: Option<mpsc::Sender<ProbeReport>>,
    /// Settings that operators had made before the start, and the file for those from now on.
    pub(super) kept: KeptState,
    pub(super) process: Process,
}

/// The control thread's loop and all that it owns.
pub(super) struct Supervisor<P: Ports> {
    clock: Clock,
    started_at: SystemTime,
    log: Option<Log>,
    last_resort: Option<LastResort>,
    config_source: ConfigSource,
    config_reader: ConfigReader,
    endpoints_files: EndpointsFiles,
    appliance: Appliance,
    workers: Workers<P>,
    port_watch: PortWatch,
    neighbour_watch: NeighbourWatch,
    probes: Option<Probes>,
    hand_probes: HandProbes,
    stalls: Stalls,
    loop_watch: LoopWatch,
    announcements: Announcements,
    listening: Listening,
    conntrack: ConntrackReader,
    what_if: WhatIf,
    plan_reader: PlanReader,
    operator_state: OperatorState,
    state_keeper: StateKeeper,
    event_log: EventLog,
    publish_latency: PublishLatency,
    heartbeat: Heartbeat,
    turns: u32,
    /// Frames of ARP and neighbour discovery that workers could not pass on, when they were last counted.
    refused_frames: u64,
    losses: Losses,
}

/// Waits until a probe in the path of traffic has something to send; for ever where there are no probes.
async fn outgoing_probe(stack: Option<probe_tcp::Handle>) {
    match stack {
        Some(stack) => stack.wanted().await,
        None => std::future::pending().await,
    }
}

/// The way on after a step of the loop.
enum Next {
    Turn,
    Stop,
}

impl<P: Ports> Supervisor<P> {
    /// A supervisor of a configured appliance; its probes begin.
    ///
    /// # Panics
    /// Outside of a [`tokio::task::LocalSet`], where it is to probe.
    pub(super) fn new(parts: Parts<P>) -> Self {
        let Parts { appliance, ports, workers, taps, shared, probe_reports, kept, process } = parts;
        let clock = shared.clock;
        let begin = |reports| Probes::new(&appliance, reports, clock.elapsed());
        let (probes, update) = probe_reports.map(begin).unzip();
        let mut supervisor = Self {
            clock,
            started_at: SystemTime::now(),
            log: process.log,
            last_resort: process.last_resort,
            config_source: ConfigSource::new(process.config_path, process.sources, appliance.config()),
            config_reader: ConfigReader::new(process.aside.clone()),
            endpoints_files: EndpointsFiles::new(process.aside.clone()),
            port_watch: PortWatch::new(ports.names(), clock.elapsed()),
            neighbour_watch: NeighbourWatch::default(),
            workers: Workers::new(ports, workers),
            probes,
            hand_probes: HandProbes::default(),
            stalls: Stalls::new(clock.elapsed()),
            loop_watch: LoopWatch::new(clock.elapsed()),
            announcements: Announcements::new(process.guard, process.messenger),
            listening: Listening::new(taps),
            what_if: WhatIf::new(shared.clone()),
            plan_reader: PlanReader::new(process.aside.clone()),
            conntrack: ConntrackReader::new(shared, appliance.feed()),
            operator_state: OperatorState::default(),
            state_keeper: StateKeeper::new(kept.file.clone(), process.aside),
            event_log: EventLog::default(),
            publish_latency: PublishLatency::new(appliance.state().snapshot_generation()),
            heartbeat: Heartbeat::of_unit(),
            refused_frames: 0,
            losses: Losses::default(),
            appliance,
            turns: 0,
        };
        supervisor.take_over_kept(kept);
        supervisor.watch_endpoints(Vec::new());
        supervisor.tell_addresses();
        supervisor.tell_vlans();
        supervisor.apply(update.unwrap_or_default());
        supervisor.warn();
        supervisor
    }

    /// Runs until a signal, a request or a worker's failure ends the loop; then withdraws all announcements.
    ///
    /// # Errors
    /// [`WorkerFailure`] of the first worker that failed.
    pub(super) async fn run(mut self, inbox: Inbox) -> Result<(), WorkerFailure> {
        let Inbox { mut requests, mut failures, mut reports } = inbox;
        let listen = |kind| signal(kind).expect("the runtime has signals, and these can be caught");
        let (mut terminate, mut interrupt, mut hang_up) =
            (listen(SignalKind::terminate()), listen(SignalKind::interrupt()), listen(SignalKind::hangup()));
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_to_stop = false;
        let mut failure = loop {
            if is_to_stop {
                break None;
            }
            // A reload may replace the stack.
            let stack = self.probes.as_ref().and_then(|probes| probes.stack().cloned());
            // Not in random order: a failure comes before all else, and a flood of requests must not keep out the turn.
            let next = tokio::select! {
                biased;
                Some(failure) = failures.recv() => break Some(failure),
                _ = terminate.recv() => Next::Stop,
                _ = interrupt.recv() => Next::Stop,
                _ = turns.tick() => match self.hear_last_resort() {
                    Next::Stop => Next::Stop,
                    Next::Turn => self.turn(),
                },
                _ = hang_up.recv(), if self.last_resort.is_none() => self.hang_up(),
                () = outgoing_probe(stack) => self.timed("the sending of probes", Self::send_probes),
                Some(report) = reports.recv() => {
                    self.timed("the outcome of probes", |this| this.take_in(report, &mut reports))
                }
                Some(request) = requests.recv() => self.timed("a request", |this| this.serve(request)),
            };
            is_to_stop = matches!(next, Next::Stop);
        };
        match &failure {
            None => self.event_log.note(Note::new(EventKind::Stopping, "the appliance stops")),
            Some(failure) => self.workers.give_up(failure),
        }
        service_manager::tell_stopping();
        self.last_resort.iter().for_each(LastResort::begin);
        self.config_reader.end();
        // Routers hear of the end first. Until they have, the workers that are left go on, and so do the turns, which
        // keep packets away from backends that fail.
        let mut withdrawn = std::pin::pin!(self.announcements.withdraw_all());
        loop {
            tokio::select! {
                biased;
                () = &mut withdrawn => break,
                Some(another) = failures.recv() => {
                    self.workers.give_up(&another);
                    failure.get_or_insert(another);
                }
                _ = turns.tick() => drop(self.turn()),
                Some(report) = reports.recv() => drop(self.take_in(report, &mut reports)),
            }
        }
        let notes = self.announcements.news(self.now());
        self.note_all(notes);
        self.announcements.relieve_guard().await;
        self.listening.end();
        let note = self.state_keeper.finish(self.now()).await;
        self.note_all(note);
        failure.map_or(Ok(()), Err)
    }

    /// Does what signals have asked for that the last resort has heard: it has listened since before this thread did.
    fn hear_last_resort(&mut self) -> Next {
        match &self.last_resort {
            Some(last_resort) if last_resort.was_asked_to_stop() => Next::Stop,
            Some(last_resort) if last_resort.take_reload() => self.hang_up(),
            _ => Next::Turn,
        }
    }

    fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Takes in what the workers have passed on, does what is due, and sends the appliance's own frames.
    fn turn(&mut self) -> Next {
        let now = self.now();
        self.stalls.look_at_control(now);
        let note = self.loop_watch.begin_turn(now);
        self.note_all(note);
        self.timed("frames from workers", |this| this.take_in_frames(now));
        self.timed("a new snapshot", |this| this.appliance.poll(now));
        self.publish_latency.look(self.appliance.state().snapshot_generation(), self.workers.adoptions());
        while let Some(outgoing) = self.appliance.transmit() {
            if let Some(frame) = self.workers.frame(&outgoing.bytes) {
                self.workers.send(outgoing.port, frame);
            }
        }
        self.timed("the sending of probes", Self::send_probes);
        self.answer_hand_probes();
        self.timed("a copy for a plan", |this| this.plan_what_was_read(now));
        self.timed("a reload", |this| this.take_in_configuration(now));
        self.timed("captures", Self::drain_taps);
        self.timed("a look at ports", |this| this.watch_ports(now));
        self.timed("the plan of announcements", Self::plan_announcements);
        let note = self.state_keeper.poll(now);
        self.note_all(note);
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(TURNS_A_ROUND) {
            self.timed("a look at all that changes slowly", |this| this.round(now))
        } else {
            Next::Turn
        }
    }

    /// Takes a step, and measures it.
    fn timed<T>(&mut self, step: &'static str, take: impl FnOnce(&mut Self) -> T) -> T {
        let began = self.now();
        let taken = take(self);
        self.loop_watch.did(step, self.now().saturating_sub(began));
        taken
    }

    /// Looks at what changes slowly.
    fn round(&mut self, now: Duration) -> Next {
        self.heartbeat.beat(now);
        self.appliance.tidy(now);
        if let Some(probes) = &mut self.probes {
            let update = probes.end_first_rounds(now);
            self.apply(update);
        }
        self.stalls.look_at_workers(self.workers.heartbeats(), now);
        if self.stalls.has_worker_standing_still(now) {
            // Questions to neighbours, and their answers, may wait with it.
            self.appliance.note_lost_frames(now);
        }
        // A claim is decided within a second.
        if (self.losses.is_due(now) || self.appliance.has_claimed_neighbours())
            && self.losses.look(self.workers.ways(), now)
        {
            self.appliance.note_lost_frames(now);
        }
        let notes = self.workers.watch(now);
        self.note_all(notes);
        let notes = self.neighbour_watch.look(&mut self.appliance, now);
        self.note_all(notes);
        self.take_in_endpoints();
        let progress = self.announcements.follow(self.workers.forwarded(), now);
        self.note_all(progress.notes);
        if self.port_watch.is_deserted() {
            tracing::error!("no port is left to forward by");
            return Next::Stop;
        }
        if progress.stops { Next::Stop } else { Next::Turn }
    }

    /// Takes in the frames that the workers have passed on: for the host stack, or the answer to a probe.
    fn take_in_frames(&mut self, now: Duration) {
        let refused = self.workers.refused_of_neighbours();
        if std::mem::replace(&mut self.refused_frames, refused) != refused {
            self.appliance.note_lost_frames(now);
        }
        let (mut conflicts, mut lowered) = (Vec::new(), Vec::new());
        self.workers.receive(|port, frame| {
            // A worker that is a reload behind may pass on what is of no network any more.
            let Some(network) = self.appliance.network_of(port, frame) else { return };
            let mut lower = |appliance: &mut Appliance| {
                let path_mtu = appliance.take_in_tunnel_error(network, frame, now);
                lowered.extend(path_mtu.map(|(endpoint, path_mtu)| (network, endpoint, path_mtu)));
            };
            match self.appliance.handle(network, port, frame, now) {
                FrameKind::OtherOwn => {
                    lower(&mut self.appliance);
                    if let Some(probes) = &self.probes {
                        probes.receive(network, frame);
                    }
                }
                // A tunnel's source prefix is none of the host's addresses.
                FrameKind::NotForUs => lower(&mut self.appliance),
                FrameKind::AddressConflict => {
                    conflicts
                        .extend(self.appliance.new_conflict(network).map(|conflict| (network, conflict)));
                }
                _ => {}
            }
        });
        for (network, conflict) in conflicts {
            let place = match self.appliance.state().network_name(network) {
                Some(network) => format!(" in network {network}"),
                None => String::new(),
            };
            let text = format!("another host claims {}{place}: {}", conflict.address, conflict.mac);
            let note = Note::new(EventKind::AddressConflict, text);
            self.note(note.in_network(self.appliance.state().network_name(network)));
        }
        for (network, endpoint, path_mtu) in lowered {
            self.note_all(tunnels::notes(&self.appliance, network, endpoint, path_mtu));
        }
    }

    /// Takes in the outcome of a probe, and of all others that have ended meanwhile.
    ///
    /// Changes by one probe alone are published at once. Where several have ended together more are about to, and their
    /// changes are published with the next turn: backends that turn together make few snapshots, not one each.
    fn take_in(&mut self, first: ProbeReport, more: &mut mpsc::Receiver<ProbeReport>) -> Next {
        let now = self.now();
        // Reports that find no room here wait for the next time.
        let others = std::iter::from_fn(|| more.try_recv().ok()).take(PENDING_REPORTS - 1);
        let mut reports: Vec<_> = std::iter::once(first).chain(others).collect();
        self.discard_stalled(&mut reports, now);
        reports.iter_mut().for_each(|report| tunnels::explain(&self.appliance, report, now));
        for report in reports.iter().filter(|report| report.result.failure().is_some()) {
            self.appliance.doubt_next_hop(&report.id.service, &report.id.backend, now);
        }
        if let Some(probes) = &mut self.probes {
            let update = probes.take_in(&reports, now);
            self.apply(update);
        }
        if reports.len() == 1 {
            self.appliance.publish_changes(now);
        }
        Next::Turn
    }

    /// Leaves out the failures of probes that fell in a stall on this side.
    fn discard_stalled(&mut self, reports: &mut Vec<ProbeReport>, now: Duration) {
        let Some(probes) = &self.probes else { return };
        if reports.iter().all(|report| report.result.failure().is_none()) {
            return;
        }
        self.stalls.look_at_control(now);
        self.stalls.look_at_workers(self.workers.heartbeats(), now);
        let (stalls, event_log) = (&mut self.stalls, &mut self.event_log);
        reports.retain(|report| {
            let Some(reason) = report.result.failure() else { return true };
            let (excused, note) = stalls.excuse(&probes.time_of(report, now));
            if excused {
                let (service, backend) = (&report.id.service, &report.id.backend);
                tracing::debug!(service, backend, reason, "a probe's failure in a stall is discarded");
            }
            note.into_iter().for_each(|note| event_log.note(note));
            !excused
        });
    }

    /// Applies the changes of health checks to the appliance.
    fn apply(&mut self, update: HealthUpdate) {
        self.note_all(update.notes);
        let changes = update.changes.into_iter().filter_map(HealthChange::into_state_change);
        let applied = self.appliance.apply(changes, self.clock.elapsed());
        // Checks are made of the services' own backends, and with them.
        applied.unknown.iter().for_each(|unknown| tracing::debug!("{unknown}"));
        if let Some(decided) = update.decided {
            self.publish_latency.decide(decided);
        }
    }

    fn send_probes(&mut self) -> Next {
        if let Some(probes) = &mut self.probes {
            probes.send(&mut self.workers);
        }
        Next::Turn
    }

    fn drain_taps(&mut self) {
        let state = self.appliance.state();
        let state_of = |flow: &FlowText, network: Option<&str>| {
            let network = state.network_named(network).ok()?;
            Some(self.conntrack.look_up(flow, network, state).entry?.state)
        };
        self.listening.drain(self.clock.elapsed(), state, &self.appliance.feed(), &state_of);
    }

    fn plan_announcements(&mut self) {
        let now = self.now();
        let obstacles =
            Obstacles { stalled_worker: self.workers.has_stalled(), no_link: self.port_watch.has_no_link() };
        self.announcements.plan(&self.appliance, obstacles, now);
    }

    /// Notes an event; that of a service is of the service's network.
    fn note(&mut self, note: Note) {
        let state = self.appliance.state();
        let service = note.service().and_then(|service| state.services().get(service));
        let network = service.and_then(|service| state.network_name(service.network()));
        self.event_log.note(note.in_network(network));
    }

    fn note_all(&mut self, notes: impl IntoIterator<Item = Note>) {
        notes.into_iter().for_each(|note| self.note(note));
    }

    /// Logs the warnings of the configuration in force, and returns them.
    fn warn(&self) -> Vec<String> {
        let config = self.appliance.config();
        let mut warnings = warnings(config, &Machine::look());
        warnings.extend(self.probes.as_ref().and_then(|_| descriptors::warning(config)));
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        warnings.iter().map(ToString::to_string).collect()
    }

    /// The state of the appliance and the process, for operators.
    fn status(&self) -> view::Status {
        let appliance = &self.appliance;
        let probes = self.probes.as_ref();
        let mut ports = self.workers.ports().states();
        self.port_watch.complete(&mut ports);
        let status = view::Status {
            condition: view::Condition::default(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at_unix_sec: views::unix_sec(self.started_at),
            uptime_sec: self.now().as_secs(),
            config_path: self.config_source.path().display().to_string(),
            config_loaded_at_unix_sec: views::unix_sec(self.config_source.loaded_at()),
            configuration_generation: appliance.state().configuration_generation(),
            snapshot_generation: appliance.state().snapshot_generation(),
            unreclaimed_snapshots: appliance.unreclaimed_snapshots() as u64,
            changes_coalesced: appliance.coalesced_changes(),
            unresolved_neighbors: appliance.unresolved_next_hops() as u64,
            log_lines_lost: self.log.as_ref().map_or(0, Log::lost),
            control_loop: self.loop_watch.view(self.now()),
            health_checks: probes
                .map(|probes| views::health_checks(probes, &self.publish_latency, &self.stalls)),
            ports,
            workers: self.workers.states(),
            services: views::services(appliance, probes.map(|probes| probes.monitor().state())),
            vips: views::vips(appliance),
            announcements: self.announcements.states(self.now()),
            guard: self.announcements.guard(),
            drain: self.drain_state(),
            endpoints_files: self.endpoints_files.files(),
            endpoints_dns: self.endpoints_files.questions(),
            operator_settings: views::operator_settings(&self.operator_state, &self.state_keeper),
        };
        status.with_condition()
    }
}
