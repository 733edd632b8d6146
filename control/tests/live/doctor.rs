//! The doctor beside a running appliance: a real backend that fails in one way after the other, and the verdict of each.

use guideway::doctor::finding::{Diagnosis, Finding, Level};

use crate::lab::Lab;
use crate::lab::address::{Family, Vip, WEB};
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::patience::PATIENCE;
use crate::lab::process::Process;
use crate::lab::setup::{DeliveryMode, Setup, http_check};
use crate::lab::web_server::TlsPort;

/// Rule that the backend fails through.
const RULE: &str = "web-routed-v4";

/// Findings of `guideway doctor --backend b0` in the appliance's namespace, and the exit status.
fn diagnose(lab: &Lab, appliance: &Appliance<'_>) -> (Vec<Finding>, Option<i32>) {
    let config = lab.directory().join("guideway-0.toml");
    let words = ["doctor", "--backend", "b0", "--output", "json", "--config", &config.to_string_lossy()];
    let ended = appliance.verb(&words);
    let diagnosis: Diagnosis =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr));
    assert!(diagnosis.appliance_pid.is_some(), "{diagnosis:?}");
    (diagnosis.findings, ended.status.code())
}

/// Finding through the rule that the backend fails through.
fn through(findings: &[Finding]) -> &Finding {
    let subject = format!("v4/b0 through {RULE}");
    let found = findings.iter().find(|finding| finding.subject == subject);
    found.unwrap_or_else(|| panic!("{subject}: {findings:#?}"))
}

/// Runs `nft` with a line in the backend's namespace.
fn nft(lab: &Lab, line: &str) {
    let mut command = lab.backend(0).command("nft");
    command.arg(line);
    let ended = Process::run(lab.directory(), "nft", command, PATIENCE);
    assert!(ended.status.success(), "nft {line}: {}", ended.stderr);
}

#[test]
fn a_backend_that_fails_is_told_apart_by_how_it_fails() {
    let lab = Lab::new(1, 1);
    let mut backends = Backend::all(&lab, 1);
    // The kernel beside the appliance has a way to the backends' own addresses.
    lab.manage(0);
    let appliance = Appliance::start(&lab, 0, &Setup::checked_by(1, http_check()));
    let vip = Vip::Routed.address(Family::V4);
    let assert_told = |claim: &str, found: &str, remedy: &str| {
        let (findings, status) = diagnose(&lab, &appliance);
        let finding = through(&findings);
        assert_eq!((finding.level, status), (Level::Fault, Some(6)), "{claim}: {finding:#?}");
        assert!(finding.found.contains(found), "{claim}: {}", finding.found);
        let told = finding.remedy.as_deref().unwrap_or_default();
        assert!(told.starts_with(remedy), "{claim}: {told}");
    };

    let (findings, status) = diagnose(&lab, &appliance);
    assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
    assert_eq!((findings.len(), status), (8, Some(0)), "both services, through four rules each");

    let config = lab.directory().join("guideway-0.toml");
    let report = appliance.must(&["doctor", "--report", "-", "--config", &config.to_string_lossy()]);
    let part =
        |title: &str| report.split(&format!("== {title}\n")).nth(1).unwrap_or_else(|| panic!("{report}"));
    assert!(
        part("running appliance: status").starts_with('{') && part("program").contains("DPDK: built with 2")
    );
    assert!(part("running appliance: xstats").contains("\"rx_good_packets\": "), "{report}");

    lab.backend(0).ip(&format!("address delete {vip}/32 dev lo\n"));
    let add = format!("ip address add {vip}/32 dev lo");
    assert_told("the VIP is missing", "A missing VIP and a firewall", &add);
    lab.backend(0).ip(&format!("address add {vip}/32 dev lo\n"));

    nft(&lab, "table inet filter { chain input { type filter hook input priority 0; }; }");
    nft(&lab, &format!("add rule inet filter input ip daddr {vip} tcp dport {WEB} drop"));
    assert_told("the port is filtered", "are dropped", "nft list ruleset");
    nft(&lab, "delete table inet filter");

    backends[0].web.set_unavailable(true);
    assert_told("the answer is wrong", "status 503", "curl -v ");
    backends[0].web.set_unavailable(false);

    backends[0].web.stop();
    assert_told("nobody listens", &format!("nobody listens on port {WEB}"), "ss -ltn");
    backends[0].web.start_again(&lab, 0, TlsPort::Tls);
    appliance.wait_for_health();
    assert_eq!(diagnose(&lab, &appliance).1, Some(0));
}

#[test]
fn a_tunnel_and_a_backend_without_an_appliance_are_told_with_what_looks_alike() {
    let lab = Lab::new(1, 1);
    let mut backends = Backend::all(&lab, 1);
    lab.manage(0);
    let delivery = DeliveryMode::Tunnel("gre", Family::V4);
    let mut appliance = Appliance::start(&lab, 0, &Setup { delivery, ..Setup::checked_by(1, http_check()) });
    backends[0].lose_tunnels();
    let (findings, status) = diagnose(&lab, &appliance);
    let finding = through(&findings);
    assert_eq!((finding.level, status), (Level::Fault, Some(6)));
    // The backend's kernel says so.
    assert!(finding.found.contains("ICMP protocol unreachable"), "{finding:#?}");
    assert_eq!(finding.remedy.as_deref(), Some("modprobe ip_gre && ip link set gre0 up"));
    nft(&lab, "table inet filter { chain input { type filter hook input priority 0; }; }");
    nft(&lab, "add rule inet filter input ip protocol gre drop");
    let (findings, _) = diagnose(&lab, &appliance);
    let finding = through(&findings);
    assert!(finding.found.contains("and a missing VIP look alike"), "{finding:#?}");
    assert_eq!(finding.remedy.as_deref(), Some("tcpdump -n -i any -c 5 'proto 47 or ip6 proto 47'"));

    appliance.kill();
    let config = lab.directory().join("guideway-0.toml");
    let config = config.to_string_lossy();
    let words = ["doctor", "--backend", "v4/b0", "--config", &config];
    let ended = appliance.verb(&words);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("can be told by a running appliance alone"), "{}", ended.stdout);
    backends[0].web.stop();
    let ended = appliance.verb(&words);
    assert_eq!(ended.status.code(), Some(6), "{}", ended.stderr);
    assert!(ended.stdout.contains("192.0.2.11 is up, and nobody listens on port 80"), "{}", ended.stdout);
}
