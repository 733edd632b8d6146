//! The names behind the numbers that decisions carry.

use std::sync::Arc;

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::forwarding_rule::{RuleId, ServiceId};

use crate::config::Config;
use crate::service::Services;

/// The names of one snapshot's rules, services and backends.
#[derive(Debug, Default)]
pub struct Directory {
    rules: Vec<Arc<str>>,
    services: Vec<Arc<str>>,
    backends: Vec<Option<Arc<str>>>,
}

impl Directory {
    /// The names of the snapshot that is compiled from `config` and `services`.
    pub fn new(config: &Config, services: &Services) -> Self {
        let mut backends = vec![None; services.handles().len()];
        for (_, service) in services.iter() {
            for backend in service.backends() {
                backends[backend.handle.0 as usize] = Some(backend.endpoint.name.as_str().into());
            }
        }
        Self {
            rules: config.rules.iter().map(|rule| rule.name.as_str().into()).collect(),
            services: config.services.iter().map(|service| service.name.as_str().into()).collect(),
            backends,
        }
    }

    /// The name of a rule.
    pub fn rule(&self, id: RuleId) -> &str {
        &self.rules[usize::from(id.0)]
    }

    /// The name of a service.
    pub fn service(&self, id: ServiceId) -> &Arc<str> {
        &self.services[usize::from(id.0)]
    }

    /// The name of a backend, unless nothing uses its handle.
    pub fn backend(&self, handle: BackendHandle) -> Option<&Arc<str>> {
        self.backends.get(handle.0 as usize)?.as_ref()
    }
}
