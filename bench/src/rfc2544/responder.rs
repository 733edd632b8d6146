//! Answers to the device's questions for neighbours: every address beyond a port of the tester is the tester's.
//!
//! A device asks for the MAC addresses of backends, or of the routers before their tunnels' ends, and delivers nothing
//! until it is answered (RFC 2544, appendix C.2.3 and C.2.4).

use guideway_dataplane::wire::checksum;
use guideway_dataplane::wire::ethernet::MacAddress;

const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// Ethernet and IPv4 addresses of 6 and 4 bytes.
const ARP_KIND: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const REQUEST: [u8; 2] = [0, 1];
const REPLY: [u8; 2] = [0, 2];

/// Neighbour solicitation and advertisement (RFC 4861).
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const ICMPV6: u8 = 58;

/// Makes the answer to a question for a neighbour, from the port that has this MAC address; none to another frame, nor to
/// one that only looks whether an address is in use.
pub(super) fn answer(frame: &[u8], own: MacAddress) -> Option<Vec<u8>> {
    match frame.get(12..14)?.try_into().ok()? {
        ARP => answer_arp(frame, own),
        IPV6 => answer_solicitation(frame, own),
        _ => None,
    }
}

fn answer_arp(frame: &[u8], own: MacAddress) -> Option<Vec<u8>> {
    let request = frame.get(14..42)?;
    let (asker, asking, target) = (&request[8..14], &request[14..18], &request[24..28]);
    if request[..6] != ARP_KIND || request[6..8] != REQUEST || asking == [0; 4] || asking == target {
        return None;
    }
    Some(arp(own, asker, REPLY, (target, asking)))
}

/// Makes an ARP message of 60 bytes from one protocol address to another.
fn arp(
    own: MacAddress,
    to: &[u8],
    operation: [u8; 2],
    (from_address, to_address): (&[u8], &[u8]),
) -> Vec<u8> {
    let target = if operation == REQUEST { &[0; 6] } else { to };
    let parts = [to, &own.0, &ARP, &ARP_KIND, &operation, &own.0, from_address, target, to_address, &[0; 18]];
    parts.concat()
}

/// Makes a question for the MAC address of an IPv4 address.
#[cfg(feature = "dpdk")]
pub(super) fn question(own: MacAddress, own_address: [u8; 4], asked: [u8; 4]) -> Vec<u8> {
    arp(own, &[0xff; 6], REQUEST, (&own_address, &asked))
}

/// Reads the MAC address out of the answer to [`question`].
#[cfg(feature = "dpdk")]
pub(super) fn answered(frame: &[u8], asked: [u8; 4]) -> Option<MacAddress> {
    let reply = frame.get(14..42)?;
    let is_ours = frame[12..14] == ARP && reply[6..8] == REPLY && reply[14..18] == asked;
    is_ours.then(|| MacAddress(reply[8..14].try_into().expect("six bytes")))
}

fn answer_solicitation(frame: &[u8], own: MacAddress) -> Option<Vec<u8>> {
    let packet = frame.get(14..14 + 40 + 24)?;
    let (asker, target) = (&packet[8..24], &packet[48..64]);
    // Hop limit 255: it comes from the link.
    if packet[6..8] != [ICMPV6, 255] || packet[40] != SOLICITATION || *asker == [0; 16] {
        return None;
    }
    // Solicited, and to be preferred to what was known.
    let mut message = [&[ADVERTISEMENT, 0, 0, 0, 0x60, 0, 0, 0], target, &[2, 1], &own.0].concat();
    let len = message.len() as u32;
    let pseudo_header = checksum::sum(target) + checksum::sum(asker) + len + u32::from(ICMPV6);
    let sum = checksum::finish(pseudo_header + checksum::sum(&message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let header = [0x60, 0, 0, 0, 0, len as u8, ICMPV6, 255];
    Some([&frame[6..12], &own.0, &IPV6, &header, target, asker, &message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddress = MacAddress([2, 0, 0, 0, 0, 9]);
    const DEVICE: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

    #[test]
    fn every_ipv4_address_is_the_testers() {
        let request = arp(DEVICE, &[0xff; 6], REQUEST, (&[10, 0, 0, 1], &[10, 0, 0, 7]));
        assert_eq!(request.len(), 60);
        let reply = answer(&request, OWN).expect("an answer");
        assert_eq!(reply, arp(OWN, &DEVICE.0, REPLY, (&[10, 0, 0, 7], &[10, 0, 0, 1])));
        assert_eq!(answer(&reply, OWN), None);
        for asking in [[0; 4], [10, 0, 0, 7]] {
            assert_eq!(answer(&arp(DEVICE, &[0xff; 6], REQUEST, (&asking, &[10, 0, 0, 7])), OWN), None);
        }
    }

    #[test]
    fn every_ipv6_address_is_the_testers() {
        let (asker, target) = ([0x20; 16], [0x30; 16]);
        let solicitation = |asker: [u8; 16]| {
            let message = [&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..], &target, &[1, 1], &DEVICE.0].concat();
            let header = [0x60, 0, 0, 0, 0, 32, ICMPV6, 255];
            [&[0x33; 6], &DEVICE.0[..], &IPV6, &header, &asker, &[0xff; 16], &message].concat()
        };
        let advertisement = answer(&solicitation(asker), OWN).expect("an answer");
        assert_eq!(advertisement[..14], [&DEVICE.0[..], &OWN.0, &IPV6].concat());
        assert_eq!(advertisement[22..54], [target, asker].concat());
        assert_eq!((advertisement[54], &advertisement[62..78]), (ADVERTISEMENT, &target[..]));
        assert_eq!(advertisement[78..], [&[2, 1][..], &OWN.0].concat());
        let sum = checksum::sum(&advertisement[22..54]) + 32 + u32::from(ICMPV6);
        assert_eq!(checksum::finish(sum + checksum::sum(&advertisement[54..])), 0);
        assert_eq!(answer(&solicitation([0; 16]), OWN), None);
    }

    #[test]
    fn other_frames_have_no_answer() {
        for len in 0..100 {
            assert_eq!(answer(&vec![0; len], OWN), None);
            let mut cut = vec![0; len];
            for kind in [ARP, IPV6] {
                if let Some(at) = cut.get_mut(12..14) {
                    at.copy_from_slice(&kind);
                }
                assert_eq!(answer(&cut, OWN), None, "{len}");
            }
        }
    }

    #[cfg(feature = "dpdk")]
    #[test]
    fn the_device_is_asked_for_its_address() {
        let asked = question(OWN, [10, 0, 0, 2], [10, 0, 0, 1]);
        let reply = answer(&asked, DEVICE).expect("an answer");
        assert_eq!(answered(&reply, [10, 0, 0, 1]), Some(DEVICE));
        assert_eq!(answered(&reply, [10, 0, 0, 2]), None);
        assert_eq!(answered(&asked, [10, 0, 0, 1]), None);
    }
}
