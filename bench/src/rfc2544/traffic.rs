//! Test frames of a measurement: templates by target and length, and what makes each frame another.

use std::net::IpAddr;

use guideway_dataplane::wire::checksum;
use guideway_dataplane::wire::ethernet::MacAddress;

use super::client;
use super::frame_len::CHECK_SEQUENCE;
use super::protocol::{Family, Protocol};
use super::stamp::{Position, Stamp};
use super::target::Target;

/// Offset at which an Ethernet header ends.
const L3: usize = 14;

const ACK: u8 = 0x10;
const SYN: u8 = 0x02;

/// Description of a measurement's frames.
#[derive(Clone, Debug)]
pub(super) struct TrafficOptions<'a> {
    pub(super) family: Family,
    pub(super) protocol: Protocol,
    pub(super) targets: &'a [Target],
    /// Lengths of the frames in turns, with the check sequence.
    pub(super) round: &'a [usize],
    pub(super) flows: u32,
    pub(super) source: MacAddress,
    pub(super) destination: MacAddress,
}

/// Maker of a measurement's frames, which knows them again.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    family: Family,
    protocol: Protocol,
    flows: u32,
    /// Templates by target, and then by length.
    templates: Vec<Template>,
    /// Index of the length of each frame of a round.
    round: Vec<usize>,
    /// Bytes of the packets, without repetitions.
    lens: Vec<usize>,
    targets: usize,
    position: Position,
}

/// Frame without client and stamp, and the checksums as far as they are known.
#[derive(Clone, Debug)]
struct Template {
    bytes: Vec<u8>,
    ipv4_sum: u32,
    l4_sum: u32,
}

/// Bytes of headers before the payload.
fn header_lens(family: Family, protocol: Protocol) -> (usize, usize) {
    let l3 = if family == Family::Ipv4 { 20 } else { 40 };
    (l3, if protocol == Protocol::Udp { 8 } else { 20 })
}

fn position(family: Family, protocol: Protocol) -> Position {
    let l4 = L3 + header_lens(family, protocol).0;
    if protocol == Protocol::Udp { Position::in_udp(l4) } else { Position::in_tcp(l4) }
}

/// Bytes of the shortest frame that has room for a stamp, with the check sequence.
pub(super) fn shortest_frame(family: Family, protocol: Protocol) -> usize {
    position(family, protocol).end() + CHECK_SEQUENCE
}

impl Traffic {
    /// Makes the templates.
    ///
    /// # Panics
    /// If there is no target, no length, no flow, or a frame too short for its stamp.
    pub(super) fn new(options: &TrafficOptions<'_>) -> Self {
        let TrafficOptions { family, protocol, targets, round, flows, .. } = *options;
        assert!(!targets.is_empty() && !round.is_empty() && flows > 0, "there is something to send");
        let mut lens: Vec<usize> = round.iter().map(|len| len - CHECK_SEQUENCE).collect();
        lens.sort_unstable();
        lens.dedup();
        let position = position(family, protocol);
        assert!(lens[0] >= position.end(), "every frame has room for its stamp");
        let templates = targets
            .iter()
            .flat_map(|target| lens.iter().map(|len| Template::new(options, target, *len)))
            .collect();
        let index = |len: &usize| lens.binary_search(&(len - CHECK_SEQUENCE)).expect("it is among them");
        let round = round.iter().map(index).collect();
        Self { family, protocol, flows, templates, round, lens, targets: targets.len(), position }
    }

    /// Number of flows.
    pub(super) fn flows(&self) -> u32 {
        self.flows
    }

    fn template(&self, sequence: u64) -> &Template {
        let flow = (sequence % u64::from(self.flows)) as usize;
        let len = self.round[(sequence % self.round.len() as u64) as usize];
        &self.templates[flow % self.targets * self.lens.len() + len]
    }

    /// Bytes that a frame begins as.
    #[inline]
    pub(super) fn unfinished(&self, sequence: u64) -> &[u8] {
        &self.template(sequence).bytes
    }

