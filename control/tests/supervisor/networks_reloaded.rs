//! Networks that a reload adds, takes away and moves, while those that stay go on.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use guideway::api::request::Request;
use guideway::api::view::{self, EventKind};
use guideway::health::probe::WeightReport;
use guideway::run::assemble::Probing;
use guideway::run::ports::{MemoryPorts, Ports};
use guideway_engine::mbuf::Mbuf;
use pcap_fixtures::packet::Packet;

use crate::networks::{BLUE, HEAD, RED, answer_arp, arp, config, is_of, network, sent_on, vip_asked};
use crate::operator::*;

const GREEN: u16 = 300;

/// The largest VLAN that the device has room for.
const LARGEST: u16 = 4_000;

/// A device that notes the VLANs that it is told.
#[derive(Clone, Default)]
struct VlanPorts(Rc<RefCell<BTreeSet<u16>>>);

impl Ports for VlanPorts {
    type Frame = Mbuf;

    fn frame(&self, bytes: &[u8]) -> Option<Mbuf> {
        MemoryPorts.frame(bytes)
    }

    fn states(&self) -> Vec<view::Port> {
        Vec::new()
    }

    fn stats(&self) -> Vec<view::PortStats> {
        Vec::new()
    }

    fn take_vlans(&self, port: usize, vlans: &BTreeSet<u16>) -> Option<String> {
        assert_eq!(port, 0);
        self.0.borrow_mut().clone_from(vlans);
        vlans.iter().any(|vlan| *vlan > LARGEST).then(|| "the device refuses a VLAN".to_owned())
    }
}

async fn reload(operator: &Operator, text: &str) -> view::Reload {
    std::fs::write(&operator.config_path, text).unwrap();
    operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap()
}

/// The packets that were of no network.
async fn dropped(operator: &Operator) -> u64 {
    operator.ask(|reply| Request::Stats { reply }).await.unwrap().total.dropped["no_network"]
}

/// Waits until the MAC address of a backend's next hop is known.
async fn resolved(operator: &Operator, backend: &str) {
    let is_known = |backend: &view::Backend| backend.next_hop.as_ref().is_some_and(|hop| hop.mac.is_some());
    operator.backend_when(backend, is_known).await;
}

fn changes(reload: &view::Reload) -> Vec<&str> {
    reload.changes.iter().map(|change| change.text.as_str()).collect()
}

