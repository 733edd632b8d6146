//! Lost packets of the running appliance in sentences: for every reason what happened, and what to do.
//!
//! The texts of what devices and workers lose stand here alone: `guideway drops` shows them.

use guideway_dataplane::verdict::DropReason;

use crate::api::view::{CountedBy, DropRow, Drops, Stats};
use crate::drop_help::{Sentences, dropped};

impl Drops {
    /// Lists every reason with its count, zeros too.
    pub fn new(stats: &Stats) -> Self {
        let row = |counted_by, reason: &str, packets, (meaning, help): Sentences| DropRow {
            counted_by,
            reason: reason.to_owned(),
            packets,
            meaning: meaning.to_owned(),
            help: help.to_owned(),
        };
        let sum = |count: fn(&crate::api::view::PortStats) -> u64| stats.ports.iter().map(count).sum();
        let device = [
            ("missed", sum(|port| port.missed), MISSED),
            ("no_mbuf", sum(|port| port.no_mbuf), NO_MBUF),
            ("rx_errors", sum(|port| port.rx_errors), RX_ERRORS),
            ("tx_errors", sum(|port| port.tx_errors), TX_ERRORS),
        ];
        let link = &stats.total.link;
        let worker = [
            ("refused", link.refused, REFUSED),
            ("tx_full", link.tx_full, TX_FULL),
            ("unknown_egress_port", link.unknown_egress_port, UNKNOWN_EGRESS_PORT),
            ("host_full", link.host_full, HOST_FULL),
            ("no_fragment_memory", link.no_fragment_memory, NO_FRAGMENT_MEMORY),
        ];
        let device = device.map(|(reason, packets, text)| row(CountedBy::Device, reason, packets, text));
        let worker = worker.map(|(reason, packets, text)| row(CountedBy::Worker, reason, packets, text));
        let verdicts = DropReason::ALL.iter().map(|reason| {
            let packets = stats.total.dropped.get(reason.as_str()).copied().unwrap_or(0);
            row(CountedBy::DataPlane, reason.as_str(), packets, dropped(*reason))
        });
        Self { drops: device.into_iter().chain(worker).chain(verdicts).collect() }
    }
}

const MISSED: Sentences = (
    "The device had no free receive descriptor: the workers take packets more slowly than they come.",
    "Give the appliance more workers or more `rx_descriptors`; see `busy` in `guideway status`.",
);
const NO_MBUF: Sentences =
    ("The driver had no buffer for the packet.", "Raise `mbufs` in `[engine]`, and the memory with it.");
const RX_ERRORS: Sentences = (
    "The device received a damaged frame, or one that is too long for it.",
    "Look at cable, transceiver and switch port, and compare the port's `mtu` with that of its neighbours.",
);
const TX_ERRORS: Sentences = (
    "The device could not send a frame that it had taken.",
    "Compare the port's `mtu` with what its link carries; see the device's own log.",
);
const REFUSED: Sentences = (
    "A frame filled more than one buffer, or the worker that it belongs to had no room for it.",
    "Turn off receive offloads that merge packets, lower the MTU of the senders, or add workers.",
);
const TX_FULL: Sentences = (
    "A port's transmit queue stayed full: more is to be sent than the link carries.",
    "Use a faster link, or raise the port's `tx_descriptors` if the load comes in short bursts.",
);
const UNKNOWN_EGRESS_PORT: Sentences = (
    "The forwarding state names a port that the workers have not opened: a fault of the appliance itself.",
    "Restart the appliance, which opens every configured port, and report the fault with the configuration.",
);
const HOST_FULL: Sentences = (
    "Too many packets that are not ours waited for the host stack: ARP and echo requests may be among them.",
    "See `passed` in `guideway stats` for what they are, and keep such traffic away from the port.",
);
const NO_FRAGMENT_MEMORY: Sentences = (
    "There was no buffer for the fragments of a tunnel packet, or the packet would have made too many.",
    "Raise `mbufs` in `[engine]`, or carry longer packets: raise the MTU of the path and `mtu` with it.",
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::view::{LinkStats, PacketStats, PortStats};

    #[test]
    fn every_reason_has_its_counter_and_says_what_to_do() {
        let total = PacketStats {
            dropped: [("ttl_expired".to_owned(), 3)].into(),
            link: LinkStats {
                sent: 9,
                tx_full: 4,
                unknown_egress_port: 7,
                host_full: 5,
                refused: 6,
                joined: 0,
                fragments: 9,
                no_fragment_memory: 2,
            },
            ..PacketStats::default()
        };
        let port = |name: &str, missed| PortStats { name: name.into(), missed, ..PortStats::default() };
        let stats = Stats { total, ports: vec![port("lan", 1), port("wan", 10)], ..Stats::default() };
        let rows = Drops::new(&stats).drops;
        assert_eq!(rows.len(), 4 + 5 + DropReason::ALL.len());
        let counted: Vec<_> = rows.iter().filter(|row| row.packets > 0).collect();
        let counted: Vec<_> = counted.iter().map(|row| (row.reason.as_str(), row.packets)).collect();
        assert_eq!(
            counted,
            [
                ("missed", 11),
                ("refused", 6),
                ("tx_full", 4),
                ("unknown_egress_port", 7),
                ("host_full", 5),
                ("no_fragment_memory", 2),
                ("ttl_expired", 3)
            ]
        );
        for row in rows {
            assert!(row.meaning.ends_with('.') && row.help.ends_with('.'), "{}", row.reason);
        }
    }
}
