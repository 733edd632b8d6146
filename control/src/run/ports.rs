//! The ports as the control thread has them: a source of frames to send, and what operators are shown.

use std::collections::BTreeSet;

use guideway_dataplane::frame::Frame;
use guideway_engine::mbuf::Mbuf;

use crate::api::view;

/// The ports as the control thread has them.
pub trait Ports {
    /// The buffer that holds a frame.
    type Frame: Frame;

    /// A frame of these bytes, or none where there is no memory for it.
    fn frame(&self, bytes: &[u8]) -> Option<Self::Frame>;

    /// Each port's device and the state of its link, in the order of the configuration.
    fn states(&self) -> Vec<view::Port>;

    /// Counters of each port's device, in the order of the configuration.
    fn stats(&self) -> Vec<view::PortStats>;

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
