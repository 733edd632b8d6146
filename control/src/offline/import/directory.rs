//! Directory of an import's resources: the name that each has in the configuration, and what references lead to.

use std::collections::{BTreeMap, BTreeSet};

use guideway_model::config::VipRange;

use super::network::Networks;
use super::resource::{Kind, MAX_NAME, Resource};
use super::url::Url;

/// Things of one name, each with its location where that is known.
type Located<T> = Vec<(Option<String>, T)>;

/// Names and addresses that references lead to.
#[derive(Debug, Default)]
pub(super) struct Directory {
    /// Locations of the resources of one kind and name, with the name of each in the configuration.
    names: BTreeMap<(Kind, String), Located<String>>,
    /// Interfaces of instances, by name and zone.
    instances: BTreeMap<String, Located<Vec<Interface>>>,
    /// Forwarding rules by their networks, where there are several, and their addresses and prefixes.
    rules: BTreeMap<(Option<String>, VipRange), String>,
    networks: Networks,
    /// Names of the groups that services refer to, and no file has.
    missing_groups: Vec<String>,
    /// Addresses of endpoints by the names that they were given.
    endpoints: BTreeMap<String, String>,
}

/// Interface of an instance: the network that it is in, and its addresses, IPv4 and IPv6.
#[derive(Clone, Debug)]
struct Interface {
    network: Option<String>,
    addresses: [Option<String>; 2],
}

impl Directory {
    /// Gives each resource its name, and its address to each instance.
    pub(super) fn new(resources: &[Resource]) -> Self {
        let mut directory = Self::default();
        for resource in resources {
            match resource.kind {
                Kind::Instance => directory.add_instance(resource),
                Kind::Endpoint => {}
                kind => {
                    let names = directory.names.entry((kind, resource.name.clone())).or_default();
                    names.push((resource.location.clone(), resource.name.clone()));
                }
            }
        }
        directory.add_missing_groups(resources);
        directory.tell_apart();
        directory.name_missing_groups();
        let name_of = |resource: &Resource| directory.name_of(resource);
        let resolve = |kind, reference: &str| directory.resolve(kind, reference).map(str::to_owned);
        directory.networks = Networks::new(resources, name_of, resolve);
        for rule in resources.iter().filter(|resource| resource.kind == Kind::ForwardingRule) {
            if let Some(Ok(address)) = rule.fields.peek("ip_address").map(str::parse) {
                let name = directory.name_of(rule);
                let network = directory.networks.first_of(Kind::ForwardingRule, &name).map(str::to_owned);
                directory.rules.entry((network, address)).or_insert(name);
            }
        }
        directory
    }

    /// Adds the groups that services refer to, and no file has.
    fn add_missing_groups(&mut self, resources: &[Resource]) {
        for service in resources.iter().filter(|resource| resource.kind == Kind::BackendService) {
            let mut fields = service.fields.clone();
            let members = ["backends", "backend"].map(|key| fields.objects(key));
            for reference in members.into_iter().flatten().filter_map(|mut member| member.scalar("group")) {
                if self.resolve(Kind::BackendGroup, &reference).is_none() {
                    let url = Url::new(&reference);
                    let names = self.names.entry((Kind::BackendGroup, url.name().to_owned())).or_default();
                    names.push((url.location(), url.name().to_owned()));
                    self.missing_groups.push(reference);
                }
            }
        }
    }

    /// Replaces the references to missing groups by the names that these were given.
    fn name_missing_groups(&mut self) {
        let references = std::mem::take(&mut self.missing_groups);
        let names = references.iter().filter_map(|reference| self.resolve(Kind::BackendGroup, reference));
        self.missing_groups = names.map(str::to_owned).collect();
    }

    /// Names of the groups that services refer to, and no file has.
    pub(super) fn missing_groups(&self) -> &[String] {
        &self.missing_groups
    }

    /// Appends its location to the name of each of several resources of one name.
    fn tell_apart(&mut self) {
        let taken: BTreeSet<(Kind, String)> = self.names.keys().cloned().collect();
        for ((kind, name), names) in &mut self.names {
            let locations: BTreeSet<_> = names.iter().map(|(location, _)| location.clone()).collect();
            if locations.len() < 2 {
                continue;
            }
            for (location, own) in names {
                let Some(location) = location else { continue };
                let kept: String = name.chars().take(MAX_NAME.saturating_sub(location.len() + 1)).collect();
                let longer = format!("{kept}-{location}");
                if !taken.contains(&(*kind, longer.clone())) {
                    *own = longer;
                }
            }
        }
    }

    fn add_instance(&mut self, instance: &Resource) {
        let mut fields = instance.fields.clone();
        let interfaces = ["network_interfaces", "network_interface"].map(|key| fields.objects(key));
        let interfaces = interfaces.into_iter().flatten().map(|mut interface| Interface {
            network: interface.scalar("network"),
            addresses: ["network_ip", "ipv6_address"].map(|key| interface.scalar(key)),
        });
        let known = self.instances.entry(instance.name.clone()).or_default();
        known.push((instance.location.clone(), interfaces.collect()));
    }

