//! ICMP errors about tunnels, from routers and backends: narrower paths, and endpoints that have none.

use std::time::Duration;

use guideway::api::request::Request;
use guideway::api::view::{self, EventKind};
use guideway::health::probe::ProbeResult;
use pcap_fixtures::packet::Packet;

use crate::operator::*;

/// The configuration with both backends behind tunnels of IP in IP.
fn tunnelled() -> String {
    CONFIG.replace("name = \"web\"\nendpoints", "name = \"web\"\ndelivery = \"ipip\"\nendpoints")
        + "[network]\nipv4_address = \"192.0.2.1\"\n"
}

/// The packet in which the appliance carries a client's to the endpoint of backend `a`.
fn tunnel_packet() -> Packet {
    let inner = Packet::between("192.0.2.50", "192.0.2.100").dont_fragment().tcp(1_000, 80, 0x10);
    let inner = inner.payload_len(1_400).ip_bytes();
    Packet::between("192.0.2.1", "192.0.2.11").dont_fragment().protocol(4).payload(&inner)
}

#[test]
fn a_router_that_tells_of_a_narrower_path_lowers_the_mtu_and_clients_are_told() {
    let result = with_watch("path-mtu", &tunnelled(), |mut operator| async move {
        operator.answer_arp().await;
        let drain = |reply| Request::BackendDrain {
            service: "web".into(),
            backend: "b".into(),
            deadline: None,
            reply,
        };
        operator.ask(drain).await.unwrap();
        assert_eq!(operator.backend("a").await.path_mtu, None);
        operator.send(&Packet::between("192.0.2.254", "192.0.2.1").packet_too_big(
            1_400,
            &tunnel_packet(),
            156,
        ));
        let learnt = operator.backend_when("a", |backend| backend.path_mtu.is_some()).await.path_mtu.unwrap();
        assert_eq!((learnt.mtu, learnt.told_by.to_string()), (1_400, "192.0.2.254".to_owned()));
        assert!((590..=600).contains(&learnt.for_sec), "{learnt:?}");
        assert_eq!(operator.backend("b").await.path_mtu, None);
        let events = operator.events_after(0).await;
        assert!(events.contains(&(EventKind::PathMtuLearnt, Some("a".to_owned()))), "{events:?}");

        let long = Packet::between("192.0.2.50", "192.0.2.100").dont_fragment().tcp(1_000, 80, 0x10);
        operator.send(&long.payload_len(1_400));
        let told = operator.receive(|frame| frame[12..14] == [8, 0] && frame[23] == 1).await;
        assert_eq!(
            (told[34..36].to_vec(), told[40..42].to_vec()),
            (vec![3, 4], 1_380_u16.to_be_bytes().to_vec())
        );
        let stats = operator.ask(|reply| Request::Stats { reply }).await.unwrap();
        assert_eq!((stats.tunnel_errors.learnt, stats.total.dropped["packet_too_big"]), (1, 1));

        // Nobody has sent such a packet.
        let forged =
            Packet::between("192.0.2.1", "192.0.2.12").dont_fragment().protocol(4).payload_len(1_400);
        operator.send(&Packet::between("192.0.2.254", "192.0.2.1").packet_too_big(600, &forged, 156));
        for _ in 0..5_000 {
            let stats = operator.ask(|reply| Request::Stats { reply }).await.unwrap();
            if stats.tunnel_errors.ignored == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(operator.backend("b").await.path_mtu, None);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_probe_that_times_out_names_what_icmp_has_told_of_its_tunnel() {
    let result = with_watch("unreachable", &tunnelled(), |mut operator| async move {
        let error = Packet::between("192.0.2.11", "192.0.2.1").icmp(3, 2, 0).quoting(&tunnel_packet(), 156);
        operator.send(&error);
        for _ in 0..5_000 {
            let stats = operator.ask(|reply| Request::Stats { reply }).await.unwrap();
            if stats.tunnel_errors.unreachable == 1 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let last_error = |backend: &view::Backend| {
            backend.health_check.as_ref().and_then(|check| check.rules[0].last_error.clone())
        };
        // A probe that began before the error, and took until now.
        operator
            .report_after(Duration::from_secs(60), "a", ProbeResult::unwell("no answer within 5 s"))
            .await;
        operator
            .report_after(Duration::from_secs(60), "b", ProbeResult::unwell("no answer within 5 s"))
            .await;
        let unwell = operator.backend_when("b", |backend| last_error(backend).is_some()).await;
        assert_eq!(last_error(&unwell).unwrap(), "no answer within 5 s");
        assert_eq!(
            last_error(&operator.backend("a").await).unwrap(),
            "no answer within 5 s; ICMP protocol unreachable from 192.0.2.11: no tunnel device?"
        );
        // A probe that began after the error does not name it.
        operator.report_after(Duration::ZERO, "a", ProbeResult::unwell("no answer")).await;
        operator.backend_when("a", |backend| last_error(backend).as_deref() == Some("no answer")).await;
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
