//! No frames, at whatever times, make the appliance as a host on its links panic, keep more than its bounds, or send a
//! frame that is no frame; and none gives a neighbour that answers every question another MAC address, though frames are lost.

use std::net::IpAddr;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use guideway::net::host_stack::{
    Answers, HostAddress, HostStack, Link, LinkId, MAX_QUEUED_BYTES, NextHop, Rates, Vip, VlanId,
};
use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::egress::PortId;
use guideway_dataplane::wire::checksum;
use guideway_dataplane::wire::ethernet::MacAddress;

/// MAC address of the appliance.
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// MAC address and address of the neighbour that answers whatever it is asked.
const FAITHFUL: [u8; 6] = [2, 0, 0, 0, 0, 0x0c];
const FAITHFUL_ADDRESS: [u8; 4] = [192, 0, 2, 13];

/// Length of an Ethernet header.
const ETHERNET: usize = 14;

/// Length of an Ethernet and an IPv6 header.
const OVER_IPV6: usize = ETHERNET + 40;

/// Length of the longest frame that is fed.
const LONGEST: usize = 1_600;

/// Runs the target on these bytes.
pub(crate) fn run(bytes: &[u8]) {
    // Bytes that end within a step end the run.
    let _ = play(&mut Unstructured::new(bytes));
}

fn play(bytes: &mut Unstructured<'_>) -> Result<()> {
    let mut now = Duration::from_secs(1);
    let mut host = host(now);
    while !bytes.is_empty() {
        match bytes.int_in_range(0..=9)? {
            // As the wire may have it.
            0 => {
                host.handle(PortId(bytes.int_in_range(0..=1)?), frame(bytes)?, now);
            }
            // As a neighbour says it that computes its lengths and checksums.
            1 | 2 => {
                let mut frame = frame(bytes)?.to_vec();
                make_whole(&mut frame);
                host.handle(PortId(0), &frame, now);
            }
            3 => {
                now += Duration::from_millis(u64::from(bytes.arbitrary::<u16>()?));
                host.poll(now);
                drop(host.events());
                send(&mut host, now);
                assert_eq!(
                    host.mac(faithful()),
                    Some(MacAddress(FAITHFUL)),
                    "it has answered every question"
                );
            }
            4 => {
                let address = Address::from(IpAddr::from(bytes.arbitrary::<[u8; 4]>()?));
                let next_hop = NextHop { link: LinkId(bytes.int_in_range(0..=1)?), address };
                if host.resolve(next_hop, now).is_ok() && bytes.arbitrary()? && next_hop != faithful() {
                    host.forget(next_hop);
                }
            }
            5 => host.note_lost_frames(now),
            6 => {
                let address = Address::v4([192, 0, 2, bytes.arbitrary()?]);
                host.doubt(NextHop { link: LinkId(0), address }, now);
            }
            7 => {
                let refused = host.take_refused_claims();
                assert!(
                    refused.values().all(|refused| refused.count > 0 && refused.claimed != refused.known)
                );
            }
            // Claims of many to the address of the one that answers.
            8 => {
                let claimant = [2, 0, 0, 0, 1, bytes.arbitrary()?];
                let operation = bytes.int_in_range(1..=2)?;
                host.handle(PortId(0), &arp(operation, claimant), now);
            }
            _ => send(&mut host, now),
        }
    }
    host.poll(now + Duration::from_secs(60));
    send(&mut host, now + Duration::from_secs(60));
    Ok(())
}

/// Neighbour that answers whatever it is asked.
fn faithful() -> NextHop {
    NextHop { link: LinkId(0), address: Address::v4(FAITHFUL_ADDRESS) }
}

