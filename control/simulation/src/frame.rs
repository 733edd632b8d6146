//! Frames as machines read and write them: ARP, neighbour discovery, TCP of probes, by hand and by no code of the appliance.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use pcap_fixtures::packet::Packet;

/// Link-layer address.
pub type Mac = [u8; 6];

/// Address of all machines on a link.
pub const BROADCAST: Mac = [0xff; 6];

/// Question or answer about the link-layer address of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// True for a question.
    pub asks: bool,
    /// Address of the sender; none of a neighbour discovery that has none.
    pub sender: Option<IpAddr>,
    /// Link-layer address of the sender, as the message has it.
    pub sender_mac: Mac,
    /// Address that is asked for.
    pub target: IpAddr,
}

/// IP packet in a frame, as far as machines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ip<'f> {
    /// Source.
    pub source: IpAddr,
    /// Destination.
    pub destination: IpAddr,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Payload.
    pub payload: &'f [u8],
}

/// TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp<'f> {
    /// Port of the sender.
    pub source: u16,
    /// Port of the receiver.
    pub destination: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgment number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Data.
    pub data: &'f [u8],
}

/// Number at an offset.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn v4_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?)))
}

fn v6_at(bytes: &[u8], at: usize) -> Option<IpAddr> {
    Some(IpAddr::V6(Ipv6Addr::from(*bytes.get(at..)?.first_chunk::<16>()?)))
}

/// Destination of a frame.
pub fn destination(frame: &[u8]) -> Option<Mac> {
    frame.first_chunk().copied()
}

/// Source of a frame.
pub fn source(frame: &[u8]) -> Option<Mac> {
    frame.get(6..)?.first_chunk().copied()
}

/// IP packet of a frame without options, tags and extension headers.
pub fn ip(frame: &[u8]) -> Option<Ip<'_>> {
    let packet = frame.get(14..)?;
    match u16_at(frame, 12)? {
        0x0800 => {
            let len = usize::from(u16_at(packet, 2)?);
            let payload = packet.get(20..len)?;
            Some(Ip {
                source: v4_at(packet, 12)?,
                destination: v4_at(packet, 16)?,
                protocol: packet[9],
                payload,
            })
        }
        0x86dd => {
            let len = usize::from(u16_at(packet, 4)?);
            let payload = packet.get(40..40 + len)?;
            Some(Ip {
                source: v6_at(packet, 8)?,
                destination: v6_at(packet, 24)?,
                protocol: packet[6],
                payload,
            })
        }
        _ => None,
    }
}

/// TCP segment in a packet.
pub fn tcp<'f>(ip: &Ip<'f>) -> Option<Tcp<'f>> {
    if ip.protocol != 6 {
        return None;
    }
    let bytes = ip.payload;
    let data = usize::from(*bytes.get(12)? >> 4) * 4;
    Some(Tcp {
        source: u16_at(bytes, 0)?,
        destination: u16_at(bytes, 2)?,
        seq: u32_at(bytes, 4)?,
        ack: u32_at(bytes, 8)?,
        flags: *bytes.get(13)?,
        data: bytes.get(data..)?,
    })
}

/// ARP message or neighbour discovery in a frame.
pub fn resolution(frame: &[u8]) -> Option<Resolution> {
    if u16_at(frame, 12)? == 0x0806 {
        let arp = frame.get(14..)?;
        return Some(Resolution {
            asks: u16_at(arp, 6)? == 1,
            sender: v4_at(arp, 14),
            sender_mac: *arp.get(8..)?.first_chunk()?,
            target: v4_at(arp, 24)?,
        });
    }
    let packet = ip(frame)?;
    let kind = *packet.payload.first()?;
    if packet.protocol != 58 || !(kind == 135 || kind == 136) {
        return None;
    }
    let sender = (!packet.source.is_unspecified()).then_some(packet.source);
    let target = v6_at(packet.payload, 8)?;
    Some(Resolution { asks: kind == 135, sender, sender_mac: source(frame)?, target })
}

/// ARP message, padded as a NIC pads it.
fn arp(operation: u8, to: Mac, from: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    let mut frame =
        [&to[..], &from.0, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation], &from.0, &from.1.octets()].concat();
    frame.extend([&target.0[..], &target.1.octets()].concat());
    frame.resize(60, 0);
    frame
}

/// Answer to a question, from a machine with this link-layer address.
pub fn answer(asked: &Resolution, to: Mac, mac: Mac) -> Option<Vec<u8>> {
    match (asked.target, asked.sender) {
        (IpAddr::V4(target), Some(IpAddr::V4(sender))) => {
            Some(arp(2, to, (mac, target), (asked.sender_mac, sender)))
        }
        (IpAddr::V6(target), sender) => {
            let to_address = sender.map_or_else(|| "ff02::1".to_owned(), |sender| sender.to_string());
            // Solicited where somebody is told, and it overrides.
            let flags = if sender.is_some() { 0x6000_0000 } else { 0x2000_0000 };
            Some(advertisement(target, &to_address, to, mac, flags))
        }
        _ => None,
    }
}

fn advertisement(target: Ipv6Addr, to_address: &str, to: Mac, mac: Mac, flags: u32) -> Vec<u8> {
    let option = [&target.octets()[..], &[2, 1], &mac].concat();
    let packet = Packet::between(&target.to_string(), to_address).macs(mac, to).ttl(255);
    packet.icmp(136, 0, flags).payload(&option).build()
}

/// Gratuitous announcement of an address: to everybody, asked by nobody.
pub fn announcement(address: IpAddr, mac: Mac) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(1, BROADCAST, (mac, address), ([0; 6], address)),
        IpAddr::V6(address) => advertisement(address, "ff02::1", [0x33, 0x33, 0, 0, 0, 1], mac, 0x2000_0000),
    }
}

/// ARP question for an address.
pub fn question(target: Ipv4Addr, from: (Mac, Ipv4Addr)) -> Vec<u8> {
    arp(1, BROADCAST, from, ([0; 6], target))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = [2, 0, 0, 0, 0, 1];
    const B: Mac = [2, 0, 0, 0, 0, 2];

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let asked = resolution(&question(Ipv4Addr::new(192, 0, 2, 2), (A, Ipv4Addr::new(192, 0, 2, 1))))
            .expect("ARP");
        assert!(asked.asks && asked.sender_mac == A && asked.target == IpAddr::from([192, 0, 2, 2]));
        let answered = resolution(&answer(&asked, A, B).expect("of one family")).expect("ARP");
        assert!(!answered.asks && answered.sender_mac == B && answered.sender == Some(asked.target));
    }

    #[test]
    fn segments_are_read_from_both_families() {
        for (from, to) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let frame = Packet::between(from, to).tcp(7, 80, 2).seq(9).payload(b"abc").build();
            let ip = ip(&frame).expect("IP");
            let tcp = tcp(&ip).expect("TCP");
            assert_eq!(
                (tcp.source, tcp.destination, tcp.seq, tcp.flags, tcp.data),
                (7, 80, 9, 2, &b"abc"[..])
            );
        }
    }
}
