//! Neighbours on a link with a hostile machine: it takes nobody's place, and a backend that does move is followed.

use std::net::IpAddr;
use std::net::UdpSocket;
use std::time::Duration;

use guideway::api::view::{Event, EventKind};
use pcap_fixtures::packet::Packet;

use crate::lab::Lab;
use crate::lab::address::{self, Family, Vip};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::load::{Connections, Load};
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{DeliveryMode, Setup};
use crate::lab::wire::Wire;

/// MAC address of a machine that claims what is not its own.
const HOSTILE: [u8; 6] = [2, 0, 0, 0, 0x66, 0x66];

/// MAC address that a backend moves to.
const MOVED: &str = "02:00:00:00:77:77";

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("hexadecimal")).collect();
    bytes.try_into().expect("six bytes")
}

/// Claims to an address by the hostile machine, sent to one receiver: an answer that nobody asked for, and an announcement.
fn claims(address: IpAddr, to: ([u8; 6], IpAddr)) -> Vec<Vec<u8>> {
    match (address, to) {
        (IpAddr::V4(address), (mac, IpAddr::V4(to))) => {
            let arp = |operation: u8, target: ([u8; 6], [u8; 4])| {
                let head = [&mac[..], &HOSTILE, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
                [&head[..], &HOSTILE, &address.octets(), &target.0, &target.1, &[0; 18]].concat()
            };
            vec![arp(2, (mac, to.octets())), arp(1, ([0; 6], address.octets()))]
        }
        (IpAddr::V6(address), (mac, to)) => {
            let body = [&address.octets()[..], &[2, 1], &HOSTILE].concat();
            let advertisement = |flags: u32, to: &str| {
                let packet = Packet::between(&address.to_string(), to).macs(HOSTILE, mac).ttl(255);
                packet.icmp(136, 0, flags).payload(&body).build()
            };
            vec![advertisement(0x6000_0000, &to.to_string()), advertisement(0x2000_0000, "ff02::1")]
        }
        _ => panic!("addresses of two families"),
    }
}

/// Events of a kind.
fn events(appliance: &Appliance<'_>, kind: EventKind) -> Vec<Event> {
    appliance.events().into_iter().filter(|event| event.kind == kind).collect()
}

/// Sends claims to an address for as long as the load runs; returns how many.
fn poison(lab: &Lab, addresses: &[IpAddr], load: &mut Load) -> u64 {
    let wire = Wire::open(lab.client(), "eth0").expect("the device is there");
    let appliance = mac(&lab.appliance_mac(0));
    let of_family = |address: &IpAddr| {
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        (appliance, address::appliance(0, family))
    };
    let frames: Vec<_> = addresses.iter().flat_map(|address| claims(*address, of_family(address))).collect();
    let mut sent = 0;
    while load.runs() {
        for frame in &frames {
            wire.send(frame);
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    sent
}

#[test]
fn a_hostile_machine_takes_the_place_of_no_backend_and_of_no_address_of_the_appliance() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let appliance = Appliance::start(&lab, 0, &Setup::of(1));
    let own = address::appliance(0, Family::V4);
    let of_backend = Family::BOTH.map(|family| address::backend(0, family));
    let mut load = Load::start(&lab, Vip::OnLink.web(Family::V4), Connections::OneEach, 6);
    let sent = poison(&lab, &[of_backend[0], of_backend[1], own], &mut load);
    let summary = load.finish();
    assert!(sent > 100 && summary.requests > 0, "{sent} claims: {summary:?}");
    assert_eq!((summary.socket_errors, summary.bad_answers), (0, 0), "{summary:?}");

    assert_eq!(events(&appliance, EventKind::NeighborChanged), []);
    let refused = events(&appliance, EventKind::NeighborClaimRefused);
    let texts: Vec<&str> = refused.iter().map(|event| event.text.as_str()).collect();
    assert_eq!(texts.len(), 2, "one of each address, however many claims there were: {texts:?}");
    for (address, service) in of_backend.iter().zip(["v4", "v6"]) {
        let is_told = |event: &&Event| {
            event.text.contains(&format!(" claims {address} (backend b0 of {service}) in vain"))
                && event.text.starts_with("02:00:00:00:66:66")
                && event.backend.as_deref() == Some("b0")
        };
        assert!(refused.iter().any(|event| is_told(&event)), "{texts:?}");
    }
    assert_eq!(events(&appliance, EventKind::AddressConflict).len(), 1);
    let host = appliance.stats().host_stack;
    assert!(host.refused_claims >= 2 && host.neighbor_changes == 0, "{host:?}");
    assert!(host.received["address_conflict"] > 50 && (1..10).contains(&host.defences), "{host:?}");
}

#[test]
fn a_hostile_machine_takes_the_place_of_no_gateway() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    // The second backend is reached by the first one's kernel, which routes.
    let (gateway, link) = (address::backend(0, Family::V4), address::backend(1, Family::V4));
    lab.backend(0).set("ipv4/ip_forward", "1");
    lab.backend(0).ip(&format!("route add 198.51.100.12 via {link}\n"));
    lab.backend(1).ip("address add 198.51.100.12/32 dev lo\n");
    let setup =
        Setup { delivery: DeliveryMode::Tunnel("ipip", Family::V4), backends: vec![1], ..Setup::of(1) };
    let socket = crate::lab::appliance::socket(&lab, 0);
    let toml =
        setup.toml(0, &socket).replace(&format!("ip_address = \"{link}\""), "ip_address = \"198.51.100.12\"");
    let toml = toml.replace("[[port]]\n", &format!("[[port]]\ngateways = [\"{gateway}\"]\n"));
    let appliance = Appliance::start_with(&lab, 0, &toml);
    let mut load = Load::start(&lab, Vip::OnLink.web(Family::V4), Connections::OneEach, 4);
    let sent = poison(&lab, &[gateway], &mut load);
    let summary = load.finish();
    assert!(sent > 100 && summary.requests > 0, "{sent} claims: {summary:?}");
    assert_eq!((summary.socket_errors, summary.bad_answers), (0, 0), "{summary:?}");
    assert_eq!(events(&appliance, EventKind::NeighborChanged), []);
    let refused = events(&appliance, EventKind::NeighborClaimRefused);
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(
        refused[0].text.contains(&format!(" claims {gateway} (gateway, backend b1 of v4")),
        "{refused:?}"
    );
}

/// Asks the echo server of a VIP every 20 ms, as often as `count`, each time from another port; returns how many questions
/// stayed unanswered.
fn unanswered(lab: &Lab, family: Family, count: u32) -> usize {
    lab.client().inside(|| {
        let sockets: Vec<UdpSocket> = (0..count)
            .map(|_| {
                let socket = UdpSocket::bind((address::client(family), 0)).expect("there are ports");
                socket.connect(Vip::OnLink.echo(family)).expect("there is a route");
                socket.set_read_timeout(Some(Duration::from_millis(1))).expect("no zero");
                socket.send(b"who").expect("it can be sent");
                std::thread::sleep(Duration::from_millis(20));
                socket
            })
            .collect();
        let is_silent = |socket: &&UdpSocket| socket.recv(&mut [0; 16]).is_err();
        sockets.iter().filter(is_silent).count()
    })
}

#[test]
fn a_backend_that_moves_to_another_mac_address_is_followed() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let appliance = Appliance::start(&lab, 0, &Setup::of(1));
    let before =
        appliance.backends()[0].next_hop.clone().and_then(|next_hop| next_hop.mac).expect("it is known");
    // As a machine that takes over another one's addresses, it says so.
    lab.backend(0).set("ipv4/conf/eth0/arp_notify", "1");
    lab.backend(0).set("ipv6/conf/eth0/ndisc_notify", "1");
    let lost = std::thread::scope(|scope| {
        let asked = scope.spawn(|| Family::BOTH.map(|family| unanswered(&lab, family, 200)));
        std::thread::sleep(Duration::from_millis(500));
        lab.backend(0).ip(&format!("link set eth0 address {MOVED}\n"));
        asked.join().expect("it asks to the end")
    });
    let changes = within(PATIENCE, || {
        let changes = events(&appliance, EventKind::NeighborChanged);
        (changes.len() == 2).then_some(changes)
    });
    let changes = changes.expect("both addresses of the backend have moved, and are told once each");
    for (family, service) in Family::BOTH.into_iter().zip(["v4", "v6"]) {
        let address = address::backend(0, family);
        let text = format!("{address} (backend b0 of {service}) has moved from {before} to {MOVED}");
        assert!(changes.iter().any(|event| event.text == text), "{changes:?}");
    }
    // A second of silence of the old address, and what waits for a turn: three seconds of questions at most.
    assert!(lost[0] > 0, "nothing was sent to the old address: the test is none");
    assert!(lost[0] < 150 && lost[1] < 150, "{lost:?} of 200 questions were lost");
    assert_eq!(unanswered(&lab, Family::V4, 20), 0);
    assert_eq!(unanswered(&lab, Family::V6, 20), 0);
}
