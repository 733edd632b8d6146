//! The verbs of the running appliance, and what they print.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use guideway::api::view::Drops;
use insta::{Settings, assert_snapshot};
use serde_json::json;

use crate::sample;
use crate::supervisor::{Appliance, Directory, block_on};
use crate::transcript::{ended, guideway, run, transcript};

/// A snapshot without the expression that made it: a transcript repeats it.
macro_rules! snapshot {
    ($shown:expr) => {{
        let mut settings = Settings::clone_current();
        settings.set_omit_expression(true);
        settings.bind(|| assert_snapshot!($shown));
    }};
}

#[test]
fn status_and_stats() {
    let appliance = Appliance::start();
    snapshot!(transcript(&[&["status"], &["stats"]], &appliance.socket()));
}

#[test]
fn a_table_is_shown_again_and_again() {
    let appliance = Appliance::start();
    let mut watching = guideway(&["vip", "list", "--watch", "1", "--output", "json"], &appliance.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<serde_json::Value>(&lines.next().unwrap().unwrap()).unwrap();
    let vips = json!({ "vips": sample::vips() });
    assert_eq!([next(), next()], [vips.clone(), vips]);
    // A look is made anew each time.
    block_on(appliance.client().vip_announce("203.0.113.10".parse().unwrap(), None)).unwrap();
    while next()["vips"][0]["announced"] != json!(true) {}
    drop(appliance);
    assert_eq!(watching.wait().unwrap().code(), Some(4));
}

#[test]
fn services_and_rules() {
    let appliance = Appliance::start();
    snapshot!(transcript(&[&["service", "list"], &["rule", "list"]], &appliance.socket()));
}

#[test]
fn drops() {
    let appliance = Appliance::start();
    snapshot!(transcript(&[&["drops"], &["drops", "--all"]], &appliance.socket()));
}

#[test]
fn conntrack() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] = &[
        &["conntrack", "list"],
        &["conntrack", "list", "--backend", "web-1", "--limit", "1"],
        &["conntrack", "list", "--service", "firewall"],
        &["conntrack", "list", "--limit", "10001"],
        &["conntrack", "watch", "--count", "1"],
        &["conntrack", "watch", "--backend", "nobody"],
        &["capture", "--service", "nobody", "-w", "-"],
        &["capture", "-w", "-"],
        &["capture", "--flow", "icmp 192.0.2.7 > 203.0.113.10", "--vip", "203.0.113.10", "-w", "-"],
        &["capture", "--client", "somebody", "-w", "-"],
        &["conntrack", "get", "tcp 192.0.2.7:40001 > 203.0.113.10:443"],
        &["conntrack", "get", "udp", "192.0.2.7:53", ">", "203.0.113.99:53"],
        &["conntrack", "get", "tcp", "192.0.2.7"],
    ];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn trace() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] = &[
        &["trace", "--count", "2", "tcp 198.51.100.7:40001 -> 203.0.113.10:443"],
        &["trace", "--count", "1", "--output", "json"],
        &["trace", "tcp 198.51.100.7:40001 > 203.0.113.10:443", "--vip", "203.0.113.10"],
        &["trace", "--count", "0"],
        &["trace", "tcp"],
    ];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn backend() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] = &[
        &["backend", "list"],
        &["backend", "get", "firewall", "fw-1"],
        &["backend", "get", "web", "web-1"],
        &["backend", "get", "web", "nobody"],
        &["backend", "drain", "web", "web-2"],
        &["backend", "set-weight", "web", "web-2", "5"],
        &["backend", "list", "--service", "web"],
        &["backend", "undrain", "web", "web-2", "--output", "json"],
        &["backend", "drain", "web", "nobody"],
        &["backend", "drain", "web", "web-3"],
        &["backend", "list", "--service", "nobody", "--output", "json"],
        &["backend", "set-weight", "firewall", "fw-1", "5"],
        &["backend", "set-weight", "web", "web-2", "1001"],
        &["backend", "drain", "firewall", "fw-1"],
        &["status"],
    ];
    snapshot!(transcript(verbs, &appliance.socket()));
}