/// ARP message to the appliance by which a MAC address has that neighbour's address.
fn arp(operation: u8, mac: [u8; 6]) -> Vec<u8> {
    let head = [&OWN[..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
    [&head[..], &mac, &FAITHFUL_ADDRESS, &OWN, &[192, 0, 2, 1], &[0; 18]].concat()
}

/// Host on an untagged link and on one in a VLAN, with VIPs that it always answers for and one that it has announced.
fn host(now: Duration) -> HostStack {
    let link = |vlan| Link {
        port: PortId(0),
        vlan,
        mac: MacAddress(OWN),
        offloads_udp_checksum: false,
        addresses: vec![
            HostAddress::new(address("192.0.2.1"), 24),
            HostAddress::new(address("2001:db8:1::1"), 64),
            HostAddress::new(address("fe80::1"), 64),
        ],
        ipv4_gateway: Some(address("192.0.2.254")),
        ipv6_gateway: Some(address("fe80::fe")),
    };
    let vip = |text, length, answers| Vip { addresses: Prefix::new(address(text), length), answers };
    let vips = [
        vip("192.0.2.200", 128, Answers::Always),
        vip("2001:db8:1::c8", 128, Answers::Always),
        vip("192.0.2.64", 128, Answers::WhenAnnounced),
    ];
    let mut host = HostStack::new(vec![link(None), link(Some(VlanId(5)))], &vips, Rates::default());
    host.announce_all(now);
    for (link, of) in
        [(0, "192.0.2.11"), (0, "2001:db8:1::b"), (1, "192.0.2.12"), (0, "192.0.2.254"), (0, "fe80::fe")]
    {
        host.resolve(NextHop { link: LinkId(link), address: address(of) }, now).expect("there is room");
    }
    host.resolve(faithful(), now).expect("there is room");
    host.poll(now);
    send(&mut host, now);
    assert_eq!(host.mac(faithful()), Some(MacAddress(FAITHFUL)));
    host
}

fn address(text: &str) -> Address {
    Address::from(text.parse::<IpAddr>().expect("it is one"))
}

fn frame<'b>(bytes: &mut Unstructured<'b>) -> Result<&'b [u8]> {
    let length = bytes.int_in_range(0..=LONGEST)?.min(bytes.len());
    bytes.bytes(length)
}

/// Addresses a frame to the appliance, and makes lengths and checksums of ICMP and ICMPv6 right.
fn make_whole(frame: &mut [u8]) {
    if frame.len() < ETHERNET {
        return;
    }
    frame[..6].copy_from_slice(&OWN);
    frame[6] &= 0xfe;
    match frame[12..14] {
        [0x86, 0xdd] if frame.len() >= OVER_IPV6 + 4 => {
            let payload = (frame.len() - OVER_IPV6) as u16;
            (frame[14], frame[20], frame[21]) = (0x60, 58, 255);
            frame[18..20].copy_from_slice(&payload.to_be_bytes());
            frame[OVER_IPV6 + 2..OVER_IPV6 + 4].fill(0);
            let pseudo = checksum::sum(&frame[22..OVER_IPV6]) + u32::from(payload) + 58;
            let sum = checksum::finish(pseudo + checksum::sum(&frame[OVER_IPV6..]));
            frame[OVER_IPV6 + 2..OVER_IPV6 + 4].copy_from_slice(&sum.to_be_bytes());
        }
        [0x08, 0x00] if frame.len() >= ETHERNET + 24 => {
            let header = ETHERNET + 20;
            let total = (frame.len() - ETHERNET) as u16;
            (frame[14], frame[23]) = (0x45, 1);
            frame[16..18].copy_from_slice(&total.to_be_bytes());
            for (from, to, at) in [(ETHERNET, header, 24), (header, frame.len(), header + 2)] {
                frame[at..at + 2].fill(0);
                let sum = checksum::finish(checksum::sum(&frame[from..to]));
                frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            }
        }
        _ => {}
    }
}

/// Takes all that waits to be sent; questions to the neighbour that answers are answered.
fn send(host: &mut HostStack, now: Duration) {
    let mut queued = 0;
    let mut asked = false;
    while let Some(outgoing) = host.transmit() {
        assert!(outgoing.bytes.len() >= 60, "a frame shorter than Ethernet has");
        assert_eq!(outgoing.bytes[6..12], OWN, "a frame from another address than the appliance's own");
        queued += outgoing.bytes.len();
        let bytes = &outgoing.bytes;
        asked |= bytes[12..14] == [8, 6] && bytes[21] == 1 && bytes[38..42] == FAITHFUL_ADDRESS;
    }
    if asked {
        host.handle(PortId(0), &arp(2, FAITHFUL), now);
    }
    assert!(queued <= MAX_QUEUED_BYTES, "{queued} bytes waited");
}
