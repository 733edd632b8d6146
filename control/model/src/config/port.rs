//! Ports: the devices that packets come and go by, and the appliance's addresses on their links.

use std::net::IpAddr;

use guideway_engine::driver::device::{AfPacketRing, Device};
use ipnet::IpNet;

use super::limits::MAX_ADDRESSES_OF_A_PORT;
use super::report::Report;
use super::written::field::{Field, elements};
use super::written::file::PortFile;
use super::written::lengths::limit;

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
        let addresses = elements(&file.ip_addresses);
        limit("addresses of one port", addresses, MAX_ADDRESSES_OF_A_PORT, report);
        let addresses: Option<Vec<IpNet>> =
            addresses.iter().map(|address| Some(address.copied()?.0)).collect();
        file.check_ring(report);
        let [ipv4_gateway, ipv6_gateway] = file.gateways(addresses.as_deref(), report);
        Some(Self {
            name: file.name.get()?.0.clone(),
            device: file.device.get()?.clone(),
            addresses: addresses?,
            ipv4_gateway,
            ipv6_gateway,
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

    /// Gateways of both address families, each on the link.
    fn gateways(&self, addresses: Option<&[IpNet]>, report: &mut Report) -> [Option<IpAddr>; 2] {
        let mut gateways: [Option<(IpAddr, &Field<IpAddr>)>; 2] = [None, None];
        for field in elements(&self.gateways) {
            let Some(gateway) = field.copied() else { continue };
            let on_link = |addresses: &[IpNet]| {
                addresses.iter().any(|own| own.contains(&gateway) && own.addr() != gateway)
            };
            // A link-local gateway is on every link, but to ask for it takes an address of its family.
            let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
            let is_near = |addresses: &[IpNet]| {
                on_link(addresses) || (link_local && addresses.iter().any(|own| own.addr().is_ipv6()))
            };
            if addresses.is_some_and(|own| !is_near(own)) {
                report.error(
                    field.span(),
                    format!("gateway `{gateway}` is in no prefix of the port's `ip_addresses`"),
                    "write the address of a neighbour on the link, or add the port's own address there",
                );
            }
            let family = &mut gateways[usize::from(gateway.is_ipv6())];
            if let Some((_, first)) = family.replace((gateway, field)) {
                report.error_beside(
                    field.span(),
                    "two gateways of one family",
                    "keep at most one IPv4 gateway and one IPv6 gateway",
                    [(first.span(), "the first".to_owned())],
                );
            }
        }
        gateways.map(|gateway| gateway.map(|(address, _)| address))
    }
}