/// A look shows two sessions, the next one, and the third none.
#[test]
fn backend_drain_that_waits() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] = &[
        &["backend", "drain", "web", "web-2", "--wait", "0", "--deadline", "600"],
        &["backend", "drain", "web", "web-2", "--wait"],
        &["backend", "drain", "web", "web-1", "--wait", "--output", "json"],
        &["backend", "drain", "firewall", "fw-1", "--wait", "1", "--output", "json"],
        &["backend", "drain", "web", "web-2", "--deadline", "86401"],
        &["backend", "drain", "web", "nobody", "--wait"],
    ];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn backend_weight_zero_and_reset() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] = &[
        &["backend", "set-weight", "web", "web-2", "0"],
        &["backend", "reset", "web", "web-2"],
        &["backend", "set-weight", "web", "web-2", "0", "--output", "json"],
    ];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn a_wait_ends_when_somebody_undrains_the_backend() {
    let appliance = Appliance::start();
    let waiting = guideway(&["backend", "drain", "firewall", "fw-1", "--wait"], &appliance.socket())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    block_on(async {
        let client = appliance.client();
        while !client.backend_get("firewall", "fw-1").await.unwrap().operator_drained {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        client.backend_undrain("firewall", "fw-1").await.unwrap();
    });
    let ended = ended(waiting);
    assert_eq!(ended.status.code(), Some(1));
    let error = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(error.contains("somebody has undrained it, and 1 connection remains"), "{error}");
}

#[test]
fn events() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] =
        &[&["events"], &["events", "--limit", "1", "--output", "json"], &["events", "--limit", "10001"]];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn events_are_followed_until_the_appliance_has_gone() {
    let appliance = Appliance::start();
    let arguments = ["events", "--follow", "--limit", "2", "--output", "json"];
    let mut following = guideway(&arguments, &appliance.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<serde_json::Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!([next(), next()], [json!(sample::events()[1]), json!(sample::events()[2])]);
    drop(appliance);
    assert_eq!(following.wait().unwrap().code(), Some(4));
    assert!(lines.next().is_none(), "each event is shown once");
}

#[test]
fn vip() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] = &[
        &["vip", "list"],
        &["vip", "announce", "203.0.113.10"],
        &["vip", "withdraw", "203.0.113.10"],
        &["vip", "announce", "2001:db8::10"],
        &["vip", "announce", "2001:db8:1234::/96"],
        &["vip", "withdraw", "2001:db8:1234::/96"],
        &["vip", "announce", "203.0.113.99"],
    ];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn drain() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] = &[
        &["drain"],
        &["undrain", "--appliance"],
        &["drain", "--appliance", "--deadline", "60"],
        &["status"],
        &["undrain", "--appliance"],
        &["drain", "--appliance", "--deadline", "86401"],
        &["drain", "--appliance", "--deadline", "60", "--output", "json"],
        &["drain", "--appliance", "--stop"],
        &["status"],
    ];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn reload_and_stop() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] =
        &[&["reload"], &["reload"], &["reload"], &["reload"], &["stop", "--timeout", "60"], &["status"]];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn plan_and_dry_run() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] = &[
        &["reload", "--dry-run"],
        &["plan", "default.toml"],
        &["plan", "default.toml", "--output", "json"],
        &["plan", "tests/cli/bad.toml"],
        &["plan", "nowhere.toml"],
        &["reload", "--dry-run", "--yes"],
    ];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn explain_and_ring_of_the_running_appliance() {
    let appliance = Appliance::start();
    let flow = "tcp 192.0.2.7:40001 > 203.0.113.10:443";
    let verbs: &[&[&str]] = &[
        &["explain", "--live", flow],
        &["explain", "--live", "--unhealthy", "web/web-1", flow],
        &["explain", "--live", "--network", "red", flow],
        &["explain", "--live", "--demo", flow],
        &["ring", "--live", "--service", "web"],
        &["ring", "--live", "--service", "web", "--unhealthy", "web/nobody"],
        &["ring", "--live", "--service", "nobody"],
    ];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn json_of_the_running_appliance_is_that_of_a_file() {
    let appliance = Appliance::start();
    let live = run(&["ring", "--live", "--service", "firewall", "--output", "json"], &appliance.socket());
    let of_file = run(&["ring", "--demo", "--service", "firewall", "--output", "json"], &appliance.socket());
    assert_eq!(String::from_utf8_lossy(&live.stdout), String::from_utf8_lossy(&of_file.stdout));
    assert!(!live.stdout.is_empty());
}

#[test]
fn a_wrong_configuration_as_json() {
    let appliance = Appliance::start();
    let verbs: &[&[&str]] = &[&["reload", "--output", "json"], &["reload"], &["reload", "--output", "json"]];
    snapshot!(transcript(verbs, &appliance.socket()));
}

#[test]
fn json_is_the_view_as_it_came() {
    let appliance = Appliance::start();
    let printed = |verb: &[&str]| {
        let output = run(&[verb, &["--output", "json"]].concat(), &appliance.socket());
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    assert_eq!(printed(&["status"]), json!(sample::status(&sample::vips())));
    assert_eq!(printed(&["stats"]), json!(sample::stats()));
    assert_eq!(printed(&["drops", "--all"]), json!(Drops::new(&sample::stats())));
    assert_eq!(printed(&["service", "list"]), json!({ "services": sample::services() }));
    assert_eq!(printed(&["rule", "list"]), json!({ "rules": sample::rules() }));
    assert_eq!(printed(&["backend", "list"]), json!({ "backends": sample::backends() }));
    assert_eq!(printed(&["backend", "get", "web", "web-1"]), json!(sample::backends()[1]));
    assert_eq!(printed(&["events"]), json!({ "events": sample::events() }));
    assert_eq!(printed(&["vip", "list"]), json!({ "vips": sample::vips() }));
    assert_eq!(printed(&["conntrack", "list"]), json!({ "matching": 3, "entries": sample::entries() }));
    assert_eq!(printed(&["stop", "--timeout", "60"]), json!({ "pid": 4321 }));
}

#[test]
fn an_appliance_that_cannot_be_reached() {
    let directory = Directory::new();
    let socket = directory.path().join("admin.sock");
    let nobody = transcript(
        &[
            &["status"],
            &["plan", "default.toml"],
            &["explain", "--live", "icmp 192.0.2.7 > 203.0.113.10"],
            &["capture", "--reason", "drop", "-w", "-"],
        ],
        &socket,
    );
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let gone = transcript(&[&["backend", "list"], &["stop"]], &socket);
    std::fs::remove_file(&socket).unwrap();
    std::fs::write(&socket, "").unwrap();
    let file = transcript(&[&["drops"]], &socket);
    snapshot!([nobody, gone, file].concat());
}
