//! The ports as the control thread has them: a source of frames to send, and what operators are shown.

use std::collections::BTreeSet;

use guideway_dataplane::frame::Frame;
use guideway_dataplane::wire::ethernet::MacAddress;
use guideway_engine::mbuf::Mbuf;

use crate::api::view;

/// Signals of a port's device since they were last taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortSignals {
    /// True if the link has changed.
    pub link: bool,
    /// True if the device has to be reset before it works again.
    pub reset: bool,
    /// True if the device is gone, or is to be released.
    pub removal: bool,
}

/// State of a port's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortLink {
    /// True if the link is up.
    pub up: bool,
    /// Speed of the link; none where the device does not know it.
    pub speed_mbps: Option<u32>,
    /// State of the kernel's network interface below the device.
    pub interface: PortInterface,
}

/// State of the kernel's network interface below a port's device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortInterface {
    /// The device has its interface, or needs none.
    #[default]
    Present,
    /// The interface was deleted, or moved to another network namespace.
    Gone,
    /// The interface was gone, and can be taken anew: the device asks for a reset.
    Replaced,
}

impl PortLink {
    /// Link that is down.
    pub const DOWN: Self = Self { up: false, speed_mbps: None, interface: PortInterface::Present };
}

/// The ports as the control thread has them.
///
/// Each device is known by the index of its port in the configuration. Ports without devices have nothing to watch.
pub trait Ports {
    /// The buffer that holds a frame.
    type Frame: Frame;

    /// A frame of these bytes, or none where there is no memory for it.
    fn frame(&self, bytes: &[u8]) -> Option<Self::Frame>;

    /// Each port's device and the state of its link, in the order of the configuration.
    fn states(&self) -> Vec<view::Port>;

    /// NUMA node of a worker's core; none where nobody tells.
    fn node_of(&self, _worker: u16) -> Option<u32> {
        None
    }

    /// Queues of each port that a worker polls and sends by, in the order of the configuration.
    fn queues_of(&self, _worker: u16) -> Vec<view::WorkerQueues> {
        Vec::new()
    }

    /// Counters of each port's device, in the order of the configuration.
    fn stats(&self) -> Vec<view::PortStats>;

    /// Counters of each port's driver by their own names, in the order of the configuration.
    fn xstats(&self) -> Vec<view::PortXstats> {
        Vec::new()
    }

    /// Names of the ports whose devices are to be watched, in the order of the configuration.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }

    /// Takes the signals of a port's device since the last call.
    fn take_signals(&self, _port: usize) -> PortSignals {
        PortSignals::default()
    }

    /// State of a port's link now.
    fn link(&self, _port: usize) -> PortLink {
        PortLink::DOWN
    }

    /// Has a port's device take the frames for a MAC address, or for its own where there is none. Returns a sentence for the
    /// operator if there is something to know.
    fn adopt_mac(&self, _port: usize, _mac: Option<MacAddress>) -> Option<String> {
        None
    }

    /// Has a port's device take the frames of multicast groups. Returns a sentence for the operator if there is something
    /// new to know.
    fn listen(&self, _port: usize, _groups: &[MacAddress]) -> Option<String> {
        None
    }

    /// Keeps the workers away from a port, from their next polls on.
    fn pause(&self, _port: usize) {}

    /// True if no worker polls a port that was paused.
    fn is_paused(&self, _port: usize) -> bool {
        true
    }

    /// Links of the members of a port that is a bond; empty for other ports.
    fn members(&self, _port: usize) -> Vec<view::PortMember> {
        Vec::new()
    }

    /// Begins to reset the device of a paused port, without waiting for its end.
    ///
    /// # Errors
    /// Cause for which it cannot begin, in words; the workers stay away.
    fn begin_restart(&self, _port: usize) -> Result<(), String> {
        Ok(())
    }

    /// Result of the reset that was begun, once there is one; after one that has succeeded, the workers poll the port again.
    ///
    /// An error is the cause of the failure, in words; the workers stay away.
    fn end_restart(&self, _port: usize) -> Option<Result<(), String>> {
        Some(Ok(()))
    }

    /// Releases the device of a paused port, which workers never poll again.
    ///
    /// # Errors
    /// Cause for which the device could not be released, in words.
    fn remove(&self, _port: usize) -> Result<(), String> {
        Ok(())
    }

    /// Has a port's device take the frames of these VLANs, where it filters them. Returns a sentence for the operator if it
    /// refuses one.
    fn take_vlans(&self, _port: usize, _vlans: &BTreeSet<u16>) -> Option<String> {
        None
    }
}

/// Ports without devices, for tests and measurements: frames are in the process's memory, and there is nothing to show.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryPorts;

impl Ports for MemoryPorts {
    type Frame = Mbuf;

    fn frame(&self, bytes: &[u8]) -> Option<Mbuf> {
        let mut mbuf = Mbuf::new();
        mbuf.fill(bytes);
        Some(mbuf)
    }

    fn states(&self) -> Vec<view::Port> {
        Vec::new()
    }

    fn stats(&self) -> Vec<view::PortStats> {
        Vec::new()
    }
}
