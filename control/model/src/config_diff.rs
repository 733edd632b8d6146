//! Changes that a reload makes, in words.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::config::{Announcement, BackendGroup, BackendService, Config, Endpoint, ForwardingRule, Network};
use crate::network_numbers;
use crate::port_succession;

/// One change that a reload makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The kind of change.
    pub kind: ChangeKind,
    /// Words for the change: the thing that changes, and its old and new values.
    pub text: String,
}

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A new thing.
    Added,
    /// A thing that is gone.
    Removed,
    /// A thing with other settings.
    Changed,
    /// A thing with other settings that take effect at the next start.
    NeedsRestart,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.kind {
            ChangeKind::Added => '+',
            ChangeKind::Removed => '-',
            ChangeKind::Changed => '~',
            ChangeKind::NeedsRestart => '!',
        };
        write!(f, "{sign} {}", self.text)
    }
}

/// Lists the changes from `old` to `new`.
pub fn changes(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Changes(Vec::new());
    changes.needs_restart("[engine]", old.engine == new.engine);
    changes.of_ports(old, new);
    changes.needs_restart("[admin]", old.admin == new.admin);
    changes.needs_restart("[metrics]", old.metrics == new.metrics);
    changes.needs_restart("[conntrack]", old.conntrack.max_entries == new.conntrack.max_entries);
    if old.conntrack.admission != new.conntrack.admission {
        changes.add(ChangeKind::Changed, "conntrack: admission of new connections".to_owned());
    }
    changes.of_networks(old, new);
    changes.of_new_ports(old, new);
    if old.fleet != new.fleet {
        changes.add(ChangeKind::Changed, "fleet seed: new connections go elsewhere".to_owned());
    }
    let names_of = |config: &Config, rule: &ForwardingRule| {
        let list = rule.access_list.map(|index| config.access_lists[index].name.clone());
        (config.services[rule.service].name.clone(), list)
    };
    changes.of_nouns(
        "forwarding rule",
        old.rules.iter().map(|rule| (&*rule.name, (rule, names_of(old, rule)))),
        new.rules.iter().map(|rule| (&*rule.name, (rule, names_of(new, rule)))),
        |(old, was), (new, is)| {
            let mut same = (*old).clone();
            (same.service, same.network, same.access_list) = (new.service, new.network, new.access_list);
            same == **new && was == is
        },
    );
    changes.of_nouns(
        "access list",
        old.access_lists.iter().map(|list| (&*list.name, list)),
        new.access_lists.iter().map(|list| (&*list.name, list)),
        |old, new| old == new,
    );
    let check_of =
        |config: &Config, service: &BackendService| config.health_checks[service.health_check].name.clone();
    changes.of_described_nouns(
        "backend service",
        old.services.iter().map(|service| (&*service.name, (service, check_of(old, service)))),
        new.services.iter().map(|service| (&*service.name, (service, check_of(new, service)))),
        |(old, checked), (new, checks)| {
            let is_same = same_settings(old, new) && checked == checks;
            (!is_same).then(|| service_differences((old, checked), (new, checks)))
        },
    );
    let before: HashMap<&str, &BackendService> =
        old.services.iter().map(|service| (&*service.name, service)).collect();
    for service in &new.services {
        if let Some(before) = before.get(&*service.name)
            && !groups(before, old).eq(groups(service, new))
        {
            changes.of_backends(before, old, service, new);
        }
    }
    changes.of_nouns(
        "health check",
        old.health_checks.iter().map(|check| (&*check.name, check)),
        new.health_checks.iter().map(|check| (&*check.name, check)),
        |old, new| old == new,
    );
    let next_hop = |config: &Config, index: usize| config.rules[index].name.clone();
    changes.of_nouns(
        "route",
        old.routes.iter().map(|route| (&*route.name, (route.dest_range, next_hop(old, route.next_hop_rule)))),
        new.routes.iter().map(|route| (&*route.name, (route.dest_range, next_hop(new, route.next_hop_rule)))),
        |old, new| old == new,
    );
    let names = |config: &Config, announcement: &Announcement| {
        announcement.rules.iter().map(|rule| config.rules[*rule].name.clone()).collect::<Vec<_>>()
    };
    changes.of_nouns(
        "announcement",
        old.announcements.iter().map(|one| (&*one.name, (one, names(old, one)))),
        new.announcements.iter().map(|one| (&*one.name, (one, names(new, one)))),
        |(old, were), (new, are)| {
            (old.policy, old.hold_down, &old.hook, were) == (new.policy, new.hold_down, &new.hook, are)
        },
    );
    // A file does not have the numbers that networks keep.
    let networks = network_numbers::numbered(&old.networks, &new.networks);
    if changes.0.is_empty() && *old != (Config { networks, ..new.clone() }) {
        // Groups are known by nothing that packets meet, and lists have no order there.
        let what = if old.remarks == new.remarks {
            "order or names of tables"
        } else {
            "what its files are warned of"
        };
        changes.add(ChangeKind::Changed, format!("{what}: nothing that packets meet"));
    }
    changes.0
}

