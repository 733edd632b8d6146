//! Device under test in this process: the engine's poll loop on a core of its own, between ports in memory.
//!
//! ```text
//!  tester's near end ══▶ port 0 ─▶ PollLoop ─▶ port 1 ══▶ tester's far end
//! ```
//!
//! No NIC and no driver take part: this is for trying out the method, and for comparing the engine with itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use core_affinity::CoreId;
use guideway_dataplane::address::Address;
use guideway_dataplane::affinity::TrackingHasher;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_dataplane::egress::{Egress, PortId};
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::burst_processor::BurstProcessor;
use guideway_engine::clock::Clock;
use guideway_engine::counters::counters;
use guideway_engine::driver::loopback::{LoopbackQueues, Wire, loopback};
use guideway_engine::driver::{Burst, QueuePair};
use guideway_engine::host_path::host_path;
use guideway_engine::mbuf::Mbuf;
use guideway_engine::poll_loop::PollLoop;
use guideway_engine::publish::{Feed, Publisher};
use guideway_model::config::{Config, Port};
use guideway_model::egress_lookup::EgressLookup;
use guideway_model::forwarding_state::{ForwardingState, Setup};

use super::rig::{Cores, Rig};
use super::traffic::Traffic;
use super::trial::{End, Memory, Progress, Run, Seen, alone, receive, send};

/// Descriptors of a queue, as many as a port of the appliance has by default.
const DESCRIPTORS: usize = 1024;

/// Frames that may wait for a control thread, which the device does not have.
const HOST_FRAMES: usize = 64;

/// MAC addresses of the device's and the tester's ports.
pub(super) const DEVICE_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
pub(super) const TESTER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);

/// Frames in heap memory.
struct Heap;

impl Memory for Heap {
    type Frame = Mbuf;

    fn frame(&self, bytes: &[u8]) -> Option<Mbuf> {
        // The device needs no more room behind a frame than it has itself.
        let mut mbuf = Mbuf::with_capacity(bytes.len());
        mbuf.fill(bytes);
        Some(mbuf)
    }
}

/// Tester's end of a cable to the device.
struct Cable(Wire<Mbuf>);

impl QueuePair for Cable {
    type Frame = Mbuf;

    fn rx_burst(&mut self, burst: &mut Burst<Mbuf>) {
        while !burst.is_full()
            && let Some(frame) = self.0.receive()
        {
            burst.push(frame);
        }
    }

    /// Takes all: a frame that the device has no descriptor for is lost to the device, as it is on a NIC.
    fn tx_burst(&mut self, burst: &mut Burst<Mbuf>) {
        for frame in burst.drain(..) {
            drop(self.0.send(frame));
        }
    }

    fn refused(&self) -> u64 {
        0
    }
}

/// Tester at the other ends of a device's cables.
struct InsideRig {
    near: End<Cable, Heap>,
    far: Option<End<Cable, Heap>>,
    cores: Cores,
}

impl Rig for InsideRig {
    fn trial(&mut self, traffic: &Traffic, run: &Run) -> Result<Seen, String> {
        let Self { near, far, cores } = self;
        // Never on the caller's thread, which stays free to run on any core.
        let (Some(far), Some(receiver)) = (far.as_mut(), cores.receiver) else {
            return thread::scope(|scope| {
                let work = || pin(cores.sender).map(|()| alone(near, far.as_mut(), traffic, run));
                scope.spawn(work).join().expect("the tester has no reason to panic")
            });
        };
        let progress = Progress::new();
        thread::scope(|scope| {
            let received = scope.spawn(|| pin(receiver).map(|()| receive(far, traffic, run, &progress)));
            let sent = scope.spawn(|| pin(cores.sender).map(|()| send(near, traffic, run)));
            let sent = sent.join().expect("the sender has no reason to panic");
            progress.finish(sent.as_ref().map_or(0, |sent| sent.frames()));
            let received = received.join().expect("the receiver has no reason to panic");
            Ok(Seen::new(sent?, received?))
        })
    }
}

/// Runs `measure` beside a device of this configuration.
///
/// # Errors
/// If the conntrack table has no memory, or `measure` fails.
pub(super) fn with_device<T>(
    config: &Config,
    device_core: usize,
    cores: Cores,
    measure: impl FnOnce(&mut dyn Rig) -> Result<T, String>,
) -> Result<T, String> {
    let entries = config.conntrack.max_entries as usize;
    let table = ConntrackTable::with_capacity(entries)
        .map_err(|_| format!("a conntrack table of {entries} entries does not fit the memory"))?;
    let _ = table.populate(0, 1);
    let setup = Setup { workers: 1, ..Setup::OFFLINE };
    let snapshot = ForwardingState::new(config.clone(), setup, Duration::ZERO).snapshot(&OnLink { config });
    let publisher = Publisher::new(snapshot);
    let (ports, cables): (Vec<_>, Vec<_>) = config.ports.iter().map(|_| loopback(DESCRIPTORS)).unzip();
    let mut ends = cables.into_iter().map(|wire| End { queues: Cable(wire), memory: Heap, mac: TESTER_MAC });
    let near = ends.next().ok_or("the configuration has no port")?;
    let mut rig = InsideRig { near, far: ends.next(), cores };
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stopped = Stop(&stop);
        let (feed, table, stop) = (publisher.feed(), Arc::new(table), &stop);
        scope.spawn(move || {
            if let Err(error) = pin(device_core) {
                eprintln!("warning: the device is not pinned: {error}");
            }
            device(&feed, table, ports).run(stop);
        });
        measure(&mut rig)
    })
}

/// Makes the device's worker.
fn device(
    feed: &Feed<Snapshot>,
    table: Arc<ConntrackTable>,
    ports: Vec<LoopbackQueues<Mbuf>>,
) -> PollLoop<LoopbackQueues<Mbuf>> {
    let hasher = TrackingHasher::new([1, 2, 3, 4]);
    let processor = BurstProcessor::new(feed.subscribe(), table, hasher, 0);
    let (host_queue, _) = host_path(HOST_FRAMES);
    let (writer, _) = counters();
    PollLoop::new(processor, ports, host_queue, Clock::start(), writer)
}

/// Ends the device, however the measurement ends: the scope waits for its thread.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        // Relaxed: the flag carries nothing but itself; the scope joins the thread.
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

fn pin(core: usize) -> Result<(), String> {
    let pinned = core_affinity::set_for_current(CoreId { id: core });
    pinned.then_some(()).ok_or_else(|| format!("this process may not run on core {core}"))
}

/// Egress lookup by the ports' prefixes; the tester answers for all that is on them.
struct OnLink<'c> {
    config: &'c Config,
}

impl EgressLookup for OnLink<'_> {
    fn egress(&self, _: NetworkId, destination: Address) -> Egress {
        let address = IpAddr::from(destination);
        let by_link = |port: &Port| port.addresses.iter().any(|on_link| on_link.contains(&address));
        let by_gateway = |port: &Port| {
            let gateway = if destination.is_ipv4() { port.ipv4_gateway } else { port.ipv6_gateway };
            gateway.is_some()
        };
        let ports = &self.config.ports;
        let index = ports.iter().position(by_link).or_else(|| ports.iter().position(by_gateway)).unwrap_or(0);
        Egress { port: PortId(index as u8), source: Some(DEVICE_MAC), ..Egress::to(TESTER_MAC) }
    }
}
