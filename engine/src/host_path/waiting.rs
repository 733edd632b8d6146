//! Counts of the frames that wait for the control thread, by their sender and by their sort, and the bounds of both.
//!
//! A sender is known by its MAC address, in one of a few hundred counts that senders share where there are more. A flood
//! from forged addresses fills the bound of its sort, and keeps out others of that sort alone.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Most frames of one sender that wait at once.
pub const MOST_OF_A_SENDER: u32 = 128;

/// Most frames of one sort that wait at once: about as many as the control thread takes in at a turn.
pub const MOST_OF_A_SORT: u32 = 240;

/// Most frames that wait and hold neither ARP nor IP: nobody answers them.
const MOST_OF_OTHERS: u32 = 64;

/// Number of counts that senders have.
const SENDERS: usize = 256;

/// Number of sorts.
const SORTS: usize = 5;

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS: [u16; 2] = [0x8100, 0x88a8];
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;

/// Sort of a frame: in a ring of 1,024 frames, none keeps out another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// ARP.
    Arp,
    /// ICMP.
    Icmp,
    /// ICMPv6, which neighbour discovery and queries for groups are.
    Icmpv6,
    /// Any other IP, such as the answers to probes.
    Ip,
    /// Frames that hold neither.
    Other,
}

/// Counts that a waiting frame is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    sender: u8,
    sort: Sort,
}

