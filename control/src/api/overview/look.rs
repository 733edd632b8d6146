//! Look at the appliance: the answers of one moment that tables are made of.

use std::collections::BTreeMap;

use crate::api::view::{Backend, Drops, Stats, Status};

/// Answers of the appliance that belong together.
#[derive(Clone, Debug)]
pub struct Look {
    /// State of the appliance.
    pub status: Status,
    /// Counters of the appliance.
    pub stats: Stats,
    /// Backends, by service and name.
    pub backends: Vec<Backend>,
    /// Drops by reason.
    pub drops: Drops,
}

/// Name of a counter that the appliance has no rate of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Packets lost: part of the appliance that counts them, and reason.
    Lost(&'static str, String),
    /// Packets that a port has received.
    Received(String),
    /// Packets that a port has sent.
    Sent(String),
    /// Packets that a port has lost.
    LostBy(String),
    /// Packets that came to a worker.
    Offered(u16),
    /// Packets that a worker has dropped.
    DroppedBy(u16),
}

impl Look {
    /// Reads the counters that rates are made of.
    pub fn counters(&self) -> BTreeMap<Counter, u64> {
        let lost = self
            .drops
            .drops
            .iter()
            .map(|row| (Counter::Lost(row.counted_by.as_str(), row.reason.clone()), row.packets));
        let ports = self.stats.ports.iter().flat_map(|port| {
            let lost = port.missed + port.rx_errors + port.tx_errors + port.no_mbuf;
            [
                (Counter::Received(port.name.clone()), port.received),
                (Counter::Sent(port.name.clone()), port.sent),
                (Counter::LostBy(port.name.clone()), lost),
            ]
        });
        let workers = self.stats.workers.iter().flat_map(|worker| {
            [
                (Counter::Offered(worker.number), worker.packets.offered),
                (Counter::DroppedBy(worker.number), worker.packets.dropped.values().sum()),
            ]
        });
        lost.chain(ports).chain(workers).collect()
    }
}
