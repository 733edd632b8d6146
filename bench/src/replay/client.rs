//! Offsets at which a frame names its client, and of the checksums that cover that address.

use guideway_dataplane::flow::{Flow, Fragment};
use guideway_dataplane::icmp_error;
use guideway_dataplane::packet::Packet;
use guideway_dataplane::wire::{checksum, icmp, ipv6};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Address of a client in a frame, and the checksums that cover it, by their offsets.
///
/// An ICMP error belongs to the client of the packet that it quotes, and there the address is the destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    address: usize,
    ipv4_checksum: Option<usize>,
    layer4_checksum: Option<Layer4Checksum>,
    /// Checksum of the ICMP error, if address and checksums are in its quote.
    error_checksum: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layer4Checksum {
    at: usize,
    /// True if a checksum of zero means that there is none (RFC 768).
    optional: bool,
}

impl Client {
    /// Finds the client that decides about the frame, and its flow; None if no well-formed packet names one.
    ///
    /// Only the first `captured` bytes of the frame are real.
    pub(super) fn find(frame: &[u8], captured: usize) -> Option<(Self, Flow)> {
        let packet = Packet::parse(frame).ok()?;
        let l3 = usize::from(packet.l3_offset);
        let l4 = usize::from(packet.l4_offset);
        let end = (l3 + packet.l3_len as usize).min(captured);
        if packet.icmp_error
            && let Some(flow) = icmp_error::quoted_flow(frame, &packet)
        {
            let quote = l4 + icmp::HEADER_LEN;
            let client =
                Self { error_checksum: Some(l4 + 2), ..Self::quoted(frame, quote, end, &packet, &flow) };
            return Some((client, flow));
        }
        let client = Self {
            address: l3 + if packet.is_ipv4 { 12 } else { 8 },
            ipv4_checksum: packet.is_ipv4.then_some(l3 + 10),
            layer4_checksum: layer4_checksum(&packet.flow, l4, end),
            error_checksum: None,
        };
        Some((client, packet.flow))
    }

    fn quoted(frame: &[u8], quote: usize, end: usize, packet: &Packet, flow: &Flow) -> Self {
        if packet.is_ipv4 {
            let header_len = usize::from(frame[quote] & 0x0f) * 4;
            Self {
                address: quote + 16,
                ipv4_checksum: Some(quote + 10),
                layer4_checksum: layer4_checksum(flow, quote + header_len, end),
                error_checksum: None,
            }
        } else {
            // Behind extension headers the checksum is left alone: no router looks into a quote so deep.
            let direct = frame[quote + 6] == flow.protocol;
            Self {
                address: quote + 24,
                ipv4_checksum: None,
                layer4_checksum: direct
                    .then(|| layer4_checksum(flow, quote + ipv6::HEADER_LEN, end))
                    .flatten(),
                error_checksum: None,
            }
        }
    }

    /// Replaces the first bytes of the client's address by `prefix`, of whole 16-bit words, and mends the checksums.
    ///
    /// The checksums stay as right as they were.
    pub(super) fn set(&self, frame: &mut [u8], prefix: &[u8]) {
        let mut change = Change::default();
        for (at, word) in (self.address..).step_by(2).zip(prefix.chunks_exact(2)) {
            change.write(frame, at, u16::from_be_bytes([word[0], word[1]]));
        }
        let of_address = change;
        if let Some(at) = self.ipv4_checksum {
            let updated = of_address.update(word_at(frame, at));
            change.write(frame, at, updated);
        }
        if let Some(Layer4Checksum { at, optional }) = self.layer4_checksum {
            let old = word_at(frame, at);
            if !(optional && old == 0) {
                let updated = of_address.update(old);
                change.write(frame, at, if optional && updated == 0 { 0xffff } else { updated });
            }
        }
        if let Some(at) = self.error_checksum {
            let updated = change.update(word_at(frame, at));
            change.write(frame, at, updated);
        }
    }

    /// First bytes of the client's address.
    pub(super) fn prefix<'f>(&self, frame: &'f [u8], len: usize) -> &'f [u8] {
        &frame[self.address..self.address + len]
    }
}

/// Finds the checksum that covers a flow's addresses, if the header at `offset` has one before `end`.
fn layer4_checksum(flow: &Flow, offset: usize, end: usize) -> Option<Layer4Checksum> {
    let within = match flow.protocol {
        TCP => 16,
        UDP => 6,
        ICMPV6 => 2,
        _ => return None,
    };
    let at = offset + within;
    let has = flow.fragment != Fragment::Later && at + 2 <= end;
    has.then_some(Layer4Checksum { at, optional: flow.protocol == UDP })
}

