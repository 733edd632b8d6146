//! Ways into the appliance: the network that a frame is of, by the port and the VLAN that it came by.
//!
//! ```text
//! one network           every frame, whatever its tag ──────────────▶ first
//! a port of one         every frame that came by the port ──────────▶ its network
//! a port with VLANs     tag (or none, or one of priority alone) ────▶ network, or none: dropped
//! ```

use std::fmt;
use std::sync::Arc;

use crate::egress::PortId;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ethernet;

/// Largest number of networks of an appliance.
pub const MAX_NETWORKS: usize = 64;

/// Number of a network, which it keeps for its life; less than [`NetworkId::NUMBERS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub u8);

impl NetworkId {
    /// Number of the first network of a configuration that follows on no other.
    pub const FIRST: Self = Self(0);

    /// Count of the numbers that a network can have: enough for as many networks as there may be, and those before them.
    pub const NUMBERS: usize = 2 * MAX_NETWORKS;
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

/// Way of frames to the networks that they are of.
#[derive(Clone, Debug, Default)]
pub struct Ingress {
    /// Networks by port and VLAN, shared by snapshots; None if every frame is of the sole network.
    ports: Option<Arc<Ports>>,
    sole: NetworkId,
}

#[derive(Debug)]
struct Ports {
    /// By [`PortId`]; none for a port that no link is on.
    listed: Box<[Option<PortNetworks>]>,
    /// Networks of all other ports: none.
    others: PortNetworks,
}

/// Networks of the frames that come by one port.
#[derive(Debug)]
pub(crate) enum PortNetworks {
    /// All frames are of this one.
    One(NetworkId),
    /// Frames of each tag, and those of none, are of one of their own, or of none.
    ByTag(Box<ByTag>),
}

impl Ingress {
    /// Way of every frame to a network that is the only one.
    pub fn to_sole(network: NetworkId) -> Self {
        Self { ports: None, sole: network }
    }

    /// Way of frames to the networks of these links. Without any, every frame is of a sole network, [`NetworkId::FIRST`].
    pub fn new(links: &[NetworkLink]) -> Self {
        let Some(last) = links.iter().map(|link| link.port).max() else { return Self::default() };
        let of_port = |port| {
            let own: Vec<_> = links.iter().filter(|link| link.port == PortId(port)).collect();
            match own[..] {
                [] => None,
                [&NetworkLink { network, vlan: None, .. }] => Some(PortNetworks::One(network)),
                _ => Some(PortNetworks::ByTag(Box::new(ByTag::new(&own)))),
            }
        };
        let listed = (0..=last.0).map(of_port).collect();
        Self {
            ports: Some(Arc::new(Ports { listed, others: PortNetworks::ByTag(Box::new(ByTag::new(&[]))) })),
            ..Self::default()
        }
    }

    /// Network of a frame that came by a port; none if it is of no network.
    pub fn network_of(&self, port: PortId, frame: &[u8]) -> Option<NetworkId> {
        match self.of_port(port) {
            None => Some(self.sole),
            Some(PortNetworks::One(id)) => Some(*id),
            Some(PortNetworks::ByTag(by_tag)) => by_tag.get(frame).ok(),
        }
    }

    /// Networks of a port; none if every frame is of the sole one.
    #[inline]
    pub(crate) fn of_port(&self, port: PortId) -> Option<&PortNetworks> {
        let Ports { listed, others } = self.ports.as_deref()?;
        Some(listed.get(usize::from(port.0)).and_then(Option::as_ref).unwrap_or(others))
    }
}

/// Networks of one port by the VLAN that a frame's tag names; by 0 that of frames without a tag, or with one that has
/// nothing but a priority.
pub(crate) struct ByTag([u8; VLANS]);

/// Number of VLANs that a tag can name.
const VLANS: usize = 1 << 12;

/// Entry of a VLAN that is no network.
const NONE: u8 = u8::MAX;

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
    fn without_links_every_frame_is_of_the_sole_network() {
        let ingress = Ingress::new(&[]);
        for tags in [&[][..], &TAG_100, &[TAG_100, TAG_7].concat()] {
            assert_eq!(ingress.network_of(PortId(9), &frame(tags)), Some(NetworkId::FIRST));
            let sole = Ingress::to_sole(NetworkId(7));
            assert_eq!(sole.network_of(PortId(9), &frame(tags)), Some(NetworkId(7)));
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