    /// Gives a frame that began as [`Self::unfinished`] its client, its stamp and its checksums; the first TCP
    /// segments of connections that are new begin them.
    #[inline]
    pub(super) fn finish(&self, frame: &mut [u8], stamp: Stamp, is_new: bool) {
        let template = self.template(stamp.sequence);
        let flow = (stamp.sequence % u64::from(self.flows)) as u32;
        let (address, port) = client::of_flow(flow, self.family);
        let (l3_len, _) = header_lens(self.family, self.protocol);
        let l4 = L3 + l3_len;
        let at = if self.family == Family::Ipv4 { L3 + 12 } else { L3 + 20 };
        frame[at..at + 4].copy_from_slice(&address);
        frame[l4..l4 + 2].copy_from_slice(&port);
        let address_sum = checksum::sum(&address);
        if self.family == Family::Ipv4 {
            let sum = checksum::finish(template.ipv4_sum + address_sum);
            frame[L3 + 10..L3 + 12].copy_from_slice(&sum.to_be_bytes());
        }
        let mut sum = template.l4_sum + address_sum + checksum::sum(&port);
        sum += self.position.write(frame, stamp);
        let checksum_at = match self.protocol {
            Protocol::Udp => l4 + 6,
            Protocol::Tcp => {
                let flags = if is_new && stamp.sequence < u64::from(self.flows) { SYN } else { ACK };
                frame[l4 + 13] = flags;
                sum += u32::from(flags);
                l4 + 16
            }
        };
        let checksum = match checksum::finish(sum) {
            // RFC 768: zero would say that there is no checksum.
            0 if self.protocol == Protocol::Udp => 0xffff,
            checksum => checksum,
        };
        frame[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Reads the stamp of a frame that has come back, in a tunnel or not: the packet is what it ends with. None if it is
    /// no frame with this signature.
    #[inline]
    pub(super) fn read(&self, frame: &[u8], signature: u32) -> Option<Stamp> {
        self.lens.iter().find_map(|len| {
            let shift = frame.len() as isize - *len as isize;
            self.position.read(frame, shift, signature)
        })
    }
}

impl Template {
    /// Makes the template of frames of `len` bytes without a check sequence.
    fn new(options: &TrafficOptions<'_>, target: &Target, len: usize) -> Self {
        let TrafficOptions { family, protocol, source, destination, .. } = *options;
        let (l3_len, _) = header_lens(family, protocol);
        let (l4, l4_len) = (L3 + l3_len, (len - L3 - l3_len) as u16);
        let number = if protocol == Protocol::Udp { 17 } else { 6 };
        let mut bytes = vec![0; len];
        bytes[..6].copy_from_slice(&destination.0);
        bytes[6..12].copy_from_slice(&source.0);
        let [first, _] = client::ends(family);
        let pseudo_header = match (first, target.vip) {
            (IpAddr::V4(_), IpAddr::V4(vip)) => {
                bytes[12..14].copy_from_slice(&[0x08, 0x00]);
                bytes[L3..L3 + 12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, number, 0, 0]);
                bytes[L3 + 2..L3 + 4].copy_from_slice(&(l4_len + 20).to_be_bytes());
                bytes[L3 + 16..L3 + 20].copy_from_slice(&vip.octets());
                checksum::sum(&vip.octets())
            }
            (IpAddr::V6(client), IpAddr::V6(vip)) => {
                bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
                bytes[L3..L3 + 8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, number, 64]);
                bytes[L3 + 4..L3 + 6].copy_from_slice(&l4_len.to_be_bytes());
                // The last four bytes are the flow's.
                bytes[L3 + 8..L3 + 20].copy_from_slice(&client.octets()[..12]);
                bytes[L3 + 24..L3 + 40].copy_from_slice(&vip.octets());
                checksum::sum(&client.octets()[..12]) + checksum::sum(&vip.octets())
            }
            _ => unreachable!("targets are of the frames' family"),
        };
        bytes[l4 + 2..l4 + 4].copy_from_slice(&target.port.to_be_bytes());
        match protocol {
            Protocol::Udp => bytes[l4 + 4..l4 + 6].copy_from_slice(&l4_len.to_be_bytes()),
            Protocol::Tcp => {
                bytes[l4 + 12] = 0x50;
                bytes[l4 + 14..l4 + 16].copy_from_slice(&[0xff, 0xff]);
            }
        }
        let l4_sum = checksum::sum(&bytes[l4..]) + pseudo_header + u32::from(l4_len) + u32::from(number);
        Self { ipv4_sum: checksum::sum(&bytes[L3..L3 + 20]), l4_sum, bytes }
    }
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::packet::Packet;