/// True if two services differ in nothing but their backends and the name of their health check.
fn same_settings(old: &BackendService, new: &BackendService) -> bool {
    let mut same = old.clone();
    same.members.clone_from(&new.members);
    (same.health_check, same.network) = (new.health_check, new.network);
    same == *new
}

/// Settings in which two services differ, with the old value and the new one.
fn service_differences(
    (old, checked): (&BackendService, &String),
    (new, checks): (&BackendService, &String),
) -> String {
    let pairs = old.settings().into_iter().zip(new.settings());
    let mut differences: Vec<String> = pairs
        .filter(|((_, before), (_, now))| before != now)
        .map(|((key, before), (_, now))| format!("{key} {before} to {now}"))
        .collect();
    if checked != checks {
        differences.push(format!("health check {checked} to {checks}"));
    }
    differences.join(", ")
}

/// Settings of a backend that a reload may change: endpoint, group, and true for a failover group.
type Backend<'c> = (&'c Endpoint, &'c BackendGroup, bool);

/// Groups of a service, each with true for a failover group.
fn groups<'c>(
    service: &'c BackendService,
    config: &'c Config,
) -> impl Iterator<Item = (&'c BackendGroup, bool)> {
    service.members.iter().map(|member| (&config.groups[member.group], member.failover))
}

fn backends<'c>(service: &'c BackendService, config: &'c Config) -> BTreeMap<&'c str, Backend<'c>> {
    let endpoints = groups(service, config).flat_map(|(group, failover)| {
        group.endpoints.iter().map(move |endpoint| (&*endpoint.name, (endpoint, group, failover)))
    });
    endpoints.collect()
}

struct Changes(Vec<Change>);

impl Changes {
    fn add(&mut self, kind: ChangeKind, text: String) {
        self.0.push(Change { kind, text });
    }

    fn needs_restart(&mut self, what: &str, is_same: bool) {
        if !is_same {
            self.add(ChangeKind::NeedsRestart, format!("{what}: takes effect at the next start"));
        }
    }

