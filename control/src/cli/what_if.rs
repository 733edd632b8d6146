//! The case that `explain` and `ring` look at: a configuration, and the backends that count as unhealthy in it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as Arguments;
use guideway_dataplane::snapshot::Snapshot;
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::forwarding_state::{ForwardingState, StateChange};

use super::Exit;

#[derive(Arguments)]
pub(super) struct WhatIfArgs {
    /// Configuration file; without it, an embedded example.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Backend that counts as unhealthy; may be given several times.
    #[arg(long, value_name = "SERVICE/BACKEND")]
    unhealthy: Vec<String>,
}

pub(super) struct WhatIf {
    pub(super) state: ForwardingState,
    pub(super) snapshot: Snapshot,
}

impl WhatIfArgs {
    pub(super) fn what_if(&self, color: bool) -> Result<WhatIf, Exit> {
        let mut state = ForwardingState::offline(super::config(self.config.as_deref(), color)?);
        for name in &self.unhealthy {
            let marked = match name.split_once('/') {
                Some((service, backend)) => {
                    let (service, backend) = (service.to_owned(), backend.to_owned());
                    let unhealthy = StateChange::Health { service, backend, healthy: false };
                    state.apply([unhealthy], Duration::ZERO).all_known().map_err(|error| error.to_string())
                }
                None => Err(format!("`{name}` is not of the form SERVICE/BACKEND")),
            };
            marked.map_err(|error| {
                eprintln!("error: --unhealthy: {error}");
                Exit::Usage
            })?;
        }
        let snapshot = state.snapshot(&StandInMacs);
        Ok(WhatIf { state, snapshot })
    }
}
