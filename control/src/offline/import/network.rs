//! VPC networks of Google Cloud: the one that each resource belongs to, by its own word or by that of resources that it is
//! tied to.
//!
//! A forwarding rule, a backend service, a group and a route may each name their network, and few of an export do. A service
//! that does not is of the network of its rules, else of its groups; a rule is of its service's, a group of its services'.

use std::collections::{BTreeMap, BTreeSet};

use super::resource::{Kind, MAX_NAME, Resource};
use super::url::Url;

/// Networks of an export, where there are several; one needs no word, nor does none.
#[derive(Debug, Default)]
pub(super) struct Networks {
    /// Names in the configuration, in the order in which resources tell of them.
    names: Vec<String>,
    /// By the names of resources in the configuration: the networks, of which a group may have several.
    of: BTreeMap<(Kind, String), Vec<String>>,
    /// Names of VPC networks, with their projects where these are told, and the names that they have in the configuration.
    known: BTreeMap<(Option<String>, String), String>,
}

/// VLAN that stands in for the first network's link, the next ones for those of the others.
const FIRST_VLAN: usize = 101;

impl Networks {
    /// Finds the network of each resource; `name_of` tells the name that a resource has in the configuration, and `resolve`
    /// that of the one that a reference leads to.
    pub(super) fn new(
        resources: &[Resource],
        name_of: impl Fn(&Resource) -> String,
        resolve: impl Fn(Kind, &str) -> Option<String>,
    ) -> Self {
        let mut networks = Self { known: known(resources), ..Self::default() };
        let of_kind = |kind| resources.iter().filter(move |resource| resource.kind == kind);
        let mut own: BTreeMap<(Kind, String), String> = BTreeMap::new();
        for resource in resources {
            if let Some(network) = networks.told(resource) {
                own.entry((resource.kind, name_of(resource))).or_insert(network);
            }
        }
        let own_of = |kind, name: &str| own.get(&(kind, name.to_owned())).cloned();
        let service_of = |rule: &Resource| {
            let service = rule.fields.peek("backend_service")?;
            resolve(Kind::BackendService, service)
        };
        for service in of_kind(Kind::BackendService) {
            let name = name_of(service);
            let rules = of_kind(Kind::ForwardingRule).filter(|rule| service_of(rule).as_ref() == Some(&name));
            let of_rules = || {
                let mut told = rules.map(|rule| own_of(Kind::ForwardingRule, &name_of(rule)));
                told.find_map(|network| network)
            };
            let groups = groups_of(service, &resolve);
            let of_groups = || groups.iter().find_map(|group| own_of(Kind::BackendGroup, group));
            let network = own_of(Kind::BackendService, &name).or_else(of_rules).or_else(of_groups);
            let Some(network) = network else { continue };
            groups.into_iter().for_each(|group| networks.add(Kind::BackendGroup, group, &network));
            networks.add(Kind::BackendService, name, &network);
        }
        for rule in of_kind(Kind::ForwardingRule) {
            let name = name_of(rule);
            let of_service =
                || networks.first_of(Kind::BackendService, &service_of(rule)?).map(str::to_owned);
            if let Some(network) = own_of(Kind::ForwardingRule, &name).or_else(of_service) {
                networks.add(Kind::ForwardingRule, name, &network);
            }
        }
        for (key, network) in own {
            // Groups that services use are of these services' networks.
            if !networks.of.contains_key(&key) && key.0 != Kind::Instance {
                networks.add(key.0, key.1, &network);
            }
        }
        if networks.names.len() < 2 {
            return Self::default();
        }
        networks
    }

    /// Network that a resource names.
    fn told(&self, resource: &Resource) -> Option<String> {
        self.named(resource.fields.peek("network")?).map(str::to_owned)
    }

    /// Name in the configuration of the network that a reference leads to.
    pub(super) fn named(&self, reference: &str) -> Option<&str> {
        let (project, name) = key(reference);
        let alike = || self.known.iter().filter(|((_, known), _)| *known == name);
        let exact = self.known.get(&(project, name.clone()));
        exact.or_else(|| alike().next().map(|(_, name)| name)).map(String::as_str)
    }

