//! One capture through `guideway replay`, and through `guideway run` on a port that reads it: both send the same
//! frames, byte by byte, and count the same verdicts.

use pcap_fixtures::packet::Packet;

use crate::devices;
use crate::lab::patience::PATIENCE;
use crate::lab::scratch::Scratch;
use crate::lab::twin::{compare, config, replay, sorted_frames, stats_after};

/// Port that reads a capture and writes another.
const PORT: &str = "device = \"net_pcap0,rx_pcap=DIRECTORY/in.pcap,tx_pcap=DIRECTORY/live.pcap\"";

/// Packets for every rule, and packets that are passed or dropped.
fn frames() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for flow in 0..500_u16 {
        let (v4, v6) = (format!("198.18.{}.7", flow % 90), format!("2001:db8:f::{:x}", flow % 70));
        let port = 20_000 + flow;
        let to = |vip: &str| Packet::between(if vip.contains(':') { &v6 } else { &v4 }, vip);
        frames.push(to("203.0.113.1").tcp(port, 443, 0x02).build());
        frames.push(to("203.0.113.2").udp(port, 53).payload_len(usize::from(flow)).build());
        frames.push(to("2001:db8::3").esp(u32::from(flow)).build());
        frames.push(to("2001:db8::4").tcp(port, 8000 + flow % 120, 0x02).build());
        frames.push(to("203.0.113.1").tcp(port, 443, 0x10).payload_len(700).build());
        frames.push(match flow % 6 {
            0 => to("203.0.113.9").tcp(port, 80, 0x02).build(),
            1 => to("203.0.113.1").ttl(1).tcp(port, 80, 0x02).build(),
            2 => to("2001:db8::4")
                .quoting(&Packet::between("2001:db8::4", &v6).tcp(8001, port, 0x10), 48)
                .build(),
            3 => to("203.0.113.2").udp(port, 53).payload_len(900).fragment(0, true).build(),
            4 => to("2001:db8::3").echo_request(flow, 1).build(),
            _ => to("203.0.113.1").tcp(port, 81, 0x02).build(),
        });
    }
    frames.extend(devices::frames(1500));
    frames
}

#[test]
fn a_live_port_and_a_replay_send_and_count_alike() {
    let scratch = Scratch::new(&config(PORT));
    let frames = frames();
    let replayed = replay(&scratch, &frames);

    let mut running = scratch.start(scratch.run());
    let stats = stats_after(&scratch, frames.len());
    let stopped = scratch.ask(&["stop"]);
    assert!(stopped.status.success(), "{stopped:?}");
    // The capture that the port writes is whole once the port is closed.
    assert!(running.finish(PATIENCE).status.success());

    compare(&stats, &replayed.summary);
    let mut live = sorted_frames(&scratch.path().join("live.pcap"));
    // The live appliance also announces its own addresses, by multicast.
    live.retain(|frame| frame[0] & 1 == 0);
    assert!(live.len() > 2_000, "{} frames", live.len());
    let pairs = live.iter().zip(&replayed.sent);
    let differing: Vec<_> = pairs.filter(|(live, replayed)| live != replayed).collect();
    assert!(differing.is_empty(), "{} differ, the first is {:?}", differing.len(), differing[0]);
    assert_eq!(live.len(), replayed.sent.len());
}
