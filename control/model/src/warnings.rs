//! Warnings of a configuration: settings that are right by themselves, and together can never do what they are there for.

mod exposure;
mod kernel_probes;

use std::collections::BTreeSet;
use std::fmt;

use crate::config::{
    Announcement, AnnouncementPolicy, BackendService, Config, ForwardingRule, Port, Remark, RuleProtocol,
};

pub use exposure::exposures;

/// Warning of a configuration that is accepted all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Sentence that names the setting, and what comes of it.
    pub text: String,
    /// Change that ends the warning.
    pub remedy: String,
}

impl Warning {
    /// Warning of these words.
    pub fn new(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { text: text.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.text, self.remedy)
    }
}

/// Lists the warnings that the configuration alone gives, in the order of its tables.
pub fn warnings(config: &Config) -> Vec<Warning> {
    let nothing = config.rules.is_empty().then(|| {
        Warning::new(
            "there is no forwarding rule, so that no packet is forwarded",
            "add a `[[forwarding_rule]]`",
        )
    });
    let files = config.remarks.iter().map(|Remark { text, remedy }| Warning::new(text, remedy));
    let services = config.services.iter().filter_map(|service| empty_groups(service, config));
    let weights = config.services.iter().filter_map(|service| unused_weights(service, config));
    let announcements = config.announcements.iter().flat_map(|one| never_announced(one, config));
    let reassembly = config.ports.iter().filter_map(|port| reassembled(port, config));
    let kernel_probes = kernel_probes::elsewhere(config);
    let subsets = config.services.iter().filter_map(|service| never_a_subset(service, config));
    let of_services = services.chain(weights).chain(kernel_probes).chain(subsets);
    files.chain(nothing).chain(reassembly).chain(of_services).chain(announcements).collect()
}

/// Warns of a port whose device reassembles fragments that may come: of UDP and of other protocols over IPv4. TCP avoids them.
fn reassembled(port: &Port, config: &Config) -> Option<Warning> {
    let takes = |rule: &ForwardingRule| rule.vip.is_ipv4() && rule.protocol != RuleProtocol::Tcp;
    let is_routed = config.routes.iter().any(|route| route.dest_range.addr().is_ipv4());
    let may_come = config.rules.iter().any(takes) || is_routed;
    (may_come && port.device.is_driven_by("net_af_packet")).then(|| {
        let interface = port.device.argument("iface").unwrap_or("eth0");
        Warning::new(
            format!(
                "port `{}`: net_af_packet, before DPDK 25.03 or with several queue pairs, reassembles IPv4 fragments \
                 before the appliance gets them, so that datagrams in fragments are not forwarded as they came, and longer ones are dropped as `truncated`",
                port.name
            ),
            format!("where clients send fragments, use `net_pcap0,iface={interface}`, net_af_xdp or hardware"),
        )
    })
}

/// Warns of a service with no backend in all its groups, or in all groups of one kind while there are groups of the other.
fn empty_groups(service: &BackendService, config: &Config) -> Option<Warning> {
    let name = &service.name;
    let of_kind = |failover: bool| {
        let members = service.members.iter().filter(move |member| member.failover == failover);
        members.map(|member| config.groups[member.group].endpoints.len()).sum::<usize>()
    };
    match (of_kind(false), of_kind(true)) {
        (0, 0) => Some(Warning::new(
            format!("service `{name}` has no backend, so that new connections to it are dropped"),
            "add endpoints to its groups",
        )),
        (_, 0) if service.has_failover() => Some(Warning::new(
            format!("the failover groups of service `{name}` have no endpoint, so that nobody takes over"),
            "add endpoints to them, or leave the groups out",
        )),
        (0, _) => {
            // The last resort of a weighted service takes failover backends too.
            let is_dropped = !service.weighted && !service.failover_policy.drop_traffic_if_unhealthy;
            let last_resort = if is_dropped {
                "; while none of these is healthy, new connections are dropped although `drop_traffic_if_unhealthy` \
                 is false, as the last resort is all unhealthy primary backends, and there is none"
            } else {
                ""
            };
            Some(Warning::new(
                format!(
                    "the primary groups of service `{name}` have no endpoint, so that its failover groups serve \
                     alone{last_resort}"
                ),
                "add endpoints to them, or make a failover group a primary one",
            ))
        }
        _ => None,
    }
}

