//! Networks: each a world of its own, with virtual IP addresses, clients, routes and the appliance's own addresses, which may
//! be those of another network too.
//!
//! A frame is of the network whose port and VLAN it came by. Everything after that is looked up in its network alone: rules
//! and routes are the network's, a service is of one network, so is all that the service's key names in the conntrack table,
//! and packets leave by their service's network.
//!
//! ```text
//! one network           every frame, whatever its tag ──────────────▶ first
//! a port of one         every frame that came by the port ──────────▶ its network
//! a port with VLANs     tag (or none, or that of priority alone) ───▶ network, or none: dropped
//! ```

use std::fmt;
use std::sync::Arc;

use crate::address::Address;
use crate::egress::PortId;
use crate::forwarding_rule::ForwardingRules;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet;

/// Largest number of networks of an appliance.
pub const MAX_NETWORKS: usize = 64;

/// Number of a network: its index in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u8);

impl NetworkId {
    /// First network, and the only one of nearly all appliances.
    pub const FIRST: Self = Self(0);
}

/// A network as packets see it.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// Number of the network.
    pub id: NetworkId,
    /// Rules and routes that lead the network's packets to services.
    pub rules: Arc<ForwardingRules>,
    /// Own addresses of the appliance, from which it sends ICMP errors.
    pub own: OwnAddresses,
    /// Limit on the ICMP errors that a worker sends in a second.
    pub icmp_errors_per_sec: u32,
}

/// Own addresses of the appliance in a network, one of each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// IPv4 address.
    pub ipv4: Option<Address>,
    /// IPv6 address.
    pub ipv6: Option<Address>,
}

impl OwnAddresses {
    /// Own address of the same family as `address`.
    pub fn like(&self, address: Address) -> Option<Address> {
        if address.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}

impl Network {
    /// Source of an ICMP error about a packet to `dst`: the appliance's own address, else the VIP, for which it
    /// speaks. `None` for a packet that came by a route, whose destination is somebody else's.
    pub fn error_source(&self, dst: Address) -> Option<Address> {
        self.own.like(dst).or_else(|| self.rules.is_vip(dst).then_some(dst))
    }
}

/// Link of a network: a port, untagged or in a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkLink {
    /// Network whose frames come by the link.
    pub network: NetworkId,
    /// Port of the link.
    pub port: PortId,
    /// VLAN whose tag the link's frames have, 1 to 4094; none if they are untagged.
    pub vlan: Option<u16>,
}

/// Networks of a snapshot, and the one that each frame is of.
#[derive(Clone, Debug, Default)]
pub struct Networks {
    // In its place, so that it costs no further read.
    first: Network,
    others: Box<[Network]>,
    ingress: Ingress,
}

impl Networks {
    /// Sole network, of which every frame is.
    pub fn one(network: Network) -> Self {
        Self { first: network, others: Box::default(), ingress: Ingress::default() }
    }

    /// Networks, whose indices are their numbers, and the way of frames to them.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(networks: impl IntoIterator<Item = Network>, ingress: Ingress) -> Self {
        let mut networks = networks.into_iter();
        let first = networks.next().expect("an appliance is in one network at least");
        Self { first, others: networks.collect(), ingress }
    }

    /// First network, and the only one of nearly all appliances.
    #[inline]
    pub fn first(&self) -> &Network {
        &self.first
    }

    /// Network with this number.
    ///
    /// # Panics
    /// If there is none.
    #[inline]
    pub fn get(&self, id: NetworkId) -> &Network {
        match usize::from(id.0).checked_sub(1) {
            None => &self.first,
            Some(index) => &self.others[index],
        }
    }

    /// All networks, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Network> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Way of frames to their networks.
    pub fn ingress(&self) -> &Ingress {
        &self.ingress
    }

    /// Networks of the frames that come by a port.
    #[inline]
    pub(crate) fn of_port(&self, port: PortId) -> OfPort<'_> {
        let Some(ports) = &self.ingress.ports else { return OfPort::One(&self.first) };
        match ports.get(usize::from(port.0)) {
            Some(PortNetworks::One(id)) => OfPort::One(self.get(*id)),
            Some(PortNetworks::ByTag(by_tag)) => OfPort::ByTag(by_tag),
            None => OfPort::ByTag(&NO_NETWORK),
        }
    }
}

