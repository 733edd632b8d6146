//! An appliance in two networks, VLANs of one port, in which everything has the same addresses.

use guideway::api::request::{Refused, Request};
use guideway::api::view;
use guideway::run::assemble::Probing;
use guideway_engine::mbuf::Mbuf;
use guideway_model::service::UnknownName;
use pcap_fixtures::packet::Packet;

use crate::operator::*;

pub(crate) const BLUE: u16 = 100;
pub(crate) const RED: u16 = 200;

/// A network whose service has one backend, all but the names being those of any other.
pub(crate) fn network(name: &str, vlan: u16, rule: &str) -> String {
    format!(
        r#"
[[network]]
name = "{name}"
vlan = {vlan}
ip_addresses = ["192.0.2.1/24"]
[[forwarding_rule]]
name = "{name}"
network = "{name}"
ip_address = "192.0.2.100"
ports = [80]
{rule}
backend_service = "{name}"
[[backend_service]]
name = "{name}"
network = "{name}"
health_checks = ["alive"]
backends = [{{ group = "{name}" }}]
[[backend_group]]
name = "{name}"
network = "{name}"
endpoints = [{{ name = "{name}-1", ip_address = "192.0.2.12" }}]
"#
    )
}

pub(crate) const HEAD: &str = r#"
[conntrack]
max_entries = 10_000
[[port]]
name = "trunk"
device = "net_null0"
[[health_check]]
name = "alive"
type = "TCP"
"#;

pub(crate) fn config() -> String {
    let red = network("red", RED, "neighbor_replies = \"WHEN_ANNOUNCED\"");
    format!("{HEAD}{}{red}", network("blue", BLUE, ""))
}

/// True for a frame of a VLAN with this EtherType.
pub(crate) fn is_of(vlan: u16, ethertype: u16) -> impl Fn(&[u8]) -> bool {
    let head = [[0x81, 0x00], vlan.to_be_bytes(), ethertype.to_be_bytes()].concat();
    move |frame| frame[12..18] == head
}