/// Warns of each service of an announcement that has fewer backends than must be healthy to announce its rules' addresses.
fn never_announced(announcement: &Announcement, config: &Config) -> Vec<Warning> {
    let (key, needed) = match announcement.policy {
        AnnouncementPolicy::Always => return Vec::new(),
        AnnouncementPolicy::Healthy { min_healthy, min_healthy_up } if min_healthy_up > min_healthy => {
            ("min_healthy_up", min_healthy_up)
        }
        AnnouncementPolicy::Healthy { min_healthy, .. } => ("min_healthy", min_healthy),
    };
    let services: BTreeSet<usize> =
        announcement.rules.iter().map(|rule| config.rules[*rule].service).collect();
    let warning = |index: usize| {
        let service = &config.services[index];
        let backends = service.endpoints(config).count();
        let noun = if backends == 1 { "backend" } else { "backends" };
        let (announcement, service) = (&announcement.name, &service.name);
        (backends < needed as usize).then(|| {
            Warning::new(
                format!(
                    "announcement `{announcement}` never announces an address for service `{service}`, which has \
                     {backends} {noun}, and must have {needed} healthy ones"
                ),
                format!("lower `{key}`, or add endpoints"),
            )
        })
    };
    services.into_iter().filter_map(warning).collect()
}

/// Warns of configured weights other than 1 in a service whose backends report theirs.
fn unused_weights(service: &BackendService, config: &Config) -> Option<Warning> {
    let is_reported = service.weighted && !service.configured_weights;
    let is_set = service.endpoints(config).any(|endpoint| endpoint.weight != 1);
    (is_reported && is_set).then(|| {
        Warning::new(
            format!(
                "backend service `{}`: the configured weights count only until backends report theirs \
                 (`X-Load-Balancing-Endpoint-Weight`), and not while one answers without",
                service.name
            ),
            "write `weight_source = \"CONFIGURED\"` to go by the configured ones",
        )
    })
}

