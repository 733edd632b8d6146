//! Appliance in memory: the real control thread, workers that are stepped by hand, and a port whose wire is at hand.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll};
use std::time::Duration;

use guideway::api::request::{Reply, Request};
use guideway::api::view;
use guideway::config_file;
use guideway::run::appliance::Nic;
use guideway::run::aside::{Aside, Work};
use guideway::run::assemble::{Probing, Senders, Setup, assemble};
use guideway::run::ports::{MemoryPorts, PortInterface, PortLink, PortSignals, Ports};
use guideway::run::process::Process;
use guideway::run::worker::{RingSizes, Shared, WorkerFailure};
use guideway_dataplane::frame::Frame as _;
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::clock::Clock;
use guideway_engine::counters::WorkerCounters;
use guideway_engine::driver::loopback::{LoopbackQueues, Wire, loopback};
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::Subscriber;
use guideway_model::config::Config;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet};
use tokio::time::Sleep;

use crate::client;
use crate::dice::Dice;
use crate::router::{Routes, Session};
use crate::scenario::Scenario;
use crate::virtual_time::{elapsed, moment};

/// Descriptors of a queue.
const DESCRIPTORS: usize = 256;

/// Frames that may wait between a worker and the control thread, and for a capture.
const RINGS: RingSizes = RingSizes { host: 256, tap: 16 };

/// Polls of a worker in one step, at most.
const POLLS: usize = 16;

/// Appliance that runs.
pub struct Appliance {
    /// Number of the appliance.
    pub number: usize,
    /// Ways to its supervisor.
    pub senders: Senders,
    /// Session of its announcements with the router.
    pub session: Arc<Session>,
    workers: Vec<Worker>,
    device: Rc<RefCell<Device>>,
    snapshots: Subscriber<Snapshot>,
    supervisor: JoinHandle<Result<(), WorkerFailure>>,
    stalled_until: Rc<Cell<Duration>>,
    handed: Receiver<Work>,
    work: BTreeMap<(Duration, u64), Work>,
    works: u64,
    /// Frames that were lost before a worker could take them: the link was down, or the queue full.
    pub missed: u64,
}

/// Worker and what it has been seen to do.
struct Worker {
    poll_loop: PollLoop<LoopbackQueues<Mbuf>>,
    wire: Wire<Mbuf>,
    stalled_until: Duration,
    /// Frames that were put on its wire.
    given: u64,
    /// Frames that it has taken from its queue.
    taken: u64,
    /// Frames that have come out of its wire.
    sent: u64,
    /// True if it has found its queue empty, and was given nothing since.
    is_idle: bool,
}

/// Counts of a worker: its own, and those of the wire.
#[derive(Clone, Debug)]
pub struct WorkerCounts {
    /// Counters of the worker.
    pub counters: WorkerCounters,
    /// Frames that the wire was given.
    pub given: u64,
    /// Frames that the worker has taken.
    pub taken: u64,
    /// Frames that the wire has given.
    pub sent: u64,
    /// True if the worker has found its queue empty, and was given nothing since.
    pub is_idle: bool,
}

/// Device of the port.
#[derive(Debug)]
struct Device {
    is_up: bool,
    signals: PortSignals,
}

/// Port of an appliance.
#[derive(Clone, Debug)]
struct Port(Rc<RefCell<Device>>);

impl Ports for Port {
    type Frame = Mbuf;

    fn frame(&self, bytes: &[u8]) -> Option<Mbuf> {
        MemoryPorts.frame(bytes)
    }

    fn states(&self) -> Vec<view::Port> {
        vec![view::Port { name: "lan".to_owned(), link_up: self.0.borrow().is_up, ..view::Port::default() }]
    }

    fn stats(&self) -> Vec<view::PortStats> {
        Vec::new()
    }

    fn names(&self) -> Vec<String> {
        vec!["lan".to_owned()]
    }

    fn take_signals(&self, _: usize) -> PortSignals {
        std::mem::take(&mut self.0.borrow_mut().signals)
    }

    fn link(&self, _: usize) -> PortLink {
        let up = self.0.borrow().is_up;
        PortLink { up, speed_mbps: Some(25_000), interface: PortInterface::default() }
    }
}

