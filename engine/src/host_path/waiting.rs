//! Counts of the frames that wait for the control thread, by their sort and, within it, by their sender, and the bounds of both.
//!
//! A sender is known by its MAC address, in one of 256 counts a sort, which senders share where there are more. A router by
//! which a flood comes has its own ARP, neighbour discovery and answers to probes apart from it, as these are of other sorts.
//! A flood from forged addresses fills the bound of its sort, and keeps out others of that sort alone.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use guideway_dataplane::address::Address;

/// Most frames of one sender that wait at once, of a sort that the appliance depends on.
pub const MOST_OF_A_SENDER: u8 = 128;

/// Most frames that wait at once, of a sort that the appliance depends on: about as many as the control thread takes in at a
/// turn.
pub const MOST_OF_A_SORT: u32 = 240;

/// Most frames that wait, of a sort that only others depend on.
const MOST_OF_COURTESY: u32 = 120;

/// Most frames that wait and that nobody answers.
const MOST_OF_OTHERS: u32 = 64;

/// Number of counts that senders have within a sort.
const SENDERS: usize = 256;

/// Number of sorts.
const SORTS: usize = 6;

/// Words of the bits that stand for the appliance's own addresses.
const OWN_WORDS: usize = 16;

const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const TAGS: [u16; 2] = [0x8100, 0x88a8];
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const HOP_BY_HOP: u8 = 0;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Hop limit of neighbour discovery, which shows that no router has passed it on.
const ON_LINK: u8 = 255;

/// Sort of a frame: in a ring of 1,024 frames, none keeps out another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// ARP.
    Arp,
    /// Solicitations and advertisements of neighbours.
    Ndp,
    /// Other packets than ICMP for the appliance's own addresses, such as the answers to probes.
    Own,
    /// ICMP.
    Icmp,
    /// Other ICMPv6, such as pings and queries for groups.
    Icmpv6,
    /// Frames that nobody answers.
    Other,
}

impl Sort {
    /// Most frames of this sort that wait at once; in all, as many as the ring holds.
    const fn most(self) -> u32 {
        match self {
            Self::Arp | Self::Ndp | Self::Own => MOST_OF_A_SORT,
            Self::Icmp | Self::Icmpv6 => MOST_OF_COURTESY,
            Self::Other => MOST_OF_OTHERS,
        }
    }

    /// Most frames of this sort and of one sender that wait at once: about half of all, so that others have room.
    const fn most_of_sender(self) -> u8 {
        match self {
            Self::Arp | Self::Ndp | Self::Own => MOST_OF_A_SENDER,
            Self::Icmp | Self::Icmpv6 => (MOST_OF_COURTESY / 2) as u8,
            Self::Other => (MOST_OF_OTHERS / 2) as u8,
        }
    }
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
    senders: [[AtomicU8; SENDERS]; SORTS],
    sorts: [AtomicU32; SORTS],
    /// Frames of each sort that were not to wait.
    refused: [AtomicU64; SORTS],
    /// Bits of the appliance's own addresses, each at its hash.
    own: [AtomicU64; OWN_WORDS],
}

impl Waiting {
    pub(super) fn new() -> Self {
        Self {
            senders: [const { [const { AtomicU8::new(0) }; SENDERS] }; SORTS],
            sorts: [const { AtomicU32::new(0) }; SORTS],
            refused: [const { AtomicU64::new(0) }; SORTS],
            own: [const { AtomicU64::new(0) }; OWN_WORDS],
        }
    }

    /// Sets the addresses whose packets have a room of their own. Another address that shares a bit with one shares its room.
    pub(super) fn set_own(&self, addresses: impl IntoIterator<Item = Address>) {
        let mut words = [0_u64; OWN_WORDS];
        for address in addresses {
            let (word, bit) = own_bit(low_word(address));
            words[word] |= bit;
        }
        // Relaxed: a frame that is sorted by the addresses of before only waits in another room.
        self.own.iter().zip(words).for_each(|(own, word)| own.store(word, Ordering::Relaxed));
    }

