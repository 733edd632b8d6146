//! The names behind the numbers that decisions carry.

use std::sync::Arc;

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::forwarding_rule::{RuleId, ServiceId};

use crate::config::Config;
use crate::service::Services;

/// The names of one snapshot's rules, services and backends.
#[derive(Debug, Default)]
pub struct Names {
    /// Each with its service's place.
    rules: Vec<(Arc<str>, usize)>,
    services: Vec<Arc<str>>,
    /// By handle: the service's name and the backend's.
    backends: Vec<Option<(Arc<str>, Arc<str>)>>,
}

impl Names {
    /// The names of the snapshot that is compiled from `config` and `services`.
    pub(crate) fn new(config: &Config, services: &Services) -> Self {
        let mut backends = vec![None; services.handles().len()];
        for (service, state) in services.iter() {
            let service: Arc<str> = service.into();
            for backend in state.backends() {
                let name = backend.endpoint.name.as_str().into();
                backends[backend.handle.0 as usize] = Some((Arc::clone(&service), name));
            }
        }
        Self {
            rules: config.rules.iter().map(|rule| (rule.name.as_str().into(), rule.service)).collect(),
            services: config.services.iter().map(|service| service.name.as_str().into()).collect(),
            backends,
        }
    }

    /// The name of a rule.
    pub fn rule(&self, id: RuleId) -> &str {
        &self.rules[usize::from(id.0)].0
    }

    /// The names of a rule and of its service, unless there is no such rule.
    pub fn rule_and_service(&self, id: RuleId) -> Option<(&Arc<str>, &Arc<str>)> {
        let (rule, service) = self.rules.get(usize::from(id.0))?;
        Some((rule, &self.services[*service]))
    }

    /// The name of a service.
    pub fn service(&self, id: ServiceId) -> &Arc<str> {
        &self.services[usize::from(id.0)]
    }

    /// The name of a backend, unless nothing uses its handle.
    pub fn backend(&self, handle: BackendHandle) -> Option<&Arc<str>> {
        self.service_and_backend(handle).map(|(_, backend)| backend)
    }

    /// The names of a backend's service and of the backend, unless nothing uses its handle.
    pub fn service_and_backend(&self, handle: BackendHandle) -> Option<(&Arc<str>, &Arc<str>)> {
        self.backends.get(handle.0 as usize)?.as_ref().map(|(service, backend)| (service, backend))
    }

    /// Every rule: its number, its name, its service's name.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, &Arc<str>, &Arc<str>)> {
        let rules = self.rules.iter().enumerate();
        rules.map(|(place, (rule, service))| (RuleId(place as u16), rule, &self.services[*service]))
    }

    /// Every service's name.
    pub fn service_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.services.iter()
    }

    /// Every backend, configured or draining: its handle, its service's name, its name.
    pub fn backends(&self) -> impl Iterator<Item = (BackendHandle, &Arc<str>, &Arc<str>)> {
        let backends = self.backends.iter().enumerate();
        backends.filter_map(|(handle, names)| {
            let (service, backend) = names.as_ref()?;
            Some((BackendHandle(handle as u32), service, backend))
        })
    }

    /// How many rules there are.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// One past the largest handle.
    pub fn handle_count(&self) -> usize {
        self.backends.len()
    }
}
