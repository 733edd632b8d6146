//! Look at the appliance: all that `top` asks for, at one moment.

use std::collections::BTreeMap;

use guideway::api::admin::client::{Client, ClientError};
use guideway::api::view::{Backend, Drops, Stats, Status};

/// Answers of the appliance that belong together.
#[derive(Clone)]
pub(super) struct Look {
    pub(super) status: Status,
    pub(super) stats: Stats,
    pub(super) backends: Vec<Backend>,
    pub(super) drops: Drops,
}

/// Name of a counter that the appliance has no rate of.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Counter {
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
    /// Asks the appliance.
    pub(super) async fn at(client: &Client) -> Result<Self, ClientError> {
        let (status, stats, backends, drops) =
            tokio::try_join!(client.status(), client.stats(), client.backend_list(None), client.drops())?;
        Ok(Self { status, stats, backends: backends.backends, drops })
    }

    /// Reads the counters that rates are made of.
    pub(super) fn counters(&self) -> BTreeMap<Counter, u64> {
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
