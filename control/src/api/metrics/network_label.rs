//! The label of a network: samples of a service, and of its rules and backends, have it where the appliance is in several.

use std::collections::BTreeMap;

use super::families::Label;
use crate::api::view::Service;

/// Networks of the services, by the services' names; none where the appliance is in one network alone.
pub(super) struct NetworkLabel<'s>(BTreeMap<&'s str, &'s str>);

impl<'s> NetworkLabel<'s> {
    /// Label for the samples of these services.
    pub(super) fn new(services: &'s [Service]) -> Self {
        Self(
            services
                .iter()
                .filter_map(|service| Some((&*service.name, service.network.as_deref()?)))
                .collect(),
        )
    }

    /// Adds the label of a service's network to labels of its sample.
    pub(super) fn added<const LABELS: usize>(&self, service: &str, labels: [Label; LABELS]) -> Vec<Label> {
        let network = self.0.get(service).map(|network| ("network", (*network).to_owned()));
        labels.into_iter().chain(network).collect()
    }

    /// Labels of a backend's sample.
    pub(super) fn of_backend(&self, service: &str, backend: &str) -> Vec<Label> {
        self.added(service, [("service", service.to_owned()), ("backend", backend.to_owned())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, network: Option<&str>) -> Service {
        Service {
            name: name.to_owned(),
            network: network.map(str::to_owned),
            backends: 1,
            healthy: 1,
            ever_healthy: true,
            operator_drained: 0,
            eligible: 1,
            pool: None,
            weights_valid: None,
            lookup_table_digest: String::new(),
        }
    }

    #[test]
    fn samples_have_their_services_network_where_there_are_several_and_no_other_label_else() {
        let own = || [("service", "web".to_owned()), ("backend", "b1".to_owned())];
        let one = [service("web", None)];
        assert_eq!(NetworkLabel::new(&one).added("web", own()), own());
        let several = [service("dns", Some("red")), service("web", Some("blue"))];
        let labels = NetworkLabel::new(&several).added("web", own());
        assert_eq!(labels, [&own()[..], &[("network", "blue".to_owned())]].concat());
    }
}
