//! VIPs that are prefixes: clients reach backends by any address of them, on the link and by a route, and probes go to
//! one.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::lab::Lab;
use crate::lab::address::{self, Family, WEB};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::bird::{Birds, RANGE, next_hops_to};
use crate::lab::client::names;
use crate::lab::patience::{PATIENCE, within};
use crate::lab::setup::{DeliveryMode, Setup, http_check};

/// Prefix of a rule, the address that it is probed at, and others in it.
struct Range {
    prefix: &'static str,
    on_link: bool,
    probed: &'static str,
    others: [&'static str; 3],
}

const RANGES: [Range; 4] = [
    Range {
        prefix: "192.0.2.208/28",
        on_link: true,
        probed: "192.0.2.208",
        others: ["192.0.2.209", "192.0.2.217", "192.0.2.223"],
    },
    Range {
        prefix: RANGE,
        on_link: false,
        probed: "198.51.100.5",
        others: ["198.51.100.0", "198.51.100.7", "198.51.100.15"],
    },
    Range {
        prefix: "2001:db8:1::d0:0/112",
        on_link: true,
        probed: "2001:db8:1::d0:80",
        others: ["2001:db8:1::d0:0", "2001:db8:1::d0:1", "2001:db8:1::d0:ffff"],
    },
    Range {
        prefix: "2001:db8:1234::/96",
        on_link: false,
        probed: "2001:db8:1234::",
        others: ["2001:db8:1234::7", "2001:db8:1234::1:0", "2001:db8:1234::ffff:ffff"],
    },
];

impl Range {
    fn family(&self) -> Family {
        if self.prefix.contains(':') { Family::V6 } else { Family::V4 }
    }

    /// Forwarding rule of the range.
    fn rule(&self, number: usize) -> String {
        let (prefix, probed, service) = (self.prefix, self.probed, self.family().word());
        let replies = if self.on_link { "ALWAYS" } else { "NEVER" };
        format!(
            "[[forwarding_rule]]
            name = \"range-{number}\"
            ip_address = \"{prefix}\"
            probe_address = \"{probed}\"
            ports = [{WEB}]
            neighbor_replies = \"{replies}\"
            backend_service = \"{service}\"\n"
        )
    }
}

/// Gives the backends all addresses of the ranges, and the client the routes to those on no link.
fn prepare(lab: &Lab, backends: usize) {
    for range in &RANGES {
        for number in 0..backends {
            lab.backend(number).ip(&format!("route add local {} dev lo\n", range.prefix));
        }
        if !range.on_link {
            let hop = address::appliance(0, range.family());
            lab.client().ip(&format!("route replace {} via {hop} dev eth0\n", range.prefix));
        }
    }
}

fn rules() -> String {
    RANGES.iter().zip(0..).map(|(range, number)| range.rule(number)).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn clients_reach_backends_by_any_address_of_a_prefix_and_probes_go_to_one() {
    let lab = Lab::new(1, 2);
    let backends = Backend::all(&lab, 2);
    prepare(&lab, 2);
    let appliance =
        Appliance::start(&lab, 0, &Setup { further: rules(), ..Setup::checked_by(2, http_check()) });
    let mac = lab.appliance_mac(0);
    for range in &RANGES {
        let mut answered = BTreeSet::new();
        for text in range.others {
            let pages = lab.curl(SocketAddr::new(ip(text), WEB), 20);
            answered.extend(names(&pages).into_iter().map(str::to_owned));
            lab.ping(ip(text)).unwrap_or_else(|said| panic!("{text}: {said}"));
            assert_eq!(lab.neighbour(ip(text)).filter(|_| range.on_link), range.on_link.then(|| mac.clone()));
        }
        assert_eq!(answered.len(), 2, "{}", range.prefix);
    }
    let probed: BTreeSet<IpAddr> = backends[0].web.probes().into_iter().map(|probed| probed.to).collect();
    for range in &RANGES {
        assert!(probed.contains(&ip(range.probed)), "{} in {probed:?}", range.probed);
        assert!(range.others.iter().all(|other| !probed.contains(&ip(other))), "{probed:?}");
    }
    let vips = appliance.must(&["vip", "list"]);
    assert!(RANGES.iter().all(|range| vips.contains(range.prefix)), "{vips}");
}

#[test]
fn tunnels_carry_packets_for_a_prefix() {
    let lab = Lab::new(1, 2);
    let _backends = Backend::all(&lab, 2);
    prepare(&lab, 2);
    let setup = Setup { further: rules(), delivery: DeliveryMode::Tunnel("gue", Family::V4), ..Setup::of(2) };
    let _appliance = Appliance::start(&lab, 0, &setup);
    for range in &RANGES {
        for text in range.others {
            assert_eq!(lab.curl(SocketAddr::new(ip(text), WEB), 5).len(), 5);
        }
    }
}

#[test]
fn routers_have_a_route_to_the_prefix_while_a_backend_is_healthy() {
    let lab = Lab::new(1, 1);
    let backends = Backend::all(&lab, 1);
    prepare(&lab, 1);
    lab.client().ip(&format!("route delete {RANGE}\n"));
    let _birds = Birds::start(&lab, 1);
    let further = rules() + &Birds::announcement_of_range(&lab, 0, "range-1");
    let appliance = Appliance::start(&lab, 0, &Setup { further, ..Setup::of(1) });
    let wait_for_hops = |expected: &[usize]| {
        let found = within(PATIENCE, || (next_hops_to(&lab, 1, RANGE) == expected).then_some(()));
        found.unwrap_or_else(|| panic!("the router has not the next hops {expected:?}"));
    };
    wait_for_hops(&[0]);
    assert_eq!(lab.curl(SocketAddr::new(ip("198.51.100.9"), WEB), 5), vec!["b0"; 5]);
    assert_eq!(appliance.status().announcements[0].address.to_string(), RANGE);
    drop(backends);
    wait_for_hops(&[]);
}