/// Control thread that can be made to stand still.
struct Stallable<F> {
    control: Pin<Box<F>>,
    until: Rc<Cell<Duration>>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Stallable<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let until = self.until.get();
        if elapsed() < until {
            let sleep = self.sleep.insert(Box::pin(tokio::time::sleep_until(moment(until))));
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.control.as_mut().poll(context)
    }
}

/// Files of an appliance, which outlive it.
#[derive(Clone, Debug)]
pub struct Files {
    /// Configuration.
    pub config: PathBuf,
    /// State of operators' settings.
    pub state: PathBuf,
}

impl Files {
    /// Files of an appliance in a folder.
    pub fn new(folder: &Path, appliance: usize) -> Self {
        let path = |name: &str| folder.join(format!("{appliance}.{name}"));
        Self { config: path("toml"), state: path("state") }
    }
}

impl Appliance {
    /// Starts an appliance on its files; `None` where its configuration is refused, as at any start.
    ///
    /// # Panics
    /// Outside of [`crate::virtual_time::run`], or where there is no memory for its table.
    pub fn start(
        scenario: &Scenario,
        number: usize,
        files: &Files,
        routes: &Routes,
        dice: Dice,
    ) -> Option<Self> {
        let sources = config_file::read(&files.config).ok()?;
        let config = Config::parse_sources(&sources).ok()?;
        let mut shared = Shared::new(&config, [1, 2, 3, 4], &[]).expect("240 kB");
        shared.clock = Clock::told_by(elapsed);
        let nic = Nic { mac: MacAddress(Scenario::mac(number)), offloads_udp_checksum: false };
        let cores: Vec<usize> = (0..scenario.workers).collect();
        let setup = Setup { config, nics: &[nic], cores: &cores, shared, probing: Probing::On, rings: RINGS };
        let (mut assembly, seeds) = assemble(setup);
        assembly.keep_operator_state(files.state.clone());
        let senders = assembly.senders().clone();
        let snapshots = assembly.appliance.feed().subscribe();
        let worker = |(queues, wire), seed: guideway::run::worker::WorkerSeed<Mbuf>| Worker {
            poll_loop: seed.poll_loop(vec![queues]),
            wire,
            stalled_until: Duration::ZERO,
            given: 0,
            taken: 0,
            sent: 0,
            is_idle: false,
        };
        let workers = seeds.into_iter().map(|seed| worker(loopback(DESCRIPTORS), seed)).collect();
        let device = Rc::new(RefCell::new(Device { is_up: true, signals: PortSignals::default() }));
        let session = Arc::new(Session::new(number, routes.clone(), dice));
        let (taker, handed) = channel();
        let process = Process {
            config_path: files.config.clone(),
            sources: Some(sources),
            guard: None,
            last_resort: None,
            log: None,
            aside: Aside::Handed(taker),
            messenger: Some(session.clone()),
        };
        let port = Port(Rc::clone(&device));
        // A set of tasks of its own, as a thread of its own has one: probes stand still with it, and end with it.
        let control = async move { LocalSet::new().run_until(assembly.run(port, process)).await };
        let stalled_until = Rc::new(Cell::new(Duration::ZERO));
        let until = Rc::clone(&stalled_until);
        let supervisor =
            tokio::task::spawn_local(Stallable { control: Box::pin(control), until, sleep: None });
        let work = BTreeMap::new();
        let appliance = Self {
            number,
            senders,
            session,
            workers,
            device,
            snapshots,
            supervisor,
            stalled_until,
            handed,
            work,
            works: 0,
            missed: 0,
        };
        Some(appliance)
    }

    /// Asks the supervisor; the reply comes once it has had its turn. None where too many requests wait.
    pub fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Option<Answer<T>> {
        let (reply, replied) = oneshot::channel();
        self.senders.requests.try_send(request(reply)).ok().map(|()| replied)
    }

    /// Number of the snapshot that workers find at their next poll.
    pub fn generation(&mut self) -> u64 {
        self.snapshots.repin().generation
    }

    /// Gives a frame to the worker that the NIC's hash chooses.
    pub fn receive(&mut self, bytes: &[u8]) -> bool {
        let index = (client::hash(bytes) % self.workers.len() as u64) as usize;
        let worker = &mut self.workers[index];
        let mut mbuf = Mbuf::new();
        mbuf.fill(bytes);
        let is_taken = self.device.borrow().is_up && worker.wire.send(mbuf).is_ok();
        worker.given += u64::from(is_taken);
        worker.is_idle &= !is_taken;
        self.missed += u64::from(!is_taken);
        is_taken
    }

