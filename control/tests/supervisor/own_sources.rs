//! Packets that come from the appliance's own address by its link, as a backend sends them back that has no VIP and forwards.

use std::time::Duration;

use guideway::api::request::Request;
use guideway::api::view::{self, Health};
use guideway::run::assemble::Probing;
use guideway_dataplane::frame::Frame;
use guideway_engine::mbuf::Mbuf;
use pcap_fixtures::packet::Packet;
use pcap_fixtures::packet::tcp::{ACK, FIN, RST, SYN};

use crate::operator::*;

/// Last byte of the MAC address of backend `a`, which forwards what is not for it, and of `b`, which has the VIP.
const FORWARDS: u8 = 0xa;
const SERVES: u8 = 0xb;

/// The frame in which a host forwards a packet back to the appliance.
fn sent_back(frame: &[u8]) -> Vec<u8> {
    let mut back = [&OWN_MAC, &frame[..6], &frame[12..]].concat();
    // TTL less by one, and a checksum that says so.
    back[22] -= 1;
    let checksum = u16::from_be_bytes([back[24], back[25]]);
    let (sum, carry) = checksum.overflowing_add(0x100);
    back[24..26].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    back
}

/// The segment by which a backend with the VIP answers a probe's.
fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let port = u16::from_be_bytes([frame[34], frame[35]]);
    let number = |at: usize| u32::from_be_bytes(*frame[at..].first_chunk().unwrap());
    let (flags, seq) = match frame[47] {
        flags if flags & RST != 0 => return None,
        flags if flags & SYN != 0 => (SYN | ACK, 1_000),
        flags if flags & FIN != 0 => (RST | ACK, number(42)),
        _ => return None,
    };
    let answer = Packet::between("192.0.2.100", "192.0.2.1").tcp(80, port, flags);
    let answer = answer.seq(seq).ack(number(38).wrapping_add(1));
    Some(answer.macs([2, 0, 0, 0, 0, SERVES], OWN_MAC).build())
}

fn results(backend: &view::Backend) -> (u64, u64) {
    let check = backend.health_check.as_ref().expect("it is watched");
    (check.rules[0].passed, check.rules[0].failed)
}

#[test]
fn a_backend_that_sends_probes_back_is_not_healthy_by_the_answers_of_another() {
    let config = CONFIG
        .replace("\"192.0.2.12\"", "\"192.0.2.12\", mac_address = \"02:00:00:00:00:0b\"")
        .replace("type = \"TCP\"", "type = \"TCP\"\ncheck_interval_sec = 1\ntimeout_sec = 1");
    let result = run("own-sources", &config, Probing::On, None, |mut operator| async move {
        let mut returned = 0;
        for _ in 0..20_000 {
            while let Some(sent) = operator.wire.receive() {
                let frame = sent.bytes();
                let said = match frame[5] {
                    _ if frame[12..14] != [8, 0] => None,
                    FORWARDS => Some(sent_back(frame)),
                    SERVES => answer(frame),
                    _ => None,
                };
                returned += u64::from(said.is_some() && frame[5] == FORWARDS);
                if let Some(said) = said {
                    let mut mbuf = Mbuf::new();
                    mbuf.fill(&said);
                    assert!(operator.wire.send(mbuf).is_ok(), "the ring has room");
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            let (a, b) = (operator.backend("a").await, operator.backend("b").await);
            if b.health == Health::Healthy && results(&a) >= (0, 3) {
                break;
            }
        }
        let (a, b) = (operator.backend("a").await, operator.backend("b").await);
        assert_eq!((a.health, b.health), (Health::Unhealthy, Health::Healthy));
        assert_eq!(results(&a).0, 0, "no probe of it is answered by the other");
        let stats = operator.ask(|reply| Request::Stats { reply }).await.unwrap();
        assert!(returned >= 3 && stats.total.dropped["own_source"] >= 3, "{returned} packets came back");
        let flow = "tcp 192.0.2.1:1000 > 192.0.2.100:80".parse().unwrap();
        let explain = |reply| Request::Explain { flow, network: None, unhealthy: Vec::new(), reply };
        let explained = operator.ask(explain).await.unwrap().explanation;
        assert_eq!((&*explained.verdict, explained.reason.as_deref()), ("drop", Some("own_source")));
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