    /// Counts a frame that the ring had no room for.
    pub(super) fn refuse(&self, claim: Claim) {
        self.release(claim);
        self.count_refused(claim.sort);
    }

    /// Frames that found no room.
    pub(super) fn refused(&self) -> u64 {
        self.refused.iter().map(|refused| refused.load(Ordering::Relaxed)).sum()
    }

    /// Frames of ARP and neighbour discovery that found no room.
    pub(super) fn refused_of_neighbours(&self) -> u64 {
        [Sort::Arp, Sort::Ndp].iter().map(|sort| self.refused[*sort as usize].load(Ordering::Relaxed)).sum()
    }

    /// Counts a frame that is to wait; none, which is counted, where too many of its sort, or of its sender in it, do.
    pub(super) fn claim(&self, frame: &[u8]) -> Option<Claim> {
        let claim = Claim { sender: sender_of(frame), sort: self.sort_of(frame) };
        let (sender, sort) = self.counts(claim);
        // Relaxed: a count that is late by a frame only moves a bound by one; the ring carries the frames. The worker alone
        // adds, so none is passed.
        if sender.load(Ordering::Relaxed) >= claim.sort.most_of_sender()
            || sort.load(Ordering::Relaxed) >= claim.sort.most()
        {
            self.count_refused(claim.sort);
            return None;
        }
        sender.fetch_add(1, Ordering::Relaxed);
        sort.fetch_add(1, Ordering::Relaxed);
        Some(claim)
    }

    /// Takes a frame off the counts, as it waits no more.
    pub(super) fn release(&self, claim: Claim) {
        let (sender, sort) = self.counts(claim);
        sender.fetch_sub(1, Ordering::Relaxed);
        sort.fetch_sub(1, Ordering::Relaxed);
    }

    fn counts(&self, Claim { sender, sort }: Claim) -> (&AtomicU8, &AtomicU32) {
        (&self.senders[sort as usize][usize::from(sender)], &self.sorts[sort as usize])
    }

