//! DPDK's library of devices: the properties that a driver states of one, and the results of its calls.
#![allow(unsafe_code)]

use guideway_dpdk_sys as sys;

use super::{QueueCounts, StartError, dpdk_log, rss};
use crate::driver::device::Device;

/// MTU of a port for which none is configured.
pub(super) const DEFAULT_MTU: u16 = 1500;

/// Work that a device does by itself, and the queues that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads {
    /// True if the device spreads flows over its queues by a hash of their addresses and L4 ports (RSS). A virtual
    /// device without it spreads, if at all, in its own way.
    pub rss: bool,
    /// True if the device computes the checksums of UDP headers. That of an IPv4 header is no work worth handing on:
    /// a tunnel's differs from a template's in five words.
    pub udp_checksum: bool,
    /// Number of receive queues that the device states.
    pub rx_queues: u16,
    /// Number of transmit queues that the device states.
    pub tx_queues: u16,
}

impl Offloads {
    /// Numbers of queues for so many workers: as many as there are of each direction.
    ///
    /// A virtual device with several receive queues is taken to spread flows over them in its own way; hardware without RSS
    /// puts everything into the first.
    pub fn queues_for(&self, workers: u16, device: &Device) -> QueueCounts {
        let spreads = self.rss || matches!(device, Device::Virtual(_));
        let rx = if spreads { self.rx_queues } else { 1 };
        QueueCounts { rx, tx: self.tx_queues }.at_most(QueueCounts { rx: workers, tx: workers })
    }
}

pub(super) fn device_info(id: u16, device: &Device) -> Result<sys::rte_eth_dev_info, StartError> {
    let mut info = sys::rte_eth_dev_info::default();
    // SAFETY: EAL runs, as whoever has the id shows; `info` is written to before the call returns.
    let result = unsafe { sys::rte_eth_dev_info_get(id, &raw mut info) };
    check(result, device, "state its limits")?;
    Ok(info)
}

pub(super) fn offloads_of(info: &sys::rte_eth_dev_info) -> Offloads {
    Offloads {
        rss: rss::types(info.flow_type_rss_offloads) != 0,
        udp_checksum: info.tx_offload_capa & sys::guideway_tx_udp_checksum != 0,
        rx_queues: info.max_rx_queues,
        tx_queues: info.max_tx_queues,
    }
}

pub(super) fn check(result: i32, device: &Device, step: &'static str) -> Result<(), StartError> {
    if result >= 0 {
        return Ok(());
    }
    Err(StartError::PortRefused { device: device.to_string(), step, message: dpdk_log::message(result) })
}
