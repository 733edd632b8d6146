//! No answer of a backend, to a probe's connections or out of the blue, makes the TCP of probes panic or keep more than its
//! bounds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::task::{Context, Waker};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use guideway::net::probe_tcp::{Limits, Peer, ProbeTcp};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::network::OwnAddresses;
use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpPacket, TcpSeqNumber};

const LIMITS: Limits = Limits { connections: 4, queued_packets: 16, mtu: 1_280 };

/// Packets that are remembered, so that an answer may come late.
const REMEMBERED: usize = 8;

/// Length of a TCP header without options.
const HEADER: usize = 20;

/// Runs the target on these bytes.
pub(crate) fn run(bytes: &[u8]) {
    // Bytes that end within a step end the run.
    let _ = play(&mut Unstructured::new(bytes));
}

fn play(bytes: &mut Unstructured<'_>) -> Result<()> {
    let own = OwnAddresses {
        ipv4: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)).into()),
        ipv6: Some(IpAddr::V6(own_ipv6()).into()),
    };
    let mut stack = ProbeTcp::new(own, 7, LIMITS);
    let mut now = Duration::from_secs(1);
    let (mut connections, mut sent) = (Vec::new(), Vec::<Vec<u8>>::new());
    let context = &mut Context::from_waker(Waker::noop());
    while !bytes.is_empty() {
        match bytes.int_in_range(0..=8)? {
            0 => {
                let vip =
                    if bytes.arbitrary()? { IpAddr::V6(own_ipv6()) } else { IpAddr::from([203, 0, 113, 10]) };
                let backend = BackendHandle(bytes.int_in_range(0..=2)?);
                connections.extend(stack.connect(Peer { backend, vip, port: 80 }, now));
            }
            1..=3 if !sent.is_empty() => {
                let packet = answer(bytes.choose(&sent)?, bytes)?;
                stack.handle(&packet, now);
            }
            4 => {
                let length = bytes.int_in_range(0..=255)?.min(bytes.len());
                stack.handle(bytes.bytes(length)?, now);
            }
            5 if !connections.is_empty() => {
                let mut buffer = vec![0; bytes.int_in_range(0..=3_000)?];
                drop(stack.poll_receive(*bytes.choose(&connections)?, &mut buffer, context));
            }
            6 if !connections.is_empty() => {
                let data = vec![b'x'; bytes.int_in_range(0..=2_000)?];
                drop(stack.poll_send(*bytes.choose(&connections)?, &data, context));
            }
            7 if !connections.is_empty() => {
                let id = *bytes.choose(&connections)?;
                drop(stack.poll_established(id, context));
                if bytes.arbitrary()? { stack.close(id) } else { stack.abort(id) }
            }
            _ => {
                now += Duration::from_millis(u64::from(bytes.arbitrary::<u16>()?));
                stack.poll(now);
                let _ = stack.next_poll();
            }
        }
        let mut waited = 0;
        while let Some(outgoing) = stack.transmit() {
            assert!(outgoing.packet.len() <= usize::from(LIMITS.mtu), "a packet longer than the MTU");
            waited += 1;
            sent.push(outgoing.packet);
        }
        assert!(waited <= LIMITS.queued_packets, "{waited} packets waited");
        assert!(stack.connections() <= LIMITS.connections);
        sent.drain(..sent.len().saturating_sub(REMEMBERED));
    }
    Ok(())
}

const fn own_ipv6() -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)
}

/// Answer to a packet of a probe, right but for what the bytes change: flags, numbers, options and data.
fn answer(packet: &[u8], bytes: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (from, to, asked) = match packet[0] >> 4 {
        4 => {
            let ip = Ipv4Packet::new_unchecked(packet);
            (IpAddress::Ipv4(ip.dst_addr()), IpAddress::Ipv4(ip.src_addr()), usize::from(ip.header_len()))
        }
        _ => {
            let ip = Ipv6Packet::new_unchecked(packet);
            (IpAddress::Ipv6(ip.dst_addr()), IpAddress::Ipv6(ip.src_addr()), ip.header_len())
        }
    };
    let asked = TcpPacket::new_unchecked(&packet[asked..]);
    let options = 4 * bytes.int_in_range(0..=10)?;
    let data = bytes.int_in_range(0..=1_400)?;
    let mut segment = vec![0; HEADER + options + data];
    bytes.fill_buffer(&mut segment[HEADER..])?;
    let mut tcp = TcpPacket::new_unchecked(&mut segment[..]);
    tcp.set_src_port(asked.dst_port());
    tcp.set_dst_port(asked.src_port());
    tcp.set_header_len((HEADER + options) as u8);
    tcp.set_seq_number(number(asked.ack_number().0, bytes)?);
    tcp.set_ack_number(number((asked.seq_number() + asked.segment_len()).0, bytes)?);
    tcp.set_window_len(bytes.arbitrary()?);
    let flags = bytes.arbitrary::<u8>()?;
    tcp.set_ack(flags & 1 == 0);
    tcp.set_syn(flags & 6 == 6);
    tcp.set_fin(flags & 24 == 24);
    tcp.set_rst(flags & 96 == 96);
    tcp.set_urg(flags & 128 == 128);
    tcp.fill_checksum(&from, &to);
    Ok(under_ip(from, to, &segment))
}

/// A number that is right, or a little or wholly wrong.
fn number(right: i32, bytes: &mut Unstructured<'_>) -> Result<TcpSeqNumber> {
    Ok(TcpSeqNumber(match bytes.int_in_range(0..=5)? {
        0 => bytes.arbitrary()?,
        1 => right.wrapping_add(i32::from(bytes.arbitrary::<i8>()?)),
        _ => right,
    }))
}

fn under_ip(from: IpAddress, to: IpAddress, segment: &[u8]) -> Vec<u8> {
    match (from, to) {
        (IpAddress::Ipv4(from), IpAddress::Ipv4(to)) => {
            let mut packet = vec![0; 20 + segment.len()];
            let mut ip = Ipv4Packet::new_unchecked(&mut packet[..]);
            ip.set_version(4);
            ip.set_header_len(20);
            ip.set_total_len((20 + segment.len()) as u16);
            ip.set_hop_limit(64);
            ip.set_next_header(IpProtocol::Tcp);
            ip.set_src_addr(from);
            ip.set_dst_addr(to);
            ip.fill_checksum();
            packet[20..].copy_from_slice(segment);
            packet
        }
        (IpAddress::Ipv6(from), IpAddress::Ipv6(to)) => {
            let mut packet = vec![0; 40 + segment.len()];
            let mut ip = Ipv6Packet::new_unchecked(&mut packet[..]);
            ip.set_version(6);
            ip.set_payload_len(segment.len() as u16);
            ip.set_hop_limit(64);
            ip.set_next_header(IpProtocol::Tcp);
            ip.set_src_addr(from);
            ip.set_dst_addr(to);
            packet[40..].copy_from_slice(segment);
            packet
        }
        _ => unreachable!("a packet has addresses of one family"),
    }
}