    fn count_refused(&self, sort: Sort) {
        // Relaxed: a reader asks only whether the number moves.
        self.refused[sort as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn is_own(&self, low_word: u64) -> bool {
        let (word, bit) = own_bit(low_word);
        self.own[word].load(Ordering::Relaxed) & bit != 0
    }

    fn sort_of(&self, frame: &[u8]) -> Sort {
        let mut rest = frame.get(12..).unwrap_or_default();
        // Two tags at most are read: a frame that has more is nobody's.
        for _ in 0..2 {
            match rest.first_chunk().map(|bytes| u16::from_be_bytes(*bytes)) {
                Some(tag) if TAGS.contains(&tag) => rest = rest.get(4..).unwrap_or_default(),
                _ => break,
            }
        }
        let Some((ethertype, packet)) = rest.split_first_chunk() else { return Sort::Other };
        let destination = match u16::from_be_bytes(*ethertype) {
            ARP => return Sort::Arp,
            IPV4 if packet.get(9) == Some(&ICMP) => return Sort::Icmp,
            IPV6 => match packet.get(6..8) {
                Some(&[ICMPV6, ON_LINK])
                    if matches!(packet.get(40), Some(&(SOLICITATION | ADVERTISEMENT))) =>
                {
                    return Sort::Ndp;
                }
                // Hop-by-hop options come with queries for groups alone.
                Some(&[ICMPV6 | HOP_BY_HOP, _]) => return Sort::Icmpv6,
                _ => packet.get(32..40).and_then(<[u8]>::first_chunk).copied().map(u64::from_be_bytes),
            },
            IPV4 => {
                packet.get(16..20).and_then(<[u8]>::first_chunk).map(|bytes| low_word(Address::v4(*bytes)))
            }
            _ => None,
        };
        if destination.is_some_and(|address| self.is_own(address)) { Sort::Own } else { Sort::Other }
    }
}

/// Spreads a word over all its bits.
fn hash(word: u64) -> u64 {
    // Fibonacci hashing: addresses of one link or one maker differ in their last bytes alone.
    word.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Index of a sender's count, by the frame's source MAC address; that of zeros for a frame without one.
fn sender_of(frame: &[u8]) -> u8 {
    let mac = frame.get(6..12).and_then(|mac| mac.first_chunk()).unwrap_or(&[0; 6]);
    let [a, b, c, d, e, f] = *mac;
    (hash(u64::from_be_bytes([0, 0, a, b, c, d, e, f])) >> 32) as u8
}

/// Last 64 bits of an address.
fn low_word(Address(bits): Address) -> u64 {
    bits as u64
}

/// Word and bit that stand for an address of the appliance.
fn own_bit(low_word: u64) -> (usize, u64) {
    let index = hash(low_word) >> 54;
    ((index / 64) as usize, 1 << (index % 64))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use guideway_dataplane::egress::PortId;
    use guideway_dataplane::frame::Frame;
    use pcap_fixtures::packet::Packet;

    use super::*;
    use crate::host_path::{HostQueue, WorkerMailbox, host_path};
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

    const OWN: Address = Address::v4([192, 0, 2, 1]);

    /// Ends of a host path of an appliance with an address.
    fn path() -> (HostQueue<Mbuf>, WorkerMailbox<Mbuf>) {
        let (queue, mailbox) = host_path(1_024);
        mailbox.set_own_addresses([OWN]);
        (queue, mailbox)
    }

    fn by(from: u16, packet: &Packet) -> Mbuf {
        mbuf(&packet.clone().macs(mac(from), mac(1)).build())
    }

    /// Answer to a probe.
    fn segment(from: u16) -> Mbuf {
        by(from, &Packet::between("192.0.2.100", "192.0.2.1").tcp(80, 40_000, 0x12))
    }

    #[test]
    fn a_sender_that_floods_leaves_room_to_others_of_its_sort() {
        let (mut queue, mut mailbox) = path();
        let passed = (0..5_000).filter(|_| queue.pass(PortId(0), arp(7))).count();
        assert_eq!(passed, usize::from(MOST_OF_A_SENDER));
        assert!(queue.pass(PortId(0), arp(8)), "a neighbour asks");
        assert!(mailbox.receive().is_some_and(|first| first.frame.bytes()[11] == 7));
        assert!(queue.pass(PortId(0), arp(7)), "one has been taken");
        assert!(!queue.pass(PortId(0), arp(7)));
    }

    #[test]
    fn a_flood_from_many_senders_leaves_room_to_other_sorts() {
        let (mut queue, mut mailbox) = path();
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
    fn a_router_by_which_floods_of_every_sort_come_still_asks_answers_and_carries_answers_to_probes() {
        let ping = Packet::between("198.51.100.7", "192.0.2.100").echo_request(1, 1);
        let ping6 = Packet::between("2001:db8:f::7", "2001:db8::100").echo_request(1, 1).ttl(255);
        let nobodys = Packet::between("198.51.100.7", "192.0.2.100").udp(5_353, 54);
        let answer = Packet::between("fe80::9", "fe80::1").ttl(255).icmp(ADVERTISEMENT, 0, 0);
        let (mut queue, mailbox) = path();
        for flood in [&ping, &ping6, &nobodys] {
            let passed = (0..5_000).filter(|_| queue.pass(PortId(0), by(9, flood))).count();
            assert!((1..=128).contains(&passed), "{passed}");
        }
        assert_eq!(
            mailbox.refused_of_neighbours(),
            0,
            "no word of a neighbour is among the frames that were lost"
        );
        for _ in 0..MOST_OF_A_SENDER {
            assert!(queue.pass(PortId(0), arp(9)));
            assert!(queue.pass(PortId(0), by(9, &answer)));
            assert!(queue.pass(PortId(0), segment(9)));
        }
        assert!(!queue.pass(PortId(0), segment(9)));
        assert_eq!(mailbox.refused_of_neighbours(), 0);
        assert!(!queue.pass(PortId(0), arp(9)) && !queue.pass(PortId(0), by(9, &answer)));
        assert_eq!(mailbox.refused_of_neighbours(), 2);
    }

    #[test]
    fn addresses_that_are_the_appliances_no_more_have_no_room_of_their_own() {
        let (mut queue, mailbox) = path();
        let passed = |queue: &mut HostQueue<Mbuf>| {
            (0..500).filter(|from| queue.pass(PortId(0), segment(*from))).count()
        };
        mailbox.set_own_addresses([Address::v4([192, 0, 2, 2])]);
        assert_eq!(passed(&mut queue), MOST_OF_OTHERS as usize);
        mailbox.set_own_addresses([OWN]);
        assert_eq!(passed(&mut queue), MOST_OF_A_SORT as usize);
    }

    #[test]
    fn the_rooms_of_all_sorts_are_a_ring_of_1024_frames() {
        let sorts = [Sort::Arp, Sort::Ndp, Sort::Own, Sort::Icmp, Sort::Icmpv6, Sort::Other];
        assert_eq!(sorts.map(|sort| sort as usize), [0, 1, 2, 3, 4, 5]);
        assert_eq!(sorts.map(Sort::most).iter().sum::<u32>(), 1_024);
    }

    #[test]
    fn sorts_are_told_beneath_tags_and_in_frames_that_are_cut_short() {
        let echo = Packet::between("192.0.2.7", "192.0.2.1").echo_request(1, 1);
        let solicitation = Packet::between("2001:db8::7", "2001:db8::1").ttl(255).icmp(135, 0, 0);
        let query = Packet::between("fe80::7", "ff02::1").hop_by_hop(&[5, 2, 0, 0, 1, 0]).icmp(130, 0, 0);
        let datagram = Packet::between("192.0.2.7", "192.0.2.1").udp(1, 2);
        let segment = Packet::between("2001:db8::7", "2001:db8::1").tcp(80, 40_000, 0x12);
        let rows = [
            (echo.clone().build(), Sort::Icmp),
            (echo.service_vlan(1).vlan(2).build(), Sort::Icmp),
            (solicitation.clone().vlan(2).build(), Sort::Ndp),
            (solicitation.ttl(254).build(), Sort::Icmpv6),
            (Packet::between("2001:db8::7", "2001:db8::1").ttl(255).echo_request(1, 1).build(), Sort::Icmpv6),
            (query.build(), Sort::Icmpv6),
            (datagram.clone().build(), Sort::Own),
            (datagram.clone().vlan(2).build(), Sort::Own),
            (datagram.build()[..20].to_vec(), Sort::Other),
            (Packet::between("192.0.2.7", "192.0.2.100").udp(1, 2).build(), Sort::Other),
            (segment.clone().build(), Sort::Own),
            (segment.build()[..14 + 39].to_vec(), Sort::Other),
            (Packet::between("2001:db8::7", "2001:db8::100").tcp(80, 40_000, 0x12).build(), Sort::Other),
            (arp(1).bytes().to_vec(), Sort::Arp),
            (vec![0; 13], Sort::Other),
            (Vec::new(), Sort::Other),
            ([&[0; 12][..], &[0x88, 0xcc, 0, 0]].concat(), Sort::Other),
        ];
        let waiting = Waiting::new();
        let Ok(own) = "2001:db8::1".parse::<std::net::IpAddr>() else { panic!("it is an address") };
        waiting.set_own([OWN, Address::from(own)]);
        for (frame, sort) in rows {
            assert_eq!(waiting.sort_of(&frame), sort, "{frame:02x?}");
        }
    }
}