    use super::*;

    fn traffic(family: Family, protocol: Protocol, round: &[usize]) -> Traffic {
        let vip = |last: u16| match family {
            Family::Ipv4 => IpAddr::from([203, 0, 113, last as u8]),
            Family::Ipv6 => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]),
        };
        let targets = [Target { vip: vip(1), port: 443 }, Target { vip: vip(2), port: 53 }];
        Traffic::new(&TrafficOptions {
            family,
            protocol,
            targets: &targets,
            round,
            flows: 5,
            source: MacAddress([2, 0, 0, 0, 0, 9]),
            destination: MacAddress([2, 0, 0, 0, 0, 1]),
        })
    }

    fn frame(traffic: &Traffic, stamp: Stamp) -> Vec<u8> {
        let mut frame = traffic.unfinished(stamp.sequence).to_vec();
        traffic.finish(&mut frame, stamp, false);
        frame
    }

    /// Checksum of the layer-4 part with its pseudo header, which is zero if the one in it is right.
    fn l4_checksum(frame: &[u8], family: Family) -> u16 {
        let (addresses, number, l4) = match family {
            Family::Ipv4 => (&frame[26..34], frame[23], 34),
            Family::Ipv6 => (&frame[22..54], frame[20], 54),
        };
        let len = (frame.len() - l4) as u32;
        checksum::finish(checksum::sum(addresses) + u32::from(number) + len + checksum::sum(&frame[l4..]))
    }

    #[test]
    fn frames_are_whole_packets_of_their_flow() {
        for family in [Family::Ipv4, Family::Ipv6] {
            for protocol in [Protocol::Udp, Protocol::Tcp] {
                let traffic = traffic(family, protocol, &[shortest_frame(family, protocol), 129, 1518]);
                let mut flows = Vec::new();
                for sequence in 0..30 {
                    let stamp = Stamp { signature: 0xffff_fffe, time: 3 * sequence as u32, sequence };
                    let frame = frame(&traffic, stamp);
                    let packet = Packet::parse(&frame).expect("a packet");
                    assert_eq!(packet.l3_len as usize, frame.len() - L3);
                    assert_eq!(l4_checksum(&frame, family), 0, "{family:?} {protocol:?} {sequence}");
                    if family == Family::Ipv4 {
                        assert_eq!(checksum::finish(checksum::sum(&frame[14..34])), 0);
                    }
                    assert_eq!(traffic.read(&frame, stamp.signature), Some(stamp));
                    assert_eq!(traffic.read(&frame, 1), None);
                    flows.push(packet.flow);
                }
                let ports: Vec<u16> = flows[..5].iter().map(|flow| flow.dst_port).collect();
                assert_eq!(ports, [443, 53, 443, 53, 443], "targets take turns");
                assert!((5..30).all(|sequence| flows[sequence] == flows[sequence % 5]), "flows come round");
                assert!((1..5).all(|flow| flows[flow].src_port != flows[0].src_port));
            }
        }
    }

    #[test]
    fn small_frames_have_room_for_a_stamp_over_ipv4() {
        let least = |family, protocol| shortest_frame(family, protocol);
        assert_eq!([least(Family::Ipv4, Protocol::Udp), least(Family::Ipv4, Protocol::Tcp)], [60, 64]);
        assert_eq!([least(Family::Ipv6, Protocol::Udp), least(Family::Ipv6, Protocol::Tcp)], [80, 84]);
    }

    #[test]
    fn a_frame_is_known_again_in_any_tunnel() {
        let traffic = traffic(Family::Ipv4, Protocol::Tcp, &[64, 570, 1518]);
        for sequence in 0..6 {
            let stamp = Stamp { signature: 7, time: 1, sequence };
            let frame = frame(&traffic, stamp);
            for outer in [20, 24, 32, 40, 48] {
                let delivered = [&frame[..14], &vec![0x45; outer], &frame[14..]].concat();
                assert_eq!(traffic.read(&delivered, 7), Some(stamp), "{outer}");
            }
        }
    }
}
