//! The host stack: frames that go in, frames that come out, and the counters.

mod conversation;
mod frames;
mod never_panics;
mod peer;
mod prefixes;
mod repetition;

use std::net::IpAddr;
use std::time::Duration;

use guideway::net::host_stack::{Answers, HostAddress, HostStack, Link, Rates, Vip, VlanId};
use guideway_dataplane::address::Address;
use guideway_dataplane::egress::PortId;
use guideway_dataplane::wire::ethernet::MacAddress;

const PORT: PortId = PortId(0);
const TAGGED_PORT: PortId = PortId(1);
const OWN_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x10];
const TAGGED_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x11];
const PEER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x07];

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an IP address").into()
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Two links, untagged on the first port and in VLAN 42 on the second.
fn links() -> Vec<Link> {
    vec![
        Link {
            port: PORT,
            offloads_udp_checksum: false,
            vlan: None,
            mac: MacAddress(OWN_MAC),
            addresses: vec![
                HostAddress::new(address("192.0.2.10"), 24),
                HostAddress::new(address("2001:db8::10"), 64),
            ],
            ipv4_gateway: Some(address("192.0.2.1")),
            ipv6_gateway: Some(address("fe80::1")),
        },
        Link {
            port: TAGGED_PORT,
            offloads_udp_checksum: false,
            vlan: Some(VlanId(42)),
            mac: MacAddress(TAGGED_MAC),
            addresses: vec![HostAddress::new(address("198.51.100.10"), 24)],
            ipv4_gateway: None,
            ipv6_gateway: None,
        },
    ]
}

/// An appliance on the two links, with a VIP of each sort.
fn appliance(rates: Rates) -> HostStack {
    let vip = |text, answers| Vip { addresses: address(text).into(), answers };
    let vips = [
        vip("192.0.2.100", Answers::Always),
        vip("192.0.2.101", Answers::WhenAnnounced),
        vip("203.0.113.10", Answers::Never),
        vip("2001:db8::100", Answers::Always),
    ];
    HostStack::new(links(), &vips, rates)
}

/// The frames that wait to be sent.
fn sent(stack: &mut HostStack) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| stack.transmit()).map(|frame| frame.bytes).collect()
}