/// The networks of the events of a kind, once there are so many.
async fn networks_of_events(operator: &Operator, kind: EventKind, count: usize) -> Vec<Option<String>> {
    for _ in 0..5_000 {
        let list = operator.ask(|reply| Request::Events { limit: 100, after: Some(0), reply }).await.unwrap();
        let of_kind = list.events.into_iter().filter(|event| event.kind == kind);
        let networks: Vec<_> = of_kind.map(|event| event.network).collect();
        if networks.len() >= count {
            return networks;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("there are fewer events {}", kind.as_str());
}

#[test]
fn a_third_network_comes_and_goes_beside_two_that_go_on() {
    let ports = VlanPorts::default();
    let device = ports.clone();
    let test = |mut operator: Operator| async move {
        assert_eq!(*device.0.borrow(), [BLUE, RED].into());
        answer_arp(&mut operator, BLUE, 0xb).await;
        answer_arp(&mut operator, RED, 0xc).await;
        for name in ["blue-1", "red-1"] {
            resolved(&operator, name).await;
        }
        assert_eq!(sent_on(&mut operator, BLUE, 0x02).await, 0xb);
        assert_eq!(sent_on(&mut operator, RED, 0x02).await, 0xc);

        let third = config() + &network("green", GREEN, "");
        let added = reload(&operator, &third).await;
        assert_eq!(changes(&added)[0], "network green");
        assert_eq!(*device.0.borrow(), [BLUE, RED, GREEN].into());
        answer_arp(&mut operator, GREEN, 0xd).await;
        resolved(&operator, "green-1").await;
        assert_eq!(sent_on(&mut operator, GREEN, 0x02).await, 0xd);
        assert_eq!(vip_asked(&mut operator, GREEN).await, OWN_MAC);
        // The same client and ports: their connections are others.
        assert_eq!(sent_on(&mut operator, BLUE, 0x10).await, 0xb);
        assert_eq!(sent_on(&mut operator, RED, 0x10).await, 0xc);

        // Another host has the VIP there, and in no other network.
        assert!(operator.wire.send(arp(Some(GREEN), 0x66, 2, [100, 100])).is_ok(), "the ring has room");
        let green = Some("green".to_owned());
        assert_eq!(networks_of_events(&operator, EventKind::AddressConflict, 1).await, [green]);
        let vips = operator.ask(|reply| Request::VipList { reply }).await.unwrap().vips;
        let conflicts: Vec<_> = vips.iter().map(|vip| (vip.network.as_deref(), vip.conflicts)).collect();
        assert_eq!(conflicts, [(Some("blue"), 0), (Some("red"), 0), (Some("green"), 1)]);
        let (service, backend) = ("blue".to_owned(), "blue-1".to_owned());
        operator
            .ask(|reply| Request::BackendDrain { service, backend, deadline: None, reply })
            .await
            .unwrap();
        let blue = Some("blue".to_owned());
        assert_eq!(networks_of_events(&operator, EventKind::BackendDrained, 1).await, [blue]);

        let gone = reload(&operator, &config()).await;
        assert_eq!(changes(&gone)[0], "network green");
        assert_eq!(*device.0.borrow(), [BLUE, RED].into());
        assert_eq!(dropped(&operator).await, 0);
        assert!(operator.wire.send(arp(Some(GREEN), 0x50, 1, [50, 100])).is_ok(), "the ring has room");
        for _ in 0..5_000 {
            if dropped(&operator).await > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(dropped(&operator).await, 1);
        assert_eq!(sent_on(&mut operator, RED, 0x10).await, 0xc);
        stop(&operator).await;
    };
    let result = run_on(ports, "vlan-third", &config(), Probing::Off, None, test);
    assert_eq!(result, Ok(()));
}

#[test]
fn a_network_that_gets_another_vlan_asks_for_its_neighbours_there() {
    let result = run("vlan-moved", &config(), Probing::Off, None, |mut operator| async move {
        answer_arp(&mut operator, BLUE, 0xb).await;
        answer_arp(&mut operator, RED, 0xc).await;
        resolved(&operator, "red-1").await;
        assert_eq!(sent_on(&mut operator, RED, 0x02).await, 0xc);
        let moved = config().replace(&format!("vlan = {RED}"), &format!("vlan = {GREEN}"));
        assert_eq!(changes(&reload(&operator, &moved).await), ["network red"]);
        assert_eq!(operator.backend("red-1").await.next_hop.unwrap().mac, None);
        answer_arp(&mut operator, GREEN, 0xd).await;
        resolved(&operator, "red-1").await;
        let (flow, network) =
            ("tcp 192.0.2.50:1000 > 192.0.2.100:80".parse().unwrap(), Some("red".to_owned()));
        let found = operator.ask(|reply| Request::ConntrackGet { flow, network, reply }).await.unwrap();
        assert_eq!(found.entry.map(|entry| entry.backend).as_deref(), Some("red-1"), "connections go on");
        assert_eq!(sent_on(&mut operator, GREEN, 0x10).await, 0xd);
        assert_eq!(sent_on(&mut operator, BLUE, 0x02).await, 0xb);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn vlans_that_a_device_refuses_and_networks_that_wait_are_in_the_reloads_answer() {
    let test = |operator: Operator| async move {
        let refused = reload(&operator, &(config() + &network("green", LARGEST + 1, ""))).await;
        let refusal = "port `trunk`: the device refuses a VLAN".to_owned();
        assert!(refused.warnings.contains(&refusal), "{:?}", refused.warnings);
        let port = "[[port]]\nname = \"other\"\ndevice = \"net_null1\"\n";
        let green = network("green", GREEN, "").replace("vlan = 300", "vlan = 300\nport = \"other\"");
        let waits = reload(&operator, &format!("{HEAD}{port}{}{green}", network("blue", BLUE, ""))).await;
        let told =
            "network green: nothing is sent or received there before the next start, which opens port other";
        assert!(changes(&waits).contains(&told), "{waits:?}");
        stop(&operator).await;
    };
    let result = run_on(VlanPorts::default(), "vlan-refused", &config(), Probing::Off, None, test);
    assert_eq!(result, Ok(()));
}

#[test]
fn probes_of_a_network_that_is_added_go_out_in_its_vlan() {
    let result = run("vlan-probed", &config(), Probing::On, None, |mut operator| async move {
        answer_arp(&mut operator, RED, 0xc).await;
        reload(&operator, &(config() + &network("green", GREEN, ""))).await;
        answer_arp(&mut operator, GREEN, 0xd).await;
        let probes = |vlan: u16| {
            move |frame: &[u8]| is_of(vlan, 0x0800)(frame) && frame[30..38] == [192, 0, 2, 1, 192, 0, 2, 100]
        };
        assert_eq!(operator.receive(probes(GREEN)).await[5], 0xd);
        assert_eq!(operator.receive(probes(RED)).await[5], 0xc);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_sole_network_that_is_renamed_keeps_health_reported_weights_and_announced_vips() {
    let policy = "locality_lb_policy = \"WEIGHTED_MAGLEV\"\nhealth_checks";
    let config = CONFIG.replace("TCP", "HTTP").replace("health_checks", policy);
    let rule = "neighbor_replies = \"WHEN_ANNOUNCED\"\nbackend_service";
    let config = config.replacen("backend_service", rule, 1);
    let renamed = format!("[network]\nname = \"blue\"\n{config}");
    let result = with_watch("network-renamed", &config, |operator| async move {
        for _ in 0..2 {
            operator.report("a", Ok(Some(WeightReport::Weight(30)))).await;
            operator.report("b", Ok(Some(WeightReport::Weight(10)))).await;
        }
        operator.backend_when("a", |backend| backend.weight == Some(30)).await;
        operator.report("b", Err("no answer")).await;
        operator.report("b", Err("no answer")).await;
        operator.backend_when("b", |backend| backend.health == view::Health::Unhealthy).await;
        let address: guideway_model::config::VipRange = "192.0.2.100".parse().unwrap();
        operator.ask(|reply| Request::VipAnnounce { address, network: None, reply }).await.unwrap();
        let last = operator.ask(|reply| Request::Events { limit: 1, after: None, reply }).await.unwrap();
        let last = last.events[0].id;

        let renamed = reload(&operator, &renamed).await;
        assert_eq!(changes(&renamed), ["network blue: renamed from default"]);
        let a = operator.backend("a").await;
        assert_eq!((a.weight, a.weight_source), (Some(30), view::WeightSource::Reported));
        assert_eq!(a.health, view::Health::Healthy);
        assert_eq!(operator.backend("b").await.health, view::Health::Unhealthy);
        assert!(operator.ask(|reply| Request::VipList { reply }).await.unwrap().vips[0].announced);
        // A report that says nothing new is none; one that does counts at once.
        operator.report("a", Ok(Some(WeightReport::Weight(30)))).await;
        operator.report("a", Ok(Some(WeightReport::Weight(1)))).await;
        operator.backend_when("a", |backend| backend.weight == Some(1)).await;
        let kinds: Vec<_> = operator.events_after(last).await.into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [EventKind::Reloaded, EventKind::WeightChanged]);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_network_goes_from_its_vlan_to_its_ports_untagged_addresses_and_back() {
    let tagged = format!("[[network]]\nname = \"red\"\nvlan = {RED}\nip_addresses = [\"192.0.2.1/24\"]\n");
    let untagged = config()
        .replace(&tagged, "[[network]]\nname = \"red\"\n")
        .replace("name = \"trunk\"\n", "name = \"lan\"\nip_addresses = [\"192.0.2.1/24\"]\n");
    assert!(!untagged.contains(&tagged) && untagged.contains("lan"));
    let result = run("vlan-untagged", &config(), Probing::Off, None, |mut operator| async move {
        answer_arp(&mut operator, RED, 0xc).await;
        resolved(&operator, "red-1").await;
        let reloaded = reload(&operator, &untagged).await;
        let renamed = "[[port]]: takes effect at the next start";
        assert_eq!(changes(&reloaded), [renamed, "port lan: addresses or gateways", "network red"]);
        let is_asked = |frame: &[u8]| frame[12..14] == [8, 6] && frame[38..42] == [192, 0, 2, 12];
        operator.receive(is_asked).await;
        assert!(operator.wire.send(arp(None, 0xd, 2, [12, 1])).is_ok(), "the ring has room");
        let is_new = |backend: &view::Backend| {
            backend.next_hop.as_ref().is_some_and(|hop| hop.mac.as_deref() == Some("02:00:00:00:00:0d"))
        };
        operator.backend_when("red-1", is_new).await;
        operator.send(&Packet::between("192.0.2.50", "192.0.2.100").tcp(1_000, 80, 0x02));
        let untagged = operator.receive(|frame| frame[12..14] == [8, 0]).await;
        assert_eq!(untagged[5], 0xd);

        reload(&operator, &config()).await;
        answer_arp(&mut operator, RED, 0xe).await;
        let is_back = |backend: &view::Backend| {
            backend.next_hop.as_ref().is_some_and(|hop| hop.mac.as_deref() == Some("02:00:00:00:00:0e"))
        };
        operator.backend_when("red-1", is_back).await;
        assert_eq!(sent_on(&mut operator, RED, 0x10).await, 0xe);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