/// Counts of the frames that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    senders: [AtomicU32; SENDERS],
    sorts: [AtomicU32; SORTS],
    /// Frames that were not to wait.
    refused: AtomicU64,
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            senders: [const { AtomicU32::new(0) }; SENDERS],
            sorts: [const { AtomicU32::new(0) }; SORTS],
            refused: AtomicU64::new(0),
        }
    }

    /// Counts a frame that found no room.
    pub(super) fn refuse(&self) {
        // Relaxed: a reader asks only whether the number moves.
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames that found no room.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Counts a frame that is to wait; none where too many of its sender or of its sort do.
    pub(super) fn claim(&self, frame: &[u8]) -> Option<Claim> {
        let claim = Claim { sender: sender_of(frame), sort: sort_of(frame) };
        let [sender, sort] = self.counts(claim);
        let most_of_sort = if claim.sort == Sort::Other { MOST_OF_OTHERS } else { MOST_OF_A_SORT };
        // Relaxed: a count that is late by a frame only moves a bound by one; the ring carries the frames. The worker alone
        // adds, so none is passed.
        if sender.load(Ordering::Relaxed) >= MOST_OF_A_SENDER || sort.load(Ordering::Relaxed) >= most_of_sort
        {
            return None;
        }
        sender.fetch_add(1, Ordering::Relaxed);
        sort.fetch_add(1, Ordering::Relaxed);
        Some(claim)
    }

    /// Takes a frame off the counts, as it waits no more.
    pub(super) fn release(&self, claim: Claim) {
        for count in self.counts(claim) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn counts(&self, Claim { sender, sort }: Claim) -> [&AtomicU32; 2] {
        [&self.senders[usize::from(sender)], &self.sorts[sort as usize]]
    }
}

/// Index of a sender's count, by the frame's source MAC address; that of zeros for a frame without one.
fn sender_of(frame: &[u8]) -> u8 {
    let mac = frame.get(6..12).and_then(|mac| mac.first_chunk()).unwrap_or(&[0; 6]);
    let [a, b, c, d, e, f] = *mac;
    // Fibonacci hashing: MAC addresses of one maker differ in their last bytes alone.
    let word = u64::from_be_bytes([0, 0, a, b, c, d, e, f]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (word >> 32) as u8
}

fn sort_of(frame: &[u8]) -> Sort {
    let mut rest = frame.get(12..).unwrap_or_default();
    // Of two tags at most: what has more is nobody's.
    for _ in 0..2 {
        match rest.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) {
            Some(tag) if TAGS.contains(&tag) => rest = rest.get(4..).unwrap_or_default(),
            _ => break,
        }
    }
    let Some((ethertype, packet)) = rest.split_first_chunk() else { return Sort::Other };
    match u16::from_be_bytes(*ethertype) {
        ARP => Sort::Arp,
        IPV4 if packet.get(9) == Some(&ICMP) => Sort::Icmp,
        // Nothing but queries for groups comes with hop-by-hop options.
        IPV6 if matches!(packet.get(6), Some(&(ICMPV6 | HOP_BY_HOP))) => Sort::Icmpv6,
        IPV4 | IPV6 => Sort::Ip,
        _ => Sort::Other,
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use guideway_dataplane::egress::PortId;
    use guideway_dataplane::frame::Frame;
    use pcap_fixtures::packet::Packet;

    use super::*;
    use crate::host_path::host_path;
    use crate::mbuf::Mbuf;

    fn mbuf(bytes: &[u8]) -> Mbuf {
        let mut mbuf = Mbuf::new();
        mbuf.fill(bytes);
        mbuf
    }

    fn mac(number: u16) -> [u8; 6] {
        let [high, low] = number.to_be_bytes();
        [2, 0, 0, 0, high, low]
    }

    fn arp(from: u16) -> Mbuf {
        mbuf(&[&[0xff; 6][..], &mac(from), &[8, 6], &[0; 46]].concat())
    }

    fn segment(from: u16) -> Mbuf {
        let packet = Packet::between("192.0.2.100", "192.0.2.1").tcp(80, 40_000, 0x12);
        mbuf(&packet.macs(mac(from), mac(1)).build())
    }

    #[test]
    fn a_sender_that_floods_leaves_room_to_others_of_its_sort() {
        let (mut queue, mut mailbox) = host_path(1_024);
        let passed = (0..5_000).filter(|_| queue.pass(PortId(0), arp(7))).count();
        assert_eq!(passed, MOST_OF_A_SENDER as usize);
        assert!(queue.pass(PortId(0), arp(8)), "a neighbour asks");
        assert!(mailbox.receive().is_some_and(|first| first.frame.bytes()[11] == 7));
        assert!(queue.pass(PortId(0), arp(7)), "one has been taken");
        assert!(!queue.pass(PortId(0), arp(7)));
    }

    #[test]
    fn a_flood_from_many_senders_leaves_room_to_other_sorts() {
        let (mut queue, mut mailbox) = host_path(1_024);
        let passed = (0..5_000).filter(|number| queue.pass(PortId(0), arp(*number))).count();
        assert_eq!(passed, MOST_OF_A_SORT as usize);
        let packets = (0..5_000).filter(|number| queue.pass(PortId(0), segment(*number))).count();
        assert_eq!(packets, MOST_OF_A_SORT as usize);
        assert_eq!(mailbox.refused(), 2 * (5_000 - u64::from(MOST_OF_A_SORT)));
        let taken = std::iter::from_fn(|| mailbox.receive()).count();
        assert_eq!(taken, 2 * MOST_OF_A_SORT as usize);
        let again = (0..5_000).filter(|number| queue.pass(PortId(0), arp(*number))).count();
        assert_eq!(again, MOST_OF_A_SORT as usize, "counts are as before");
    }

    #[test]
    fn a_frame_that_finds_the_ring_full_is_in_no_count() {
        let (mut queue, mut mailbox) = host_path(2);
        for _ in 0..1_000 {
            queue.pass(PortId(0), arp(7));
        }
        assert_eq!(std::iter::from_fn(|| mailbox.receive()).count(), 2);
        assert!(queue.pass(PortId(0), arp(7)));
    }

    #[test]
    fn sorts_are_told_beneath_tags_and_in_frames_that_are_cut_short() {
        let echo = Packet::between("192.0.2.7", "192.0.2.1").echo_request(1, 1);
        let solicitation = Packet::between("2001:db8::7", "2001:db8::1").icmp(135, 0, 0);
        let query = Packet::between("fe80::7", "ff02::1").hop_by_hop(&[5, 2, 0, 0, 1, 0]).icmp(130, 0, 0);
        let datagram = Packet::between("192.0.2.7", "192.0.2.1").udp(1, 2);
        let rows = [
            (echo.clone().build(), Sort::Icmp),
            (echo.service_vlan(1).vlan(2).build(), Sort::Icmp),
            (solicitation.vlan(2).build(), Sort::Icmpv6),
            (query.build(), Sort::Icmpv6),
            (datagram.clone().build(), Sort::Ip),
            (datagram.build()[..20].to_vec(), Sort::Ip),
            (arp(1).bytes().to_vec(), Sort::Arp),
            (vec![0; 13], Sort::Other),
            (Vec::new(), Sort::Other),
            ([&[0; 12][..], &[0x88, 0xcc, 0, 0]].concat(), Sort::Other),
        ];
        for (frame, sort) in rows {
            assert_eq!(sort_of(&frame), sort, "{frame:02x?}");
        }
    }
}
