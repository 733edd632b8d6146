//! The what_if that `explain` and `ring` look at: a configuration, and who is unhealthy in it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args as Arguments;
use guideway_dataplane::snapshot::Snapshot;
use guideway_model::compiler::Compiler;
use guideway_model::config::Config;
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::service::Services;

use super::Exit;

#[derive(Arguments)]
pub(super) struct WhatIfArgs {
    /// The configuration file; without it, an embedded example.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A backend that is to count as unhealthy; may be given again.
    #[arg(long, value_name = "SERVICE/BACKEND")]
    unhealthy: Vec<String>,
}

pub(super) struct WhatIf {
    pub(super) config: Config,
    pub(super) services: Services,
    pub(super) compiler: Compiler,
    pub(super) snapshot: Snapshot,
}

impl WhatIfArgs {
    pub(super) fn what_if(&self, color: bool) -> Result<WhatIf, Exit> {
        let config = super::config(self.config.as_deref(), color)?;
        let mut services = Services::default();
        services.configure(&config, Duration::ZERO, true);
        for name in &self.unhealthy {
            let marked = match name.split_once('/') {
                Some((service, backend)) => {
                    services.set_health(service, backend, false).map_err(|error| error.to_string())
                }
                None => Err(format!("`{name}` is not of the form SERVICE/BACKEND")),
            };
            marked.map_err(|error| {
                eprintln!("error: --unhealthy: {error}");
                Exit::Usage
            })?;
        }
        let mut compiler = Compiler::default();
        compiler.set_config(&config);
        let snapshot = compiler.compile(&config, &services, &StandInMacs);
        Ok(WhatIf { config, services, compiler, snapshot })
    }
}
