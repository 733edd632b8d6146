//! ICMP errors: those that come in go where the packet goes that they quote; those that go out say that a packet is
//! too big for the tunnel.

use zerocopy::IntoBytes;

use crate::address::Address;
use crate::flow::{Flow, Fragment};
use crate::frame::Frame;
use crate::ingress::NetworkId;
use crate::packet::{self, Packet};
use crate::time::Tick;
use crate::wire::ethernet;
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::{checksum, icmp, protocol};

/// Flow, seen from the client, of the packet that an ICMP error quotes.
///
/// A backend answers its client directly, from the VIP; so the packet that an error on its way to the VIP quotes
/// went from the VIP to the client, and turned around it names the client's flow. `None` where the quote is too
/// short, or is of no packet that the error's receiver can have sent.
pub fn quoted_flow(frame: &[u8], packet: &Packet) -> Option<Flow> {
    let start = usize::from(packet.l4_offset) + icmp::HEADER_LEN;
    let end = usize::from(packet.l3_offset) + packet.l3_len as usize;
    let quoted = packet::parse_quote(frame.get(start..end)?, packet.is_ipv4)?;
    (quoted.src == packet.flow.dst).then_some(Flow {
        src: quoted.dst,
        dst: quoted.src,
        src_port: quoted.dst_port,
        dst_port: quoted.src_port,
        ..quoted
    })
}

/// True if an ICMP error may answer the packet in `frame`: not one that is an error itself, a later fragment, or from
/// a sender that names no single host (RFC 1122, section 3.2.2; RFC 4443, section 2.4).
pub fn may_answer(frame: &[u8], packet: &Packet) -> bool {
    !packet.icmp_error && packet.flow.fragment != Fragment::Later && !ethernet::source(frame).is_group()
}

/// Turns `frame` into the answer to its sender that the packet in it is too big for `mtu`.
///
/// Fragmentation needed (RFC 1191) or packet too big (RFC 8201), from `own`, to a packet that [`may_answer`] allows it
/// for. Returns false, with the frame in an unspecified state, for want of headroom.
pub fn answer_too_big<F: Frame>(frame: &mut F, packet: &Packet, own: Address, mtu: usize) -> bool {
    let offset = usize::from(packet.l3_offset);
    let client = packet.flow.src;
    let (header_len, longest) = if packet.is_ipv4 {
        // RFC 1812, section 4.3.2.3: as much of the packet as fits a datagram of 576 bytes.
        (ipv4::HEADER_LEN + icmp::HEADER_LEN, 576)
    } else {
        // RFC 4443, section 2.4(c): as much as fits the smallest MTU.
        (ipv6::HEADER_LEN + icmp::HEADER_LEN, ipv6::MIN_MTU)
    };
    let quote = (packet.l3_len as usize).min(longest - header_len);
    frame.truncate(offset + quote);
    if !frame.prepend(header_len) {
        return false;
    }
    let bytes = frame.bytes_mut();
    bytes.copy_within(header_len..header_len + offset, 0);
    let (sender, receiver) = (ethernet::source(bytes), ethernet::destination(bytes));
    ethernet::set_addresses(bytes, sender, receiver);
    if packet.is_ipv4 {
        write_ipv4(&mut bytes[offset..], own, client, mtu as u16);
    } else {
        write_ipv6(&mut bytes[offset..], own, client, mtu as u32);
    }
    true
}

fn write_ipv4(bytes: &mut [u8], own: Address, client: Address, mtu: u16) {
    let mut header = Ipv4Header {
        version_ihl: 0x45,
        traffic_class: NETWORK_CONTROL,
        total_len: (bytes.len() as u16).into(),
        id: 0.into(),
        flags_offset: ipv4::DONT_FRAGMENT.into(),
        ttl: 64,
        protocol: protocol::ICMP,
        checksum: 0.into(),
        src: own.v4_bytes(),
        dst: client.v4_bytes(),
    };
    header.checksum.set(checksum::finish(checksum::sum(header.as_bytes())));
    let (ip, message) = bytes.split_at_mut(ipv4::HEADER_LEN);
    ip.copy_from_slice(header.as_bytes());
    message[..icmp::HEADER_LEN].fill(0);
    message[0] = icmp::UNREACHABLE;
    message[1] = icmp::FRAGMENTATION_NEEDED;
    message[6..8].copy_from_slice(&mtu.to_be_bytes());
    let sum = checksum::finish(checksum::sum(message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

fn write_ipv6(bytes: &mut [u8], own: Address, client: Address, mtu: u32) {
    let length = bytes.len() - ipv6::HEADER_LEN;
    let header = Ipv6Header {
        version_class_label: (6 << 28 | u32::from(NETWORK_CONTROL) << 20).into(),
        payload_len: (length as u16).into(),
        next_header: protocol::ICMPV6,
        hop_limit: 64,
        src: own.v6_bytes(),
        dst: client.v6_bytes(),
    };
    let (ip, message) = bytes.split_at_mut(ipv6::HEADER_LEN);
    ip.copy_from_slice(header.as_bytes());
    message[..icmp::HEADER_LEN].fill(0);
    message[0] = icmp::V6_PACKET_TOO_BIG;
    message[4..8].copy_from_slice(&mtu.to_be_bytes());
    let pseudo = checksum::sum(&ip[8..]) + length as u32 + u32::from(protocol::ICMPV6);
    let sum = checksum::finish(pseudo + checksum::sum(message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
}

/// RFC 1812, section 4.3.2.5: errors carry precedence 6, internetwork control.
const NETWORK_CONTROL: u8 = 0xc0;

/// Limit on the ICMP errors that one worker sends in a network (RFC 1812, section 4.3.2.8; RFC 4443, section 2.4(f)).
#[derive(Debug, Default)]
pub struct ErrorBudget {
    second: Tick,
    sent: u32,
}

impl ErrorBudget {
    /// Takes one error out of `limit` for the second `now`; false if none is left.
    pub fn take(&mut self, now: Tick, limit: u32) -> bool {
        if self.second != now {
            *self = Self { second: now, sent: 0 };
        }
        let left = self.sent < limit;
        self.sent += u32::from(left);
        left
    }
}

/// Budgets of one worker for the ICMP errors of each network: what happens in one leaves those of the others alone.
#[derive(Debug)]
pub struct ErrorBudgets([ErrorBudget; NetworkId::NUMBERS]);

impl ErrorBudgets {
    /// Takes one error out of `limit` for a network and the second `now`; false if none is left.
    pub fn take(&mut self, network: NetworkId, now: Tick, limit: u32) -> bool {
        self.0[usize::from(network.0) % NetworkId::NUMBERS].take(now, limit)
    }
}

impl Default for ErrorBudgets {
    fn default() -> Self {
        Self(std::array::from_fn(|_| ErrorBudget::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_full_again_with_the_next_second() {
        let mut budget = ErrorBudget::default();
        let taken =
            |budget: &mut ErrorBudget, second| (0..5).filter(|_| budget.take(Tick(second), 3)).count();
        assert_eq!(taken(&mut budget, 0), 3);
        assert_eq!(taken(&mut budget, 0), 0);
        assert_eq!(taken(&mut budget, 1), 3);
        assert!(!ErrorBudget::default().take(Tick(9), 0));
    }
}