/// Change of some words, for the checksums that cover them (RFC 1624, eqn. 3).
#[derive(Clone, Copy, Debug, Default)]
struct Change(u32);

impl Change {
    fn write(&mut self, frame: &mut [u8], at: usize, new: u16) {
        self.0 += u32::from(!word_at(frame, at)) + u32::from(new);
        frame[at..at + 2].copy_from_slice(&new.to_be_bytes());
    }

    fn update(self, checksum: u16) -> u16 {
        checksum::finish(u32::from(!checksum) + self.0)
    }
}

fn word_at(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

#[cfg(test)]
mod tests {
    use guideway_engine::capture::CaptureReader;

    use super::*;

    /// True if the checksums of a whole IP packet without extension headers are right, its quote's among them.
    fn is_right(packet: &[u8]) -> bool {
        let version = packet[0] >> 4;
        let (header_len, protocol, addresses) = match version {
            4 => (usize::from(packet[0] & 0x0f) * 4, packet[9], 12..20),
            _ => (40, packet[6], 8..40),
        };
        let layer4 = &packet[header_len..];
        let whole = |bytes: &[u8], pseudo: u32| checksum::finish(checksum::sum(bytes) + pseudo) == 0;
        let pseudo = checksum::sum(&packet[addresses]) + u32::from(protocol) + layer4.len() as u32;
        let header = version == 6 || whole(&packet[..header_len], 0);
        let later = version == 4 && packet[6] & 0x1f | packet[7] != 0;
        let more = version == 4 && packet[6] & 0x20 != 0;
        header
            && (later
                || more
                || match protocol {
                    1 => whole(layer4, 0),
                    UDP => layer4[6..8] == [0, 0] || whole(layer4, pseudo),
                    TCP | ICMPV6 => whole(layer4, pseudo),
                    _ => true,
                })
    }

    #[test]
    fn right_checksums_stay_right() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../pcap-fixtures/captures");
        let (mut rewritten, mut errors) = (0, 0);
        for family in ["icmp-errors", "protocols", "ipv6", "fragments", "link"] {
            for entry in std::fs::read_dir(format!("{folder}/{family}")).expect("a fixture's family") {
                let path = entry.expect("a fixture").path();
                if !path.to_string_lossy().ends_with(".in.pcap") {
                    continue;
                }
                let mut capture = CaptureReader::open(&path).expect("a capture");
                while let Some(record) = capture.next_record().expect("a whole capture") {
                    let mut frame = record.bytes.to_vec();
                    let Ok(packet) = Packet::parse(&frame) else { continue };
                    let (start, end) = (usize::from(packet.l3_offset), packet.l3_len as usize);
                    let Some((client, flow)) = Client::find(&frame, frame.len()) else { continue };
                    if end > frame.len() - start || !is_right(&frame[start..start + end]) {
                        continue;
                    }
                    let v4: [u8; 4] = [40, 1, 2, 3];
                    let v6: [u8; 8] = [0x3f, 0xff, 0, 0, 9, 9, 9, 9];
                    let prefix: &[u8] = if packet.is_ipv4 { &v4 } else { &v6 };
                    client.set(&mut frame, prefix);
                    assert!(is_right(&frame[start..start + end]), "{}: {flow:?}", path.display());
                    assert_eq!(client.prefix(&frame, prefix.len()), prefix);
                    let (_, renamed) = Client::find(&frame, frame.len()).expect("it is still a packet");
                    assert_ne!(renamed.src, flow.src);
                    let unchanged = Flow { src: flow.src, ..renamed };
                    assert_eq!(unchanged, flow, "only the client is another");
                    rewritten += 1;
                    errors += u32::from(client.error_checksum.is_some());
                }
            }
        }
        assert!(rewritten > 50 && errors > 10, "{rewritten}, {errors}");
    }

    #[test]
    fn a_udp_checksum_of_zero_says_still_that_there_is_none() {
        let packet = pcap_fixtures::packet::Packet::between("198.51.100.1", "203.0.113.1").udp(7, 443);
        let mut frame = packet.macs([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 1]).payload_len(18).build();
        frame[40..42].fill(0);
        let (client, _) = Client::find(&frame, frame.len()).expect("a datagram");
        client.set(&mut frame, &[40, 0, 0, 1]);
        assert_eq!(frame[40..42], [0, 0]);
    }
}