/// ARP in a VLAN, or without a tag: a question, or the answer to one.
pub(crate) fn arp(vlan: Option<u16>, mac: u8, operation: u8, [from, to]: [u8; 2]) -> Mbuf {
    let mac = [2, 0, 0, 0, 0, mac];
    let to_mac = if operation == 1 { [0xff; 6] } else { OWN_MAC };
    let tag = vlan.map_or(Vec::new(), |vlan| [[0x81, 0x00], vlan.to_be_bytes()].concat());
    let head = [&to_mac[..], &mac, &tag, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
    let ends = [&mac[..], &[192, 0, 2, from], &[0; 6], &[192, 0, 2, to], &[0; 18]].concat();
    let mut mbuf = Mbuf::new();
    mbuf.fill(&[head, ends].concat());
    mbuf
}

/// Answers the question for the backend's MAC address in a VLAN.
pub(crate) async fn answer_arp(operator: &mut Operator, vlan: u16, mac: u8) {
    let asks = |frame: &[u8]| is_of(vlan, 0x0806)(frame) && frame[42..46] == [192, 0, 2, 12];
    operator.receive(asks).await;
    assert!(operator.wire.send(arp(Some(vlan), mac, 2, [12, 1])).is_ok(), "the ring has room");
}

/// The MAC address by which somebody in a VLAN is answered for the VIP.
pub(crate) async fn vip_asked(operator: &mut Operator, vlan: u16) -> Vec<u8> {
    assert!(operator.wire.send(arp(Some(vlan), 0x50, 1, [50, 100])).is_ok(), "the ring has room");
    let answers =
        |frame: &[u8]| is_of(vlan, 0x0806)(frame) && frame[25] == 2 && frame[32..36] == [192, 0, 2, 100];
    operator.receive(answers).await[26..32].to_vec()
}

/// Last byte of the MAC address that a client's packet in a VLAN leaves for, with the VLAN's tag.
pub(crate) async fn sent_on(operator: &mut Operator, vlan: u16, flags: u8) -> u8 {
    operator.send(&Packet::between("192.0.2.50", "192.0.2.100").vlan(vlan).tcp(1_000, 80, flags));
    operator.receive(is_of(vlan, 0x0800)).await[5]
}

async fn wait_for_next_hops(operator: &Operator) {
    for name in ["blue-1", "red-1"] {
        let is_known = |backend: &view::Backend| {
            backend.next_hop.as_ref().is_some_and(|next_hop| next_hop.mac.is_some())
        };
        operator.backend_when(name, is_known).await;
    }
}

#[test]
fn neighbours_vips_and_connections_are_those_of_their_vlan_and_stay_over_a_reload() {
    let result = run("vlans", &config(), Probing::Off, None, |mut operator| async move {
        answer_arp(&mut operator, BLUE, 0xb).await;
        answer_arp(&mut operator, RED, 0xc).await;
        wait_for_next_hops(&operator).await;
        assert_eq!(sent_on(&mut operator, BLUE, 0x02).await, 0xb);
        assert_eq!(sent_on(&mut operator, RED, 0x02).await, 0xc);
        assert_eq!(vip_asked(&mut operator, BLUE).await, OWN_MAC);

        // Frames of no network end at the worker.
        assert!(operator.wire.send(arp(None, 0x50, 1, [50, 100])).is_ok());
        assert!(operator.wire.send(arp(Some(300), 0x50, 1, [50, 100])).is_ok());
        let mut dropped = 0;
        for _ in 0..5_000 {
            let stats = operator.ask(|reply| Request::Stats { reply }).await.unwrap();
            dropped = stats.total.dropped["no_network"];
            if dropped == 2 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        assert_eq!(dropped, 2);

        // Other numbers for the networks, and another backend in one.
        let blue = network("blue", BLUE, "").replace("blue-1", "blue-2").replace("2.12", "2.13");
        let blue = blue.replace("ports = [80]", "ports = [80, 443]");
        let red = network("red", RED, "neighbor_replies = \"WHEN_ANNOUNCED\"");
        std::fs::write(&operator.config_path, format!("{HEAD}{red}{blue}")).unwrap();
        operator.ask(|reply| Request::Reload { confirms_removals: false, reply }).await.unwrap();
        assert_eq!(sent_on(&mut operator, RED, 0x10).await, 0xc, "nobody there noticed");
        // Rules and what a VIP takes are those of the network, whatever its index is now.
        let rules = operator.ask(|reply| Request::RuleList { reply }).await.unwrap().rules;
        let listed = rules.iter().map(|rule| (&*rule.stats.name, rule.network.as_deref()));
        assert_eq!(listed.collect::<Vec<_>>(), [("red", Some("red")), ("blue", Some("blue"))]);
        let explain = |network: &str| {
            let (flow, network) = ("tcp 192.0.2.50:1 > 192.0.2.100:81".parse().unwrap(), network.to_owned());
            let unhealthy = Vec::new();
            operator.ask(move |reply| Request::Explain { flow, network: Some(network), unhealthy, reply })
        };
        for (network, takes) in [("red", "TCP 80"), ("blue", "TCP 80,443")] {
            let explained = explain(network).await.unwrap().explanation;
            assert_eq!(explained.vip_takes, [takes], "{network}");
        }
        let flow = |network: &str| {
            let (flow, network) =
                ("tcp 192.0.2.50:1000 > 192.0.2.100:80".parse().unwrap(), network.to_owned());
            operator.ask(move |reply| Request::ConntrackGet { flow, network: Some(network), reply })
        };
        assert_eq!(flow("red").await.unwrap().entry.map(|entry| entry.backend), Some("red-1".to_owned()));
        assert_eq!(flow("blue").await.unwrap().entry, None);
        let unknown = flow("green").await;
        assert!(matches!(unknown, Err(Refused::UnknownName(UnknownName::Network(_)))), "{unknown:?}");
        let asks = |frame: &[u8]| is_of(BLUE, 0x0806)(frame) && frame[42..46] == [192, 0, 2, 13];
        operator.receive(asks).await;
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_vip_of_two_networks_is_announced_and_withdrawn_in_the_one_that_is_named() {
    let result = run("vlan-vips", &config(), Probing::Off, None, |mut operator| async move {
        let address: guideway_model::config::VipRange = "192.0.2.100".parse().unwrap();
        let announce = async |network: Option<&str>| {
            let network = network.map(str::to_owned);
            operator.ask(|reply| Request::VipAnnounce { address, network, reply }).await
        };
        assert!(matches!(announce(None).await, Err(Refused::AmbiguousVip(_))));
        assert!(matches!(announce(Some("blue")).await, Err(Refused::VipNotAnnounceable { .. })));
        let announced = announce(Some("red")).await.unwrap();
        assert_eq!((announced.network.as_deref(), announced.announced), (Some("red"), true));
        assert_eq!(announced.forwarding_rules, ["red"]);
        assert_eq!(vip_asked(&mut operator, RED).await, OWN_MAC);
        let status = operator.ask(|reply| Request::Status { reply }).await.unwrap();
        let networks = status.services.iter().map(|service| service.network.as_deref());
        assert_eq!(networks.collect::<Vec<_>>(), [Some("blue"), Some("red")]);
        let vips = status.vips.iter().map(|vip| (vip.network.as_deref(), vip.announced));
        assert_eq!(vips.collect::<Vec<_>>(), [(Some("blue"), true), (Some("red"), true)]);
        assert_eq!(operator.backend("red-1").await.network.as_deref(), Some("red"));
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn probes_go_out_with_the_tag_of_their_network_and_hear_answers_in_it_alone() {
    let result = run("vlan-probes", &config(), Probing::On, None, |mut operator| async move {
        answer_arp(&mut operator, BLUE, 0xb).await;
        answer_arp(&mut operator, RED, 0xc).await;
        // A SYN from the appliance's own address to the VIP, in each of the VLANs.
        let syn = |vlan: u16| {
            move |frame: &[u8]| {
                is_of(vlan, 0x0800)(frame)
                    && frame[30..38] == [192, 0, 2, 1, 192, 0, 2, 100]
                    && frame[51] == 0x02
            }
        };
        let blue = operator.receive(syn(BLUE)).await;
        let red = operator.receive(syn(RED)).await;
        assert_eq!((blue[5], red[5]), (0xb, 0xc));
        // The answer to the one, in the other's VLAN, is nobody's; a reset in its own ends the probe.
        let answer = |vlan: u16| {
            let port = u16::from_be_bytes([red[38], red[39]]);
            let number = u32::from_be_bytes(*red[42..].first_chunk().unwrap());
            let packet = Packet::between("192.0.2.100", "192.0.2.1").vlan(vlan);
            packet.tcp(80, port, 0x14).ack(number.wrapping_add(1))
        };
        operator.send(&answer(BLUE));
        operator.send(&answer(RED));
        let failed = |backend: &view::Backend| {
            backend.health_check.as_ref().is_some_and(|check| check.rules[0].failed > 0)
        };
        operator.backend_when("red-1", failed).await;
        assert!(!failed(&operator.backend("blue-1").await));
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