    /// Adds the changes of the nouns of one kind, which are known by name.
    fn of_nouns<'c, T>(
        &mut self,
        noun: &str,
        old: impl Iterator<Item = (&'c str, T)>,
        new: impl Iterator<Item = (&'c str, T)>,
        same: impl Fn(&T, &T) -> bool,
    ) {
        self.of_described_nouns(noun, old, new, |old, new| (!same(old, new)).then(String::new));
    }

    /// Adds the changes of the nouns of one kind, which are known by name, with the differences of those that have changed.
    fn of_described_nouns<'c, T>(
        &mut self,
        noun: &str,
        old: impl Iterator<Item = (&'c str, T)>,
        new: impl Iterator<Item = (&'c str, T)>,
        differences: impl Fn(&T, &T) -> Option<String>,
    ) {
        let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) = (old.collect(), new.collect());
        for name in old.keys().filter(|name| !new.contains_key(*name)) {
            self.add(ChangeKind::Removed, format!("{noun} {name}"));
        }
        for (name, noun_now) in &new {
            match old.get(name) {
                None => self.add(ChangeKind::Added, format!("{noun} {name}")),
                Some(before) => match differences(before, noun_now) {
                    None => {}
                    Some(what) if what.is_empty() => self.add(ChangeKind::Changed, format!("{noun} {name}")),
                    Some(what) => self.add(ChangeKind::Changed, format!("{noun} {name}: {what}")),
                },
            }
        }
    }

    /// Adds the changes of the ports: addresses and gateways are taken over, all else waits for the next start.
    fn of_ports(&mut self, old: &Config, new: &Config) {
        let (mut as_before, mut readdressed) = (Vec::new(), Vec::new());
        for (port, predecessor) in new.ports.iter().zip(port_succession::predecessors(&old.ports, &new.ports))
        {
            let before = predecessor.map_or(port, |index| &old.ports[index]);
            let with_addresses = port_succession::with_addresses_of(port, before);
            if with_addresses != *port {
                readdressed.push(format!("port {}: addresses or gateways", port.name));
            }
            as_before.push(with_addresses);
        }
        self.needs_restart("[[port]]", as_before == old.ports);
        readdressed.into_iter().for_each(|text| self.add(ChangeKind::Changed, text));
    }

    /// Adds the changes of the networks.
    fn of_networks(&mut self, old: &Config, new: &Config) {
        let predecessors = network_numbers::predecessors(&old.networks, &new.networks);
        let ports = port_succession::predecessors(&old.ports, &new.ports);
        // Of a configuration without ports, as of a replay, an index is all that there is.
        let port_before =
            |network: &Network| network.port.map(|port| ports.get(port).copied().unwrap_or(Some(port)));
        let gone = old.networks.iter().enumerate().filter(|(index, _)| !predecessors.contains(&Some(*index)));
        let mut gone: Vec<&str> = gone.map(|(_, network)| &*network.name).collect();
        gone.sort_unstable();
        gone.iter().for_each(|name| self.add(ChangeKind::Removed, format!("network {name}")));

        let mut now: Vec<_> = new.networks.iter().zip(predecessors).collect();
        now.sort_unstable_by_key(|(network, _)| &*network.name);
        for (network, predecessor) in now {
            let name = &network.name;
            let Some(before) = predecessor.map(|index| &old.networks[index]) else {
                self.add(ChangeKind::Added, format!("network {name}"));
                continue;
            };
            let same =
                Network { id: network.id, name: name.clone(), port: network.port, ..(**before).clone() };
            let is_same = same == **network && before.port.map(Some) == port_before(network);
            let text = match (before.name == *name, is_same) {
                (true, true) => continue,
                (true, false) if new.has_several_networks() || old.has_several_networks() => {
                    format!("network {name}")
                }
                (true, false) => "network".to_owned(),
                (false, true) => format!("network {name}: renamed from {}", before.name),
                (false, false) => format!("network {name}: renamed from {}, and changed", before.name),
            };
            self.add(ChangeKind::Changed, text);
        }
    }

    /// Adds the networks that have to wait for their port.
    fn of_new_ports(&mut self, old: &Config, new: &Config) {
        let predecessors = port_succession::predecessors(&old.ports, &new.ports);
        for network in &new.networks {
            let is_new = |port: &usize| predecessors.get(*port) == Some(&None);
            if let Some(port) = network.port.filter(is_new).map(|port| &new.ports[port]) {
                let text = format!(
                    "network {}: nothing is sent or received there before the next start, which opens port {}",
                    network.name, port.name
                );
                self.add(ChangeKind::NeedsRestart, text);
            }
        }
    }

    /// Adds the changes of the backends of a service that stays.
    fn of_backends(
        &mut self,
        old_service: &BackendService,
        old: &Config,
        new_service: &BackendService,
        new: &Config,
    ) {
        let (old, now) = (backends(old_service, old), backends(new_service, new));
        let service = &new_service.name;
        for name in old.keys().filter(|name| !now.contains_key(*name)) {
            let end = match new_service.draining_timeout_sec {
                0 => "its connections end".to_owned(),
                seconds if new_service.tracks_sessions() => format!(
                    "drains for {seconds} s, in which new connections of its sessions (PER_SESSION) still come to it"
                ),
                seconds => format!("drains for {seconds} s"),
            };
            self.add(ChangeKind::Removed, format!("backend {service}/{name}: {end}"));
        }
        for (name, (endpoint, group, failover)) in &now {
            let Some((before, old_group, was_failover)) = old.get(name) else {
                self.add(ChangeKind::Added, format!("backend {service}/{name}: {}", endpoint.address));
                continue;
            };
            let mut differences = Vec::new();
            if before.address != endpoint.address {
                differences.push(format!("address {} to {}", before.address, endpoint.address));
            }
            if before.weight != endpoint.weight {
                differences.push(format!("weight {} to {}", before.weight, endpoint.weight));
            }
            if before.mac_address != endpoint.mac_address {
                differences.push("MAC address".to_owned());
            }
            if (old_group.delivery, old_group.mtu) != (group.delivery, group.mtu) {
                differences.push("delivery".to_owned());
            }
            if was_failover != failover {
                differences.push(format!("now {}", if *failover { "failover" } else { "primary" }));
            }
            if !differences.is_empty() {
                self.add(
                    ChangeKind::Changed,
                    format!("backend {service}/{name}: {}", differences.join(", ")),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sole_network_may_be_renamed_and_one_of_several_is_another_one_then() {
        let config = |networks: &[(&str, u16)]| {
            let network = |text: String, (name, mtu): &(&str, u16)| {
                text + &format!("[[network]]\nname = \"{name}\"\nvlan = {mtu}\nmtu = {mtu}\n")
            };
            let port = "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\n".to_owned();
            let text = networks.iter().fold(port, network);
            Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
        };
        let shown = |old: &[(&str, u16)], new: &[(&str, u16)]| -> Vec<String> {
            changes(&config(old), &config(new)).iter().map(Change::to_string).collect()
        };
        let (blue, red) = (("blue", 1_500), ("red", 1_400));
        assert_eq!(shown(&[blue], &[("red", 1_500)]), ["~ network red: renamed from blue"]);
        assert_eq!(shown(&[blue], &[red]), ["~ network red: renamed from blue, and changed"]);
        assert_eq!(shown(&[blue], &[("blue", 1_400)]), ["~ network"]);
        let renumbered = |old: &[(&str, u16)], now: &[(&str, u16)]| {
            let (old, now) = (config(old), config(now));
            Config { networks: network_numbers::numbered(&old.networks, &now.networks), ..now }
        };
        let running = renumbered(&[blue, red], &[red]);
        assert_eq!(changes(&running, &config(&[red])), [], "a file has no numbers");
        let order = "~ order or names of tables: nothing that packets meet";
        assert_eq!(shown(&[blue, red], &[red, blue]), [order]);
        assert_eq!(shown(&[red, blue], &[("green", 1_500), red]), ["- network blue", "+ network green"]);
    }

    #[test]
    fn access_lists_are_told_and_the_rules_that_change_theirs() {
        let config = |lists: &[(&str, &str)], named: &str| {
            let list = |(name, denied): &(&str, &str)| {
                format!(
                    "[[access_list]]\nname = \"{name}\"\ndefault_action = \"ALLOW\"\ndeny = [\"{denied}\"]\n"
                )
            };
            let text = lists.iter().map(list).collect::<String>();
            let rule = format!(
                "[[forwarding_rule]]\nname = \"rule\"\nip_address = \"203.0.113.10\"\nports = [80]\n\
                 backend_service = \"svc\"\n{named}[[backend_service]]\nname = \"svc\"\nhealth_checks = [\"hc\"]\n\
                 backends = [{{ group = \"g\" }}]\n[[health_check]]\nname = \"hc\"\ntype = \"TCP\"\nport = 80\n\
                 [[backend_group]]\nname = \"g\"\nendpoints = []\n"
            );
            Config::parse("test", &(text + &rule)).unwrap_or_else(|errors| panic!("{errors}"))
        };
        let shown = |old: &Config, new: &Config| -> Vec<String> {
            changes(old, new).iter().map(Change::to_string).collect()
        };
        let (one, two) = (("one", "10.0.0.0/8"), ("two", "10.1.0.0/16"));
        let names_one = "access_list = \"one\"\n";
        let before = config(&[one], names_one);
        assert_eq!(shown(&before, &config(&[two, one], names_one)), ["+ access list two"], "another index");
        let wider = config(&[("one", "10.0.0.0/7")], names_one);
        assert_eq!(shown(&before, &wider), ["~ access list one"]);
        let without = config(&[], "");
        assert_eq!(shown(&before, &without), ["~ forwarding rule rule", "- access list one"]);
    }

    #[test]
    fn addresses_of_ports_are_taken_over_and_their_devices_wait_for_the_next_start() {
        let config = |ports: &[(&str, u8, &str)]| {
            let port = |(name, device, address): &(&str, u8, &str)| {
                format!(
                    "[[port]]\nname = \"{name}\"\ndevice = \"net_null{device}\"\nip_addresses = [\"{address}/24\"]\n"
                )
            };
            let text: String = ports.iter().map(port).collect();
            let network = format!("[[network]]\nname = \"blue\"\nport = \"{}\"\n", ports[0].0);
            Config::parse("test", &(text + &network)).unwrap_or_else(|errors| panic!("{errors}"))
        };
        let before = config(&[("lan", 0, "192.0.2.1")]);
        let shown =
            |now: &Config| -> Vec<String> { changes(&before, now).iter().map(Change::to_string).collect() };
        let (restart, addresses) =
            ("! [[port]]: takes effect at the next start", "~ port lan: addresses or gateways");
        assert_eq!(shown(&config(&[("lan", 0, "192.0.2.2")])), [addresses]);
        assert_eq!(shown(&config(&[("lan", 1, "192.0.2.2")])), [restart, addresses]);
        assert_eq!(
            shown(&config(&[("wan", 0, "192.0.2.1")])),
            [restart],
            "the network is on the same device"
        );
    }

    #[test]
    fn a_network_of_a_new_port_waits_for_the_next_start_and_a_vlan_of_a_known_one_does_not() {
        let config = |networks: &[(&str, &str, u16)], ports: &[&str]| {
            let port = |(number, name): (usize, &&str)| {
                format!("[[port]]\nname = \"{name}\"\ndevice = \"net_null{number}\"\n")
            };
            let network = |(name, port, vlan): &(&str, &str, u16)| {
                format!("[[network]]\nname = \"{name}\"\nport = \"{port}\"\nvlan = {vlan}\n")
            };
            let text: String =
                ports.iter().enumerate().map(port).chain(networks.iter().map(network)).collect();
            Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"))
        };
        let before = config(&[("blue", "a", 100), ("red", "a", 200)], &["a"]);
        let shown =
            |now: &Config| -> Vec<String> { changes(&before, now).iter().map(Change::to_string).collect() };
        let third = [("blue", "a", 100), ("red", "a", 200), ("green", "a", 300)];
        assert_eq!(shown(&config(&third, &["a"])), ["+ network green"]);
        let moved = [("blue", "a", 100), ("red", "b", 200)];
        assert_eq!(
            shown(&config(&moved, &["a", "b"])),
            [
                "! [[port]]: takes effect at the next start",
                "~ network red",
                "! network red: nothing is sent or received there before the next start, which opens port b"
            ]
        );
    }
}
