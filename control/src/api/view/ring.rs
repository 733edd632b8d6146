//! Lookup tables of the services: slots, shares, subsets and digests.

use std::net::IpAddr;
use std::num::NonZeroU16;

use guideway_dataplane::snapshot::Snapshot;
use guideway_model::forwarding_state::ForwardingState;
use guideway_model::lookup_table_view::{self, NamedTable};
use guideway_model::service::{ServiceState, UnknownName};
use serde::{Deserialize, Serialize};

/// Lookup tables of the running appliance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RingList {
    /// Path of the configuration file.
    pub config_path: String,
    /// Number of configurations that the appliance has accepted.
    pub configuration_generation: u64,
    /// Lookup tables, by service.
    pub rings: Vec<Ring>,
}

/// Lookup table of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ring {
    /// Name of the service.
    pub backend_service: String,
    /// Network of the service; absent where the appliance is in one network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Number of slots.
    pub slots: usize,
    /// Digest of the table's content and of the size of its subsets, in hexadecimal.
    pub digest: String,
    /// Subsets of the backends; absent where there are none and no client was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subsetting: Option<Subsetting>,
    /// Eligible backends, by name.
    pub backends: Vec<RingShare>,
    /// Backend of every slot, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_by_slot: Option<Vec<String>>,
}

/// Share of an eligible backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RingShare {
    /// Name of the backend.
    pub backend: String,
    /// Weight of the backend; 1 where the service is not weighted.
    pub weight: u16,
    /// Number of slots.
    pub slots: u32,
    /// Share of the slots, from 0 to 1.
    pub share: f64,
    /// Number of subsets that the backend is in; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subsets: Option<u32>,
}

/// Subsets of a service's backends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subsetting {
    /// Policy, as configured.
    pub policy: String,
    /// Number of backends that each client meets at most, as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset_size: Option<u16>,
    /// Number of classes; absent where every client meets all eligible backends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<usize>,
    /// Fewest and most subsets that a backend is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subsets_of_a_backend: Option<Extremes>,
    /// Subset of the client that was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientSubset>,
}

/// Fewest and most of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extremes {
    /// Fewest.
    pub least: u32,
    /// Most.
    pub most: u32,
}

/// Subset of a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientSubset {
    /// Address of the client.
    pub address: IpAddr,
    /// Class of the client; absent where there are no classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<usize>,
    /// Backends of the class, by seat.
    pub backends: Vec<String>,
}

/// Lookup tables that are asked for, and the parts of them.
#[derive(Clone, Debug, Default)]
pub struct RingQuery {
    /// Service to show; all without it.
    pub service: Option<String>,
    /// Network whose services are shown; all without it.
    pub network: Option<String>,
    /// Client whose subsets are shown.
    pub client: Option<IpAddr>,
    /// True if the backend of every slot is shown too.
    pub slots: bool,
}

impl RingQuery {
    /// Lookup tables of a state and its latest snapshot.
    ///
    /// # Errors
    /// [`UnknownName`] of a network or a service that there is not.
    pub fn rings(&self, state: &ForwardingState, snapshot: &Snapshot) -> Result<Vec<Ring>, UnknownName> {
        let wanted = self.network.as_deref().map(|name| state.network_named(Some(name))).transpose()?;
        let network_of = |service: &str| state.services().get(service).map(ServiceState::network);
        let tables = state
            .lookup_tables()
            .filter(|table| wanted.is_none_or(|network| network_of(table.service()) == Some(network)))
            .filter(|table| self.service.as_deref().is_none_or(|name| name == table.service()));
        let rings: Vec<Ring> = tables
            .map(|table| {
                let network = network_of(table.service()).and_then(|network| state.network_name(network));
                self.ring(table, network, snapshot)
            })
            .collect();
        match &self.service {
            Some(name) if rings.is_empty() => Err(UnknownName::Service(name.clone())),
            _ => Ok(rings),
        }
    }

    fn ring(&self, table: NamedTable<'_>, network: Option<&str>, snapshot: &Snapshot) -> Ring {
        let slots = table.table().len();
        let share = |share: lookup_table_view::Share<'_>| RingShare {
            backend: share.backend.to_owned(),
            weight: share.weight,
            slots: share.slots,
            share: f64::from(share.slots) / slots as f64,
            subsets: share.subsets,
        };
        let by_slot = || (0..slots).map(|slot| table.backend_at(slot).to_owned()).collect();
        Ring {
            backend_service: table.service().to_owned(),
            network: network.map(str::to_owned),
            slots,
            digest: format!("{:016x}", table.digest()),
            subsetting: Subsetting::of(table, self.client, snapshot),
            backends: table.shares().map(share).collect(),
            backend_by_slot: self.slots.then(by_slot),
        }
    }
}

impl Subsetting {
    /// Subsetting of a service; none where there is none and no client is asked about.
    fn of(table: NamedTable<'_>, client: Option<IpAddr>, snapshot: &Snapshot) -> Option<Self> {
        let subset_size = table.subset_size().map(NonZeroU16::get);
        if subset_size.is_none() && client.is_none() {
            return None;
        }
        let client = client.map(|address| {
            let class = table.subsets().map(|subsets| snapshot.class(subsets, address.into()));
            let backends = match class {
                Some(class) => table.subset(class).map(str::to_owned).collect(),
                None => table.shares().map(|share| share.backend.to_owned()).collect(),
            };
            ClientSubset { address, class, backends }
        });
        let memberships = || table.shares().filter_map(|share| share.subsets);
        Some(Self {
            policy: if subset_size.is_some() { "CONSISTENT_HASH_SUBSETTING" } else { "NONE" }.to_owned(),
            subset_size,
            classes: table.subsets().map(|subsets| subsets.iter().len()),
            subsets_of_a_backend: memberships()
                .min()
                .zip(memberships().max())
                .map(|(least, most)| Extremes { least, most }),
            client,
        })
    }
}
