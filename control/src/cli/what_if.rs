//! The case that `explain` and `ring` look at: a configuration or the running appliance, and backends that count as unhealthy.

use std::time::Duration;

use clap::Args as Arguments;
use guideway::api::request::BackendName;
use guideway_dataplane::snapshot::Snapshot;
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::forwarding_state::{ForwardingState, StateChange};

use super::Exit;
use super::appliance::SocketArgs;
use super::config_choice::ConfigArgs;

#[derive(Arguments)]
pub(super) struct WhatIfArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Goes by the running appliance, with its health, weights and drains of now, in place of a file.
    #[arg(long, conflicts_with_all = ["config", "demo"])]
    pub(super) live: bool,
    /// Backend that counts as unhealthy; may be given several times.
    #[arg(long, value_name = "SERVICE/BACKEND")]
    pub(super) unhealthy: Vec<BackendName>,
    #[command(flatten)]
    pub(super) socket: SocketArgs,
}

pub(super) struct WhatIf {
    pub(super) state: ForwardingState,
    pub(super) snapshot: Snapshot,
    /// Name of the configuration.
    pub(super) name: String,
}

impl WhatIfArgs {
    /// State of the file, in which all backends but those named are healthy.
    pub(super) fn what_if(&self, color: bool) -> Result<WhatIf, Exit> {
        let (config, name) = self.config.config(color)?;
        let mut state = ForwardingState::offline(config);
        for BackendName { service, backend } in self.unhealthy.iter().cloned() {
            let unhealthy = StateChange::Health { service, backend, healthy: false };
            state.apply([unhealthy], Duration::ZERO).all_known().map_err(|error| {
                complain!("error: --unhealthy: {error}");
                Exit::Usage
            })?;
        }
        let snapshot = state.snapshot(&StandInMacs);
        Ok(WhatIf { state, snapshot, name })
    }
}