/// Warns of subsets of as many backends as all primary groups have, or all failover groups, or more.
fn never_a_subset(service: &BackendService, config: &Config) -> Option<Warning> {
    let size = usize::from(service.subset_size?.get());
    let of_kind = |failover: bool| {
        let members = service.members.iter().filter(move |member| member.failover == failover);
        members.map(|member| config.groups[member.group].endpoints.len()).sum::<usize>()
    };
    let most = of_kind(false).max(of_kind(true));
    (size >= most && most > 0).then(|| {
        Warning::new(
            format!(
                "service `{}` has subsets of {size} and never more than {most} eligible backends, so that every client \
                 meets all of them",
                service.name
            ),
            "lower `subset_size`, add endpoints, or leave `subsetting` out",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::sample;

    /// Groups `p` and `f` with so many endpoints.
    fn groups(primaries: usize, failovers: usize) -> String {
        let group = |name: &str, third: usize, count: usize| {
            let endpoint =
                |i: usize| format!("{{ name = \"{name}{i}\", ip_address = \"10.1.{third}.{}\" }}", i + 1);
            let endpoints: Vec<_> = (0..count).map(endpoint).collect();
            format!("[[backend_group]]\nname = \"{name}\"\nendpoints = [{}]\n", endpoints.join(", "))
        };
        group("p", 1, primaries) + &group("f", 2, failovers)
    }

    /// Warnings of a service with these lines, whose groups have so many endpoints.
    fn of_groups(service: &str, primaries: usize, failovers: usize) -> Vec<String> {
        let config = sample("", service, &groups(primaries, failovers));
        warnings(&config).iter().map(Warning::to_string).collect()
    }

    const BOTH: &str = "backends = [{ group = \"p\" }, { group = \"f\", failover = true }]";

    #[test]
    fn a_configuration_that_can_be_met_gives_no_warning() {
        assert_eq!(of_groups(BOTH, 1, 1), [""; 0]);
        assert_eq!(
            of_groups("backends = [{ group = \"p\" }]", 2, 0),
            [""; 0],
            "a group of nobody is no matter"
        );
    }

    #[test]
    fn subsets_that_no_pool_is_larger_than_are_told() {
        let of_size = |size: u16, primaries, failovers| {
            let mut config = sample("", BOTH, &groups(primaries, failovers));
            config.services[0].subset_size = std::num::NonZeroU16::new(size);
            warnings(&config).iter().map(Warning::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of_size(2, 3, 1), [""; 0]);
        assert_eq!(of_size(2, 1, 3), [""; 0], "the failover pool has subsets");
        assert_eq!(
            of_size(3, 3, 1),
            [
                "service `svc` has subsets of 3 and never more than 3 eligible backends, so that every client meets all of \
              them: lower `subset_size`, add endpoints, or leave `subsetting` out"
            ]
        );
    }

    #[test]
    fn an_empty_file_forwards_nothing() {
        let config = Config::parse("empty", "").unwrap_or_else(|errors| panic!("{errors}"));
        let warnings: Vec<_> = warnings(&config).iter().map(Warning::to_string).collect();
        assert_eq!(
            warnings,
            ["there is no forwarding rule, so that no packet is forwarded: add a `[[forwarding_rule]]`"]
        );
    }

    #[test]
    fn groups_of_a_kind_that_are_all_empty_are_told_with_what_comes_of_it() {
        assert_eq!(
            of_groups(BOTH, 0, 0),
            [
                "service `svc` has no backend, so that new connections to it are dropped: add endpoints to its groups"
            ]
        );
        assert_eq!(
            of_groups(BOTH, 1, 0),
            [
                "the failover groups of service `svc` have no endpoint, so that nobody takes over: add endpoints to \
              them, or leave the groups out"
            ]
        );
        let alone =
            "the primary groups of service `svc` have no endpoint, so that its failover groups serve alone";
        let remedy = ": add endpoints to them, or make a failover group a primary one";
        let [literal] = &of_groups(BOTH, 0, 2)[..] else { panic!("one warning") };
        assert!(literal.starts_with(alone) && literal.ends_with(remedy), "{literal}");
        assert!(
            literal.contains("new connections are dropped although `drop_traffic_if_unhealthy` is false")
        );
        let drops = format!("{BOTH}\nfailover_policy = {{ drop_traffic_if_unhealthy = true }}");
        assert_eq!(of_groups(&drops, 0, 2), [format!("{alone}{remedy}")]);
        let mut weighted = sample("", BOTH, &groups(0, 2));
        weighted.services[0].weighted = true;
        assert_eq!(
            warnings(&weighted)[0].to_string(),
            format!("{alone}{remedy}"),
            "failover backends are left"
        );
    }

    /// Warnings of a rule before so many backends, with an announcement of these lines.
    fn of_announcement(backends: usize, lines: &str) -> Vec<String> {
        let announcement =
            format!("[[announcement]]\nname = \"bgp\"\ncommand = [\"/bin/announce\"]\n{lines}\n");
        let config = sample("", "backends = [{ group = \"p\" }]", &(groups(backends, 0) + &announcement));
        warnings(&config).iter().map(Warning::to_string).collect()
    }

    #[test]
    fn more_healthy_backends_than_there_are_backends_are_never_had() {
        assert_eq!(of_announcement(3, "min_healthy = 3"), [""; 0]);
        assert_eq!(
            of_announcement(3, "min_healthy = 5"),
            [
                "announcement `bgp` never announces an address for service `svc`, which has 3 backends, and must have 5 \
              healthy ones: lower `min_healthy`, or add endpoints"
            ]
        );
        let up = of_announcement(1, "min_healthy = 1\nmin_healthy_up = 2");
        assert!(up[0].ends_with(
            "has 1 backend, and must have 2 healthy ones: lower `min_healthy_up`, or add endpoints"
        ));
        assert_eq!(of_announcement(1, "policy = \"ALWAYS\""), [""; 0]);
    }

    /// Warnings of port `lan` on this device with a rule of this protocol at this address, and a route of these lines.
    fn of_port(device: &str, protocol: &str, address: &str, route: &str) -> Vec<String> {
        let endpoint = if address.contains(':') { "fd00::11" } else { "10.1.3.1" };
        let head = format!(
            "[[port]]\nname = \"lan\"\ndevice = \"{device}\"\n[[forwarding_rule]]\nname = \"other\"\n\
             ip_address = \"{address}\"\nip_protocol = \"{protocol}\"\nall_ports = true\n\
             load_balancing_scheme = \"INTERNAL\"\nbackend_service = \"other\"\n\
             [[backend_service]]\nname = \"other\"\nprotocol = \"UNSPECIFIED\"\nhealth_checks = [\"hc\"]\n\
             load_balancing_scheme = \"INTERNAL\"\nbackends = [{{ group = \"q\" }}]\n\
             [[backend_group]]\nname = \"q\"\nendpoints = [{{ name = \"q0\", ip_address = \"{endpoint}\" }}]\n{route}"
        );
        let config = sample(&head, "backends = [{ group = \"p\" }]", &groups(1, 0));
        warnings(&config).iter().map(Warning::to_string).collect()
    }

    #[test]
    fn a_device_that_reassembles_is_told_where_fragments_may_come() {
        let route = |range: &str| {
            format!("[[route]]\nname = \"r\"\ndest_range = \"{range}\"\nnext_hop_ilb = \"other\"\n")
        };
        let af_packet = "net_af_packet0,iface=eth7,qpairs=2";
        let told = "port `lan`: net_af_packet, before DPDK 25.03 or with several queue pairs, reassembles IPv4 \
                    fragments before the appliance gets them, so that datagrams in fragments are not forwarded as they came, and longer ones are dropped as \
                    `truncated`: where clients send fragments, use `net_pcap0,iface=eth7`, net_af_xdp or hardware";
        assert_eq!(of_port(af_packet, "L3_DEFAULT", "10.1.2.10", ""), [told]);
        assert_eq!(of_port(af_packet, "L3_DEFAULT", "10.1.2.10", &route("10.9.0.0/16")), [told]);
        assert_eq!(of_port(af_packet, "L3_DEFAULT", "fd00::10", ""), [""; 0], "IPv6 is left as it is");
        assert_eq!(of_port("net_pcap0,iface=eth7", "L3_DEFAULT", "10.1.2.10", ""), [""; 0]);
    }

    #[test]
    fn weights_that_reports_replace_are_warned_of_and_no_others() {
        let is_warned = |weighted, configured_weights, weight: u16| {
            let group = format!(
                "[[backend_group]]\nname = \"group\"\n\
                 endpoints = [{{ name = \"a\", ip_address = \"10.1.0.1\", weight = {weight} }}]"
            );
            let mut config = sample("", "backends = [{ group = \"group\" }]", &group);
            (config.services[0].weighted, config.services[0].configured_weights) =
                (weighted, configured_weights);
            warnings(&config).iter().any(|warning| warning.text.contains("configured weights"))
        };
        assert!(is_warned(true, false, 5));
        assert!(!is_warned(true, false, 1));
        assert!(!is_warned(false, false, 5), "nobody is chosen by weight");
        assert!(!is_warned(true, true, 5));
    }
}
