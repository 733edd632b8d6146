//! The names behind the numbers that decisions carry.

use std::sync::Arc;

use guideway_dataplane::access_list::AccessListId;
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::forwarding_rule::{RuleId, ServiceId};

use crate::config::Config;
use crate::service::Services;

/// Names of the rules, services and backends of one configuration's snapshots.
#[derive(Debug, Default)]
pub struct Names {
    /// By [`RuleId`]: the rule's name, and the index of its service.
    rules: Vec<(Arc<str>, usize)>,
    services: Vec<Arc<str>>,
    /// By [`AccessListId`].
    access_lists: Vec<Arc<str>>,
    /// By [`ServiceId`]: the name of the service's network, where there are several.
    networks: Vec<Arc<str>>,
    /// By handle: the service's name and the backend's.
    backends: Vec<Option<(Arc<str>, Arc<str>)>>,
}

impl Names {
    /// Names of the snapshots that are compiled from `config` and `services`.
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
            networks: networks_of(config),
            services: config.services.iter().map(|service| service.name.as_str().into()).collect(),
            access_lists: config.access_lists.iter().map(|list| list.name.as_str().into()).collect(),
            backends,
        }
    }

    /// Name of a rule.
    pub fn rule(&self, id: RuleId) -> &str {
        &self.rules[usize::from(id.0)].0
    }

    /// Names of a rule and of its service; `None` where there is no such rule.
    pub fn rule_and_service(&self, id: RuleId) -> Option<(&Arc<str>, &Arc<str>)> {
        let (rule, service) = self.rules.get(usize::from(id.0))?;
        Some((rule, &self.services[*service]))
    }

    /// Name of a service.
    pub fn service(&self, id: ServiceId) -> &Arc<str> {
        &self.services[usize::from(id.0)]
    }

    /// Name of a service's network; `None` where the appliance is in one network alone.
    pub fn network(&self, id: ServiceId) -> Option<&Arc<str>> {
        self.networks.get(usize::from(id.0))
    }

    /// Name of a backend; `None` where nothing uses its handle.
    pub fn backend(&self, handle: BackendHandle) -> Option<&Arc<str>> {
        self.service_and_backend(handle).map(|(_, backend)| backend)
    }

    /// Names of a backend's service and of the backend; `None` where nothing uses its handle.
    pub fn service_and_backend(&self, handle: BackendHandle) -> Option<(&Arc<str>, &Arc<str>)> {
        self.backends.get(handle.0 as usize)?.as_ref().map(|(service, backend)| (service, backend))
    }

    /// All rules, each with its number, its name and its service's name.
    pub fn rules(&self) -> impl Iterator<Item = (RuleId, &Arc<str>, &Arc<str>)> {
        let rules = self.rules.iter().enumerate();
        rules.map(|(index, (rule, service))| (RuleId(index as u16), rule, &self.services[*service]))
    }

    /// Names of all services.
    pub fn service_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.services.iter()
    }

    /// All backends, configured or draining, each with its handle, its service's name and its own.
    pub fn backends(&self) -> impl Iterator<Item = (BackendHandle, &Arc<str>, &Arc<str>)> {
        let backends = self.backends.iter().enumerate();
        backends.filter_map(|(handle, names)| {
            let (service, backend) = names.as_ref()?;
            Some((BackendHandle(handle as u32), service, backend))
        })
    }

    /// Access lists, each with its number and its name.
    pub fn access_lists(&self) -> impl ExactSizeIterator<Item = (AccessListId, &Arc<str>)> {
        let lists = self.access_lists.iter().enumerate();
        lists.map(|(index, name)| (AccessListId(index as u16), name))
    }

    /// Number of rules.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// Number of handles: one past the largest.
    pub fn handle_count(&self) -> usize {
        self.backends.len()
    }
}

/// Names of the services' networks, by [`ServiceId`]; none where there is one network.
fn networks_of(config: &Config) -> Vec<Arc<str>> {
    if !config.has_several_networks() {
        return Vec::new();
    }
    let names: Vec<Arc<str>> = config.networks.iter().map(|network| network.name.as_str().into()).collect();
    config.services.iter().map(|service| Arc::clone(&names[service.network])).collect()
}
