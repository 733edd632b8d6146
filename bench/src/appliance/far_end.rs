//! All backends at once, as probes in the path of traffic see them: they accept, and answer with an empty page.
//!
//! Stateless: the appliance's own sequence numbers say what has come and what is missing.

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpProtocol, IpRepr, Ipv4Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, TcpTimestampRepr,
};

/// Length of the Ethernet header.
const ETHERNET: usize = 14;

/// The response to every request.
const PAGE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// The first sequence number of every connection.
const FIRST: i32 = 1;

/// The frame that answers a frame, if it holds a TCP segment that asks for an answer.
pub(super) fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    // Of all other packets, which are many, no more is looked at.
    if frame.get(12..14)? != [8, 0] || *frame.get(ETHERNET + 9)? != u8::from(IpProtocol::Tcp) {
        return None;
    }
    let ip = Ipv4Packet::new_checked(&frame[ETHERNET..]).ok()?;
    let (own, vip) = (ip.src_addr().into(), ip.dst_addr().into());
    let segment = TcpPacket::new_checked(ip.payload()).ok()?;
    let asked = TcpRepr::parse(&segment, &own, &vip, &ChecksumCapabilities::ignored()).ok()?;
    let (control, seq_number, payload) = match asked.control {
        TcpControl::Syn => (TcpControl::Syn, TcpSeqNumber(FIRST), [].as_slice()),
        TcpControl::None | TcpControl::Psh if !asked.payload.is_empty() => {
            (TcpControl::Psh, asked.ack_number?, PAGE)
        }
        _ => return None,
    };
    let answer = TcpRepr {
        src_port: asked.dst_port,
        dst_port: asked.src_port,
        control,
        seq_number,
        ack_number: Some(asked.seq_number + asked.segment_len()),
        window_len: 8_192,
        window_scale: None,
        max_seg_size: (control == TcpControl::Syn).then_some(1_220),
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: asked.timestamp.map(|theirs| TcpTimestampRepr::new(1, theirs.tsval)),
        payload,
    };
    let head = IpRepr::new(vip, own, IpProtocol::Tcp, answer.buffer_len(), 64);
    let mut sent = vec![0; ETHERNET + head.buffer_len()];
    sent[..6].copy_from_slice(&frame[6..12]);
    sent[6..12].copy_from_slice(&frame[..6]);
    sent[12..14].copy_from_slice(&[8, 0]);
    let checksums = ChecksumCapabilities::default();
    head.emit(&mut sent[ETHERNET..], &checksums);
    let mut segment = TcpPacket::new_unchecked(&mut sent[ETHERNET + head.header_len()..]);
    answer.emit(&mut segment, &vip, &own, &checksums);
    Some(sent)
}
