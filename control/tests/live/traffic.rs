//! Clients reach backends through the appliance, in both families, by TCP and UDP, by every delivery.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv6Addr, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::lab::Lab;
use crate::lab::address::{self, Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::client::names;
use crate::lab::patience::within;
use crate::lab::setup::{DeliveryMode, Device, Setup};

const ALL: [&str; 3] = ["b0", "b1", "b2"];
/// Address of the client that is on no link.
const ELSEWHERE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 3, 0, 0, 0, 0, 1);
/// Length of a large body in bytes: many packets, even on a path without tunnels.
const BODY: usize = 1 << 20;

/// A lab whose appliance has three backends.
struct Scene {
    lab: Lab,
    _backends: Vec<Backend>,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new(1, 3);
        let _backends = Backend::all(&lab, 3);
        Self { lab, _backends }
    }
}

/// Checks that pages, datagrams and a large body travel to the backends and back.
fn traffic_flows(lab: &Lab, family: Family) {
    let body = lab.directory().join("body");
    fs::write(&body, vec![b'x'; BODY]).expect("the lab's directory can be written");
    for vip in Vip::BOTH {
        let pages = lab.curl(vip.web(family), 100);
        assert_eq!(pages.len(), 100);
        assert_eq!(names(&pages), BTreeSet::from(ALL));
        let answers: Vec<_> = (0..50).map(|port| lab.ask(vip.echo(family), 20_000 + port)).collect();
        assert_eq!(names(&answers), BTreeSet::from(ALL));
        let by = lab.curl_upload(vip.web(family), &body.to_string_lossy());
        assert!(ALL.contains(&by.as_str()), "{by}");
    }
}

/// Checks that the appliance has dropped no packet.
fn nothing_was_lost(appliance: &Appliance<'_>) {
    let stats = appliance.stats();
    let dropped: Vec<_> = stats.total.dropped.iter().filter(|(_, packets)| **packets > 0).collect();
    assert!(dropped.is_empty() && stats.total.forwarded > 0, "{:?}", stats.total);
}

#[test]
fn ipv4_reaches_all_backends_by_their_mac_addresses() {
    let scene = Scene::new();
    let appliance = Appliance::start(&scene.lab, 0, &Setup::of(3));
    traffic_flows(&scene.lab, Family::V4);
    nothing_was_lost(&appliance);
}

#[test]
fn ipv6_reaches_all_backends_by_their_mac_addresses() {
    let scene = Scene::new();
    let appliance = Appliance::start(&scene.lab, 0, &Setup::of(3));
    traffic_flows(&scene.lab, Family::V6);
    nothing_was_lost(&appliance);
}

/// Checks that traffic of both families reaches the backends through tunnels over both families. Bodies whose packets
/// do not fit the tunnel arrive too, as ICMP tells the client the MTU of its path.
fn tunnels_carry(kind: &'static str) {
    let scene = Scene::new();
    for outer in Family::BOTH {
        let setup = Setup { delivery: DeliveryMode::Tunnel(kind, outer), ..Setup::of(3) };
        let appliance = Appliance::start(&scene.lab, 0, &setup);
        for inner in Family::BOTH {
            traffic_flows(&scene.lab, inner);
        }
        // The client remembers MTUs, but that of the second tunnel is smaller than any before.
        assert!(appliance.stats().total.icmp_errors.sent > 0, "the client is told the MTU of its path");
    }
}

#[test]
fn ipip_tunnels_carry_both_families_over_both() {
    tunnels_carry("ipip");
}

#[test]
fn gre_tunnels_carry_both_families_over_both() {
    tunnels_carry("gre");
}

#[test]
fn gue_tunnels_carry_both_families_over_both() {
    tunnels_carry("gue");
}

#[test]
fn the_appliance_answers_for_its_addresses_and_for_the_vips() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let _appliance = Appliance::start(&lab, 0, &Setup::of(1));
    let mac = lab.appliance_mac(0);
    for family in Family::BOTH {
        for address in [address::appliance(0, family), Vip::OnLink.address(family)] {
            lab.ping(address).unwrap_or_else(|said| panic!("{address}: {said}"));
            assert_eq!(lab.neighbour(address).as_ref(), Some(&mac), "{address}");
        }
    }
}

/// Hosts that send from an address of another link, as routers do, ask from their link-local address.
#[test]
fn the_appliance_answers_questions_from_link_local_addresses() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let _appliance = Appliance::start(&lab, 0, &Setup::of(1));
    lab.client().ip(&format!("address add {ELSEWHERE}/128 dev lo nodad\n"));
    let open = || UdpSocket::bind((ELSEWHERE, 0)).expect("the address is on `lo`");
    let socket = lab.client().inside(open);
    let mac = lab.appliance_mac(0);
    // More often than the appliance announces its addresses unasked, which would tell the client too.
    for _ in 0..10 {
        for address in [address::appliance(0, Family::V6), Vip::OnLink.address(Family::V6)] {
            lab.client().ip("neighbour flush dev eth0\n");
            let known = within(Duration::from_secs(5), || {
                socket.send_to(b"?", (address, 9)).expect("it is on the link");
                lab.neighbour(address)
            });
            assert_eq!(known.as_ref(), Some(&mac), "{address}");
        }
    }
}

#[test]
fn af_xdp_devices_carry_traffic() {
    const AF_XDP: i32 = 44;
    // Only this test depends on the kernel's configuration. The line is written past the harness, which would hold
    // it back.
    if let Err(error) = Socket::new(Domain::from(AF_XDP), Type::RAW, None) {
        let _ = writeln!(io::stderr(), "skipped: this kernel has no AF_XDP sockets ({error})");
        return;
    }
    let scene = Scene::new();
    let appliance = Appliance::start(&scene.lab, 0, &Setup { device: Device::AfXdp, ..Setup::of(3) });
    assert_eq!(appliance.status().ports[0].driver, "net_af_xdp");
    for family in Family::BOTH {
        let pages = scene.lab.curl(Vip::OnLink.web(family), 100);
        assert_eq!(names(&pages), BTreeSet::from(ALL));
    }
}
