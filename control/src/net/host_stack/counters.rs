//! The counters of the host stack.

/// The kind of a received frame; every frame is of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// ARP that asks for an address of the appliance, or tells of a neighbour that it watches.
    Arp,
    /// Neighbour discovery that asks for an address of the appliance, or tells of a neighbour that it watches.
    Ndp,
    /// The query of a router or a switch for the IPv6 groups that the appliance listens to (MLDv2).
    Mld,
    /// An echo request to an address of the appliance or to a VIP.
    Echo,
    /// Any other packet to an address of the appliance itself, such as the answer to a health probe.
    OtherOwn,
    /// Any other packet to a VIP: no forwarding rule took it.
    UnservedVip,
    /// A frame that concerns neither the appliance's addresses nor its neighbours.
    NotForUs,
    /// A frame whose VLAN tags are of none of the port's links.
    UnknownVlan,
    /// A frame that is cut short, has a wrong checksum, or breaks the rules of its protocol.
    Malformed,
    /// The claim of another host to an address that the appliance answers for.
    AddressConflict,
    /// A packet from one of the appliance's own addresses, which another host has sent: it is forged, or goes round in a loop.
    OwnSource,
}

impl FrameKind {
    /// Every kind, in the order of the counters.
    pub const ALL: [Self; 11] = [
        Self::Arp,
        Self::Ndp,
        Self::Mld,
        Self::Echo,
        Self::OtherOwn,
        Self::UnservedVip,
        Self::NotForUs,
        Self::UnknownVlan,
        Self::Malformed,
        Self::AddressConflict,
        Self::OwnSource,
    ];

    /// The stable word that metrics and tools show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Arp => "arp",
            Self::Ndp => "ndp",
            Self::Mld => "mld",
            Self::Echo => "echo",
            Self::OtherOwn => "other_own",
            Self::UnservedVip => "unserved_vip",
            Self::NotForUs => "nobodys",
            Self::UnknownVlan => "unknown_vlan",
            Self::Malformed => "malformed",
            Self::AddressConflict => "address_conflict",
            Self::OwnSource => "own_source",
        }
    }
}

/// The frames that the host stack received, sent and withheld.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that came in, by [`FrameKind`].
    pub received: [u64; FrameKind::ALL.len()],
    /// Questions and echo requests that were answered.
    pub answered: u64,
    /// Questions for a VIP that were not answered, as the operator set it.
    pub withheld: u64,
    /// Questions, queries and echo requests that were not answered, for the limit of answers in a second.
    pub limited: u64,
    /// Questions that were sent to neighbours.
    pub probes: u64,
    /// Announcements that were sent.
    pub announcements: u64,
    /// Announcements that defended an address which another host had claimed.
    pub defences: u64,
    /// Neighbours whose MAC address has changed.
    pub neighbour_changes: u64,
    /// Claims to a neighbour's address that were refused, as the known MAC address answered.
    pub refused_claims: u64,
    /// Reports of the IPv6 groups that the appliance listens to that were sent.
    pub group_reports: u64,
    /// Frames of the appliance's own that were lost because too many waited to be sent.
    pub queue_full: u64,
}

impl Counters {
    /// Adds the counters of another network's host stack.
    pub fn add(&mut self, other: &Self) {
        self.received.iter_mut().zip(&other.received).for_each(|(sum, count)| *sum += count);
        self.answered += other.answered;
        self.withheld += other.withheld;
        self.limited += other.limited;
        self.probes += other.probes;
        self.announcements += other.announcements;
        self.defences += other.defences;
        self.neighbour_changes += other.neighbour_changes;
        self.refused_claims += other.refused_claims;
        self.group_reports += other.group_reports;
        self.queue_full += other.queue_full;
    }

    /// Frames that came in, of one kind.
    pub fn received(&self, kind: FrameKind) -> u64 {
        self.received[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_find_kinds_by_their_index() {
        assert!(FrameKind::ALL.iter().enumerate().all(|(index, kind)| *kind as usize == index));
    }
}