    fn add(&mut self, kind: Kind, name: String, network: &str) {
        if !self.names.iter().any(|known| known == network) {
            self.names.push(network.to_owned());
        }
        let own = self.of.entry((kind, name)).or_default();
        if !own.iter().any(|known| known == network) {
            own.push(network.to_owned());
        }
    }

    /// Network of a resource by its name in the configuration, or the first of a group's; [`None`] where there is one
    /// network, or nobody tells of the resource's.
    pub(super) fn first_of(&self, kind: Kind, name: &str) -> Option<&str> {
        self.all_of(kind, name).first().map(String::as_str)
    }

    /// Networks of a group by its name in the configuration.
    pub(super) fn all_of(&self, kind: Kind, name: &str) -> &[String] {
        self.of.get(&(kind, name.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// First network, which resources are of whose network nobody tells; [`None`] where there is one network.
    pub(super) fn of_untold(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    /// Name of a group in one of its networks: its own in the first, and another one in each other.
    pub(super) fn group_in(&self, group: &str, network: Option<&str>) -> String {
        match network.filter(|network| self.first_of(Kind::BackendGroup, group) != Some(network)) {
            Some(network) => joined(group, network),
            None => group.to_owned(),
        }
    }

    /// Networks, each with the VLAN that stands in for its link, and the remark on that; none where there is one network.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, usize, String)> {
        (FIRST_VLAN..).zip(&self.names).map(|(vlan, name)| {
            let remark = format!(
                "network `{name}`: `vlan = {vlan}` stands in for its link, which Google Cloud does not have: name the \
                 network's `port` or `vlan`, its `ip_addresses` and its `gateways`"
            );
            (name.as_str(), vlan, remark)
        })
    }
}

/// Name with another one behind it, no longer than a name may be; projects of a domain have colons and points in theirs.
fn joined(name: &str, suffix: &str) -> String {
    let letter =
        |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
    let suffix: String = suffix.chars().take(MAX_NAME / 2).map(letter).collect();
    let kept: String = name.chars().take(MAX_NAME.saturating_sub(suffix.len() + 1)).collect();
    format!("{kept}-{}", suffix.trim_end_matches('-'))
}

/// Names in the configuration of the groups that a service refers to.
fn groups_of(service: &Resource, resolve: impl Fn(Kind, &str) -> Option<String>) -> BTreeSet<String> {
    let mut fields = service.fields.clone();
    let members = ["backends", "backend"].map(|key| fields.objects(key));
    let references = members.into_iter().flatten().filter_map(|mut member| member.scalar("group"));
    references.filter_map(|reference| resolve(Kind::BackendGroup, &reference)).collect()
}

/// True of the name of a VPC network, which is that of a network here: an RFC 1035 label in lower case.
fn is_name(name: &str) -> bool {
    let is_inner = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let is_whole = name.len() <= MAX_NAME && !name.ends_with('-') && name.chars().all(is_inner);
    is_whole && name.starts_with(|letter: char| letter.is_ascii_lowercase())
}

/// Project and name of the VPC network that a reference leads to.
fn key(reference: &str) -> (Option<String>, String) {
    let mut segments = reference.split('/').skip_while(|segment| *segment != "projects").skip(1);
    (segments.next().map(str::to_owned), Url::new(reference).name().to_owned())
}

/// Names in the configuration of all VPC networks that resources name: their own, with their projects where those of several
/// projects have one name.
fn known(resources: &[Resource]) -> BTreeMap<(Option<String>, String), String> {
    let references = resources.iter().filter_map(|resource| resource.fields.peek("network"));
    let keys: BTreeSet<_> = references.map(key).filter(|(_, name)| is_name(name)).collect();
    let projects =
        |name: &str| keys.iter().filter(|(project, other)| project.is_some() && other == name).count();
    let named = |(project, name): &(Option<String>, String)| match project {
        Some(project) if projects(name) > 1 => joined(name, project),
        _ => name.clone(),
    };
    // A reference without a project is to the one that there is.
    let is_whole = |(project, name): &&(Option<String>, String)| project.is_some() || projects(name) == 0;
    keys.iter().filter(is_whole).map(|key| (key.clone(), named(key))).collect()
}
