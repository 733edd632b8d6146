//! Table of evidence, and the verdict that it comes to.

use guideway_model::config::Config;

use super::*;
use crate::doctor::finding::Level;
use crate::doctor::tree::CONFIG;

const WELL: &str = "";
const SILENT: &str = "no answer within 5 s";
const REFUSED: &str = "the backend refused a connection to 203.0.113.10:80: it answered with a reset";
const KERNEL_REFUSED: &str = "cannot connect: Connection refused (os error 111)";
const NO_ROUTE: &str = "cannot connect: No route to host (os error 113)";

fn answer(reason: &str) -> ProbeAnswer {
    let reason = (!reason.is_empty()).then(|| reason.to_owned());
    ProbeAnswer { well: Some(reason.is_none()), reason }
}

/// Evidence through one rule: answers in the path of traffic, of TCP port 1, and to the kernel.
fn evidence(in_path: &str, closed: &str, kernel: &str) -> Evidence {
    let config = CONFIG.replace("type = \"TCP\"", "type = \"HTTP\"\nrequest_path = \"/health\"");
    let config = Config::parse("test", &config).unwrap_or_else(|errors| panic!("{errors}"));
    let probe = RuleProbe {
        forwarding_rule: "web".to_owned(),
        health_check: "alive".to_owned(),
        in_path: true,
        address: "203.0.113.10".parse().expect("an address"),
        port: 80,
        latency_ms: 1.0,
        answer: answer(in_path),
        closed_port: Some(answer(closed)),
    };
    Evidence {
        subject: "web/web-1 through web".to_owned(),
        address: "192.0.2.21".parse().expect("an address"),
        check: Some(config.health_checks[0].clone()),
        delivery: Some(DeliveryMode::L2),
        next_hop: NextHop::Fine,
        probe: Some(probe),
        kernel: Some(answer(kernel)),
        pings: None,
    }
}

fn assert_verdict(claim: &str, evidence: &Evidence, level: Level, found: &str, remedy: &str) {
    let finding = verdict(evidence);
    assert_eq!((finding.level, &*finding.check), (level, "backend"), "{claim}: {finding:#?}");
    assert!(finding.found.contains(found), "{claim}: {}", finding.found);
    assert_eq!(finding.remedy.as_deref().unwrap_or_default(), remedy, "{claim}");
}

#[test]
fn answers_in_the_path_of_traffic_tell_where_a_backend_fails() {
    let listening = "ss -ltn 'sport = :80'";
    let missing = "ip address add 203.0.113.10/32 dev lo";
    for (claim, [in_path, closed, kernel], level, found, remedy) in [
        ("all is well", [WELL; 3], Level::Ok, "answers as the check expects", ""),
        (
            "the server has its own address alone",
            [REFUSED, SILENT, WELL],
            Level::Fault,
            "and its own address 192.0.2.21 answers",
            listening,
        ),
        (
            "nobody listens",
            [REFUSED, REFUSED, KERNEL_REFUSED],
            Level::Fault,
            "nobody listens on port 80",
            listening,
        ),
        (
            "nobody listens, and the kernel has no way",
            [REFUSED, REFUSED, NO_ROUTE],
            Level::Fault,
            "nobody listens on port 80",
            listening,
        ),
        (
            "a status is wrong",
            ["status 404", REFUSED, WELL],
            Level::Fault,
            "not as the check expects: status 404",
            "curl -v http://203.0.113.10:80/health",
        ),
        (
            "TLS on a plain port",
            ["TLS: received corrupt message", REFUSED, WELL],
            Level::Fault,
            "not as the check expects: TLS",
            "curl -v http://203.0.113.10:80/health",
        ),
        (
            "a firewall drops the port",
            [SILENT, REFUSED, SILENT],
            Level::Fault,
            "packets to port 80 are dropped",
            "nft list ruleset",
        ),
        (
            "the VIP is missing",
            [SILENT, SILENT, WELL],
            Level::Fault,
            "its own address 192.0.2.21 answers the check. A missing VIP and",
            missing,
        ),
        (
            "the VIP is missing, and the kernel has no way",
            [SILENT, SILENT, NO_ROUTE],
            Level::Fault,
            "the kernel cannot tell",
            missing,
        ),
    ] {
        assert_verdict(claim, &evidence(in_path, closed, kernel), level, found, remedy);
    }
}

#[test]
fn a_backend_that_is_down_and_one_that_filters_all_look_alike() {
    let mut down = evidence(SILENT, SILENT, SILENT);
    down.pings = Some(false);
    assert_verdict(
        "down",
        &down,
        Level::Fault,
        "nor its own address 192.0.2.21 answers",
        "ping -c 3 192.0.2.21",
    );
    down.next_hop = NextHop::Silent("192.0.2.21".to_owned());
    assert_verdict("no ARP", &down, Level::Fault, "nobody answers ARP", "ip -br address show");
    down.next_hop = NextHop::None;
    assert_verdict("no route", &down, Level::Fault, "no route leads to it", "guideway backend list");
}

#[test]
fn a_tunnel_that_says_nothing_is_looked_at_on_the_backend() {
    for (delivery, filter) in [
        (DeliveryMode::Ipip, "proto 4 or proto 41 or ip6 proto 4 or ip6 proto 41"),
        (DeliveryMode::Gre, "proto 47 or ip6 proto 47"),
        (DeliveryMode::Gue { dst_port: 6080 }, "udp port 6080"),
    ] {
        let tunnelled = Evidence { delivery: Some(delivery), ..evidence(SILENT, SILENT, WELL) };
        let remedy = format!("tcpdump -n -i any -c 5 '{filter}'");
        assert_verdict("silent", &tunnelled, Level::Fault, "a missing VIP look alike", &remedy);
    }
    let icmp = "no answer within 5 s; ICMP protocol unreachable from 192.0.2.21: no tunnel device?";
    let told = Evidence { delivery: Some(DeliveryMode::Gre), ..evidence(icmp, SILENT, WELL) };
    assert_verdict(
        "ICMP",
        &told,
        Level::Fault,
        "no tunnel device?",
        "modprobe ip_gre && ip link set gre0 up",
    );
}

#[test]
fn without_an_appliance_the_kernel_tells_of_the_backends_own_address_alone() {
    let kernel =
        |reason: &str, pings: Option<bool>| Evidence { probe: None, pings, ..evidence(WELL, WELL, reason) };
    for (claim, evidence, level, found, remedy) in [
        ("well", kernel(WELL, None), Level::Note, "running appliance alone", "systemctl start guideway"),
        (
            "refused",
            kernel(KERNEL_REFUSED, None),
            Level::Fault,
            "nobody listens on port 80",
            "ss -ltn 'sport = :80'",
        ),
        (
            "wrong",
            kernel("status 500", None),
            Level::Fault,
            "status 500",
            "curl -v http://192.0.2.21:80/health",
        ),
        ("filtered", kernel(SILENT, Some(true)), Level::Fault, "answers pings", "nft list ruleset"),
        (
            "down",
            kernel(SILENT, Some(false)),
            Level::Fault,
            "does not answer the kernel",
            "ip route get 192.0.2.21",
        ),
        ("no way", kernel(NO_ROUTE, Some(false)), Level::Note, "No route to host", "ip route get 192.0.2.21"),
    ] {
        assert_verdict(claim, &evidence, level, found, remedy);
    }
}