    /// Name of a resource in the configuration.
    pub(super) fn name_of(&self, resource: &Resource) -> String {
        let names = self.names.get(&(resource.kind, resource.name.clone()));
        let own = names.and_then(|names| names.iter().find(|(location, _)| *location == resource.location));
        own.map_or(resource.name.clone(), |(_, name)| name.clone())
    }

    /// Name in the configuration that a reference leads to; [`None`] if nothing of that name and location is there.
    pub(super) fn resolve(&self, kind: Kind, reference: &str) -> Option<&str> {
        let url = Url::new(reference);
        let names = self.names.get(&(kind, url.name().to_owned()))?;
        located(names, url.location().as_deref()).map(String::as_str)
    }

    /// Networks of the resources.
    pub(super) fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Name of the forwarding rule in a network with an address or a prefix: that of the longest prefix that holds it.
    pub(super) fn rule_at(&self, network: Option<&str>, vip: VipRange) -> Option<&str> {
        let of_network = self.rules.iter().filter(|((own, _), _)| own.as_deref() == network);
        let holding = of_network.filter(|((_, range), _)| range.prefix().contains(&vip.prefix()));
        holding.max_by_key(|((_, range), _)| range.prefix().prefix_len()).map(|(_, name)| name.as_str())
    }

    /// Addresses of an instance, IPv4 and IPv6, if it is among the resources: those of its interface in a network, else of its
    /// first.
    pub(super) fn addresses_of(&self, instance: &str, network: Option<&str>) -> [Option<String>; 2] {
        let url = Url::new(instance);
        let found = self.instances.get(url.name());
        let Some(interfaces) = found.and_then(|found| located(found, url.location().as_deref())) else {
            return [None, None];
        };
        let is_there = |interface: &&Interface| {
            let own = interface.network.as_deref().and_then(|reference| self.networks.named(reference));
            own.is_some() && own == network
        };
        let interface = interfaces.iter().find(is_there).or(interfaces.first());
        interface.map(|interface| interface.addresses.clone()).unwrap_or_default()
    }

    /// Name for the endpoint of an instance, or of none, at an address. An instance with several addresses is several
    /// endpoints, as a name may stand for one address alone.
    pub(super) fn endpoint(&mut self, instance: Option<&str>, address: &str) -> String {
        let after = |first: &str| {
            let letters =
                address.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' });
            let suffix: String = letters.flat_map(char::to_lowercase).collect();
            let kept = MAX_NAME.saturating_sub(suffix.len() + 1);
            format!("{}-{}", &first.chars().take(kept).collect::<String>(), suffix.trim_end_matches('-'))
        };
        let name = match instance.map(|instance| Url::new(instance).name()).filter(|name| !name.is_empty()) {
            Some(name) => name.to_owned(),
            None => after("endpoint"),
        };
        let known = self.endpoints.entry(name.clone()).or_insert_with(|| address.to_owned());
        if known == address { name } else { after(&name) }
    }
}

/// Finds, among things of one name, the one at a location; the only one, if either location is unknown.
fn located<'d, T>(things: &'d [(Option<String>, T)], location: Option<&str>) -> Option<&'d T> {
    let at = things.iter().find(|(own, _)| own.is_some() && own.as_deref() == location);
    let only = match things {
        [only] if only.0.is_none() || location.is_none() => Some(only),
        _ => None,
    };
    at.or(only).map(|(_, thing)| thing)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::resource::find;
    use super::*;

    fn resources(value: serde_json::Value) -> Vec<Resource> {
        let mut found = Vec::new();
        find(value, "export.json", &mut found, &mut Vec::new());
        found
    }

    #[test]
    fn groups_of_one_name_are_told_apart_by_their_zones() {
        let found = resources(json!({ "networkEndpointGroups": [
            { "name": "neg", "selfLink": "https://x/zones/a/networkEndpointGroups/neg" },
            { "name": "neg", "zone": "https://x/zones/b" },
            { "name": "other" },
        ] }));
        let directory = Directory::new(&found);
        let names: Vec<_> = found.iter().map(|resource| directory.name_of(resource)).collect();
        assert_eq!(names, ["neg-a", "neg-b", "other"]);
        let resolve = |reference| directory.resolve(Kind::BackendGroup, reference);
        assert_eq!(resolve("zones/b/networkEndpointGroups/neg"), Some("neg-b"));
        assert_eq!(resolve("zones/c/networkEndpointGroups/neg"), None);
        assert_eq!(resolve("neg"), None);
        assert_eq!(resolve("zones/c/networkEndpointGroups/other"), Some("other"));
    }

    #[test]
    fn an_instance_with_two_addresses_is_two_endpoints() {
        let mut directory = Directory::default();
        assert_eq!(directory.endpoint(Some("zones/a/instances/vm-1"), "10.0.0.1"), "vm-1");
        assert_eq!(directory.endpoint(Some("vm-1"), "10.0.0.1"), "vm-1");
        assert_eq!(directory.endpoint(Some("vm-1"), "10.0.1.1"), "vm-1-10-0-1-1");
        assert_eq!(directory.endpoint(None, "2001:DB8::1"), "endpoint-2001-db8--1");
    }
}