/// Networks of the frames that come by one port.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OfPort<'n> {
    /// All frames are of this one.
    One(&'n Network),
    /// Frames of each tag, and those of none, are of one of their own, or of none.
    ByTag(&'n ByTag),
}

/// Way of frames to the networks that they are of.
#[derive(Clone, Debug, Default)]
pub struct Ingress {
    /// By [`PortId`]; none if every frame is of the first network. Snapshots share it.
    ports: Option<Arc<[PortNetworks]>>,
}

#[derive(Debug)]
enum PortNetworks {
    One(NetworkId),
    ByTag(Box<ByTag>),
}

impl Ingress {
    /// Way of frames to the networks of these links. Without any, every frame is of the first network.
    pub fn new(links: &[NetworkLink]) -> Self {
        let Some(last) = links.iter().map(|link| link.port).max() else { return Self::default() };
        let of_port = |port| {
            let own: Vec<_> = links.iter().filter(|link| link.port == PortId(port)).collect();
            match own[..] {
                [&NetworkLink { network, vlan: None, .. }] => PortNetworks::One(network),
                _ => PortNetworks::ByTag(Box::new(ByTag::new(&own))),
            }
        };
        Self { ports: Some((0..=last.0).map(of_port).collect()) }
    }

    /// Network of a frame that came by a port; none if it is of no network.
    pub fn network_of(&self, port: PortId, frame: &[u8]) -> Option<NetworkId> {
        match self.ports.as_ref().map(|ports| ports.get(usize::from(port.0))) {
            None => Some(NetworkId::FIRST),
            Some(Some(PortNetworks::One(id))) => Some(*id),
            Some(Some(PortNetworks::ByTag(by_tag))) => by_tag.get(frame).ok(),
            Some(None) => None,
        }
    }
}

/// Networks of one port by the VLAN that a frame's tag names; by 0 that of frames without a tag, or with one that has
/// nothing but a priority.
pub(crate) struct ByTag([u8; VLANS]);

/// Number of VLANs that a tag can name.
const VLANS: usize = 1 << 12;

/// Entry of a VLAN that is no network.
const NONE: u8 = u8::MAX;

/// Networks of a port that has none.
static NO_NETWORK: ByTag = ByTag([NONE; VLANS]);

impl ByTag {
    fn new(links: &[&NetworkLink]) -> Self {
        let mut networks = [NONE; VLANS];
        for link in links {
            networks[usize::from(link.vlan.unwrap_or(0)) % VLANS] = link.network.0;
        }
        Self(networks)
    }

    /// Network of a frame.
    ///
    /// # Errors
    /// The verdict on a frame that is of no network, or ends in its header.
    #[inline]
    pub(crate) fn get(&self, frame: &[u8]) -> Result<NetworkId, Verdict> {
        let vlan = ethernet::vlan(frame).ok_or(Verdict::Drop(DropReason::MalformedEthernet))?;
        match self.0[usize::from(vlan) % VLANS] {
            NONE => Err(Verdict::Drop(DropReason::NoNetwork)),
            id => Ok(NetworkId(id)),
        }
    }
}

impl fmt::Debug for ByTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.iter().enumerate().filter(|(_, network)| **network != NONE);
        f.debug_map().entries(entries).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(network: u8, port: u8, vlan: Option<u16>) -> NetworkLink {
        NetworkLink { network: NetworkId(network), port: PortId(port), vlan }
    }

    fn frame(tags: &[u8]) -> Vec<u8> {
        [&[2; 12], tags, &[0x08, 0x00], &[0; 46]].concat()
    }

    const TAG_100: [u8; 4] = [0x81, 0x00, 0x60, 100];
    const TAG_7: [u8; 4] = [0x81, 0x00, 0x00, 7];
    const PRIORITY: [u8; 4] = [0x81, 0x00, 0xa0, 0x00];

    #[test]
    fn a_frame_is_of_the_network_of_its_port_and_tag() {
        let ingress =
            Ingress::new(&[link(0, 0, None), link(1, 2, Some(100)), link(2, 2, None), link(3, 3, Some(100))]);
        let service_tag = [0x88, 0xa8, 0x00, 100];
        let two_tags = [TAG_100, TAG_7].concat();
        let rows: [(&str, u8, &[u8], Option<u8>); 13] = [
            ("a port of one network", 0, &[], Some(0)),
            ("and whatever tag comes there", 0, &TAG_7, Some(0)),
            ("and two of them", 0, &two_tags, Some(0)),
            ("a port of no network", 1, &[], None),
            ("a port that there is not", 4, &[], None),
            ("a VLAN, whatever its priority", 2, &TAG_100, Some(1)),
            ("the same VLAN of another port", 3, &TAG_100, Some(3)),
            ("no tag", 2, &[], Some(2)),
            ("a priority without a VLAN", 2, &PRIORITY, Some(2)),
            ("a VLAN that is no network", 2, &TAG_7, None),
            ("no tag where all networks have one", 3, &[], None),
            ("a service tag", 2, &service_tag, None),
            ("a second tag", 2, &two_tags, None),
        ];
        for (claim, port, tags, network) in rows {
            let found = ingress.network_of(PortId(port), &frame(tags));
            assert_eq!(found, network.map(NetworkId), "{claim}");
        }
    }

    #[test]
    fn without_links_every_frame_is_of_the_first_network() {
        let ingress = Ingress::new(&[]);
        for tags in [&[][..], &TAG_100, &[TAG_100, TAG_7].concat()] {
            assert_eq!(ingress.network_of(PortId(9), &frame(tags)), Some(NetworkId::FIRST));
        }
    }

    #[test]
    fn a_frame_that_ends_in_its_header_is_malformed() {
        let by_tag = ByTag::new(&[&link(0, 0, Some(100))]);
        for len in 0..18 {
            let verdict = by_tag.get(&frame(&TAG_100)[..len]);
            assert_eq!(verdict, Err(Verdict::Drop(DropReason::MalformedEthernet)), "{len}");
        }
    }
}