    /// Has the workers poll that do not stall, in an order that is drawn.
    pub fn step(&mut self, dice: &mut Dice, now: Duration) {
        let mut order: Vec<usize> = (0..self.workers.len()).collect();
        dice.shuffle(&mut order);
        for index in order {
            let worker = &mut self.workers[index];
            for _ in 0..POLLS {
                if worker.stalled_until > now {
                    break;
                }
                let taken = worker.poll_loop.turn();
                worker.taken += taken as u64;
                worker.is_idle = taken == 0;
                if taken == 0 {
                    break;
                }
            }
        }
    }

    /// Takes the frames that the workers have sent. They are lost where the link is down.
    pub fn sent(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for worker in &mut self.workers {
            while let Some(mbuf) = worker.wire.receive() {
                worker.sent += 1;
                sent.push(mbuf.bytes().to_vec());
            }
        }
        sent
    }

    /// Counts of the workers.
    pub fn counts(&self) -> Vec<WorkerCounts> {
        let counts = |worker: &Worker| WorkerCounts {
            counters: worker.poll_loop.counters(),
            given: worker.given,
            taken: worker.taken,
            sent: worker.sent,
            is_idle: worker.is_idle,
        };
        self.workers.iter().map(counts).collect()
    }

    /// Makes the control thread stand still until a time.
    pub fn stall(&self, until: Duration) {
        self.stalled_until.set(until);
    }

    /// Makes a worker stand still until a time.
    pub fn stall_worker(&mut self, worker: usize, until: Duration) {
        let index = worker % self.workers.len();
        self.workers[index].stalled_until = until;
    }

    /// Time until which the control thread or any worker stands still.
    pub fn stalled_until(&self) -> Duration {
        let workers = self.workers.iter().map(|worker| worker.stalled_until).max().unwrap_or_default();
        workers.max(self.stalled_until.get())
    }

    /// Time until which the control thread stands still.
    pub fn control_stalled_until(&self) -> Duration {
        self.stalled_until.get()
    }

    /// True if a worker stands still.
    pub fn has_stalled_worker(&self, now: Duration) -> bool {
        self.workers.iter().any(|worker| worker.stalled_until > now)
    }

    /// Takes the link up or down.
    pub fn set_link(&self, is_up: bool) {
        let mut device = self.device.borrow_mut();
        device.is_up = is_up;
        device.signals.link = true;
    }

    /// True if the link is up.
    pub fn has_link(&self) -> bool {
        self.device.borrow().is_up
    }

    /// Does the work beside the control thread that is due; new work is given a time by `takes`.
    pub fn work(&mut self, takes: impl Fn() -> Duration, now: Duration) {
        while let Ok(work) = self.handed.try_recv() {
            self.works += 1;
            self.work.insert((now + takes(), self.works), work);
        }
        while let Some(first) = self.work.first_entry()
            && first.key().0 <= now
        {
            first.remove().run();
        }
    }

    /// True once the supervisor has ended.
    pub fn has_ended(&self) -> bool {
        self.supervisor.is_finished()
    }

    /// Takes frames off the wires that nobody counts: for the test that this is seen.
    #[cfg(test)]
    pub(crate) fn lose_sent(&mut self) {
        for worker in &mut self.workers {
            while worker.wire.receive().is_some() {}
        }
    }

    /// Says of a frame that it was given, and gives none: for the test that this is seen.
    #[cfg(test)]
    pub(crate) fn hide_given(&mut self) {
        self.workers[0].given += 1;
    }

    /// Has the supervisor end as it never should: for the test that this is seen.
    #[cfg(test)]
    pub(crate) fn fail(&self) {
        self.supervisor.abort();
    }

    /// Ends it as a kill does: nothing that is under way is finished.
    pub async fn kill(self) {
        self.session.end();
        self.supervisor.abort();
        let _ = self.supervisor.await;
    }
}

/// Answer that comes later.
pub type Answer<T> = oneshot::Receiver<Result<T, guideway::api::request::Refused>>;
