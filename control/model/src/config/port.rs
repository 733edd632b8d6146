//! Ports: the devices that packets come and go by, and the appliance's addresses on their links.

use std::net::IpAddr;

use guideway_engine::driver::device::{AfPacketRing, Device};
use ipnet::IpNet;

use super::link;
use super::report::Report;
use super::written::file::PortFile;

/// Bytes of a frame beyond the packet: an Ethernet header and two VLAN tags.
const LINK_HEADERS: u32 = 22;

/// A device that packets come and go by. A reload does not change it.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Name of the port, unique among ports.
    pub name: String,
    /// Device, as DPDK names it.
    pub device: Device,
    /// Addresses of the appliance on the link, each with the length of the link's prefix.
    pub addresses: Vec<IpNet>,
    /// Router on the link to all other IPv4 destinations.
    pub ipv4_gateway: Option<IpAddr>,
    /// Router on the link to all other IPv6 destinations.
    pub ipv6_gateway: Option<IpAddr>,
    /// Length of the longest packet, in bytes.
    pub mtu: u16,
    /// Number of descriptors of each receive queue.
    pub rx_descriptors: u16,
    /// Number of descriptors of each transmit queue.
    pub tx_descriptors: u16,
    /// True if the port takes frames for any MAC address.
    pub promiscuous: bool,
}

impl Port {
    pub(super) fn parse(file: &PortFile, report: &mut Report) -> Option<Self> {
        file.check_ring(report);
        let link = link::parse(&file.ip_addresses, &file.gateways, "port", report);
        Some(Self {
            name: file.name.get()?.0.clone(),
            device: file.device.get()?.clone(),
            addresses: link.addresses?,
            ipv4_gateway: link.ipv4_gateway,
            ipv6_gateway: link.ipv6_gateway,
            mtu: file.mtu()?.as_u16(),
            rx_descriptors: file.rx_descriptors()?.as_u16(),
            tx_descriptors: file.tx_descriptors()?.as_u16(),
            promiscuous: file.promiscuous()?,
        })
    }
}

impl PortFile {
    /// Refuses a ring of `net_af_packet` that cuts the port's frames, or that its driver reads wrongly.
    fn check_ring(&self, report: &mut Report) {
        let (Some(device), Some(mtu)) = (self.device.get(), self.mtu()) else { return };
        let Some(ring) = AfPacketRing::of(device) else { return };
        let needed = u32::from(mtu.as_u16()) + LINK_HEADERS;
        let fitting = AfPacketRing::for_frames(needed);
        if ring.longest_frame() < needed {
            report.error(
                self.device.span(),
                format!(
                    "the device cuts frames after {} bytes, and the port's longest, by its `mtu`, has {needed}",
                    ring.longest_frame()
                ),
                format!("lower the port's `mtu`, or write `{fitting}` among the device's arguments"),
            );
        } else if !ring.is_seamless() {
            report.error(
                self.device.span(),
                "the device's `blocksz` is no multiple of its `framesz`, and its driver would read frames from where \
                 there are none",
                format!("write `{fitting}` among the device's arguments, or leave both out"),
            );
        }
    }
}
