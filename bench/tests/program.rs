//! The program as its users have it: a few seconds of `replay` and of `report`, and what they say.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn bench(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_guideway-bench");
    Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn replayed(arguments: &[&str]) -> Value {
    let mut all = vec!["replay", "--output", "json"];
    all.extend(arguments);
    let output = bench(&all);
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(report["environment"]["machine"]["cores"].as_u64() > Some(0));
    report["replay"].clone()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no count"))
}

fn sum(reasons: &Value) -> u64 {
    reasons.as_object().expect("reasons").values().map(number).sum()
}

/// Asserts that every frame is accounted for, and returns how many were offered.
fn conserved(replay: &Value) -> u64 {
    let frames = |name: &str| number(&replay["ledger"][name]);
    assert_eq!(frames("put_in"), frames("offered") + frames("refused"));
    let ends = frames("forwarded") + sum(&replay["passed"]) + sum(&replay["dropped"]);
    assert_eq!(frames("offered"), ends);
    let lost = frames("tx_full") + frames("unknown_egress_port");
    assert_eq!(frames("sent") + lost, frames("forwarded") + frames("answered"));
    assert_eq!(frames("came_out"), frames("sent"));
    let to_backends: u64 =
        replay["backends"].as_array().expect("backends").iter().map(|one| number(&one["packets"])).sum();
    assert_eq!(to_backends, frames("forwarded"));
    frames("offered")
}

#[test]
fn a_replay_at_full_speed_accounts_for_every_frame() {
    let replay = replayed(&["--seconds", "0.5", "--flows", "3000"]);
    assert!(number(&replay["flows"]) >= 3000);
    assert!(conserved(&replay) > 0);
    assert!(replay["packets_per_sec"].as_f64() > Some(0.0));
    for reason in ["malformed_ipv4", "martian_source", "packet_too_big", "ttl_expired"] {
        assert!(number(&replay["dropped"][reason]) > 0, "{reason} in {}", replay["dropped"]);
    }
}

#[test]
fn the_poll_loop_is_taken_apart_into_queues_pipeline_and_loop() {
    let output = bench(&["loop", "--flows", "100,200", "--runs", "2", "--bursts", "50", "--output", "json"]);
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let memory: Vec<&Value> =
        report["measured"].as_array().expect("rows").iter().filter(|row| row["queues"] == "memory").collect();
    assert_eq!(memory.iter().map(|row| number(&row["flows"])).collect::<Vec<_>>(), [100, 200]);
    for row in memory {
        let ns = |part: &str| row[part].as_f64().unwrap_or_else(|| panic!("{part} in {row}"));
        assert!(ns("queues_ns") > 0.0 && ns("pipeline_ns") > 0.0);
        assert!(ns("decided_ns") > ns("queues_ns") && ns("loop_ns") > ns("queues_ns"), "{row}");
    }
}

#[test]
fn a_replay_at_the_captures_speed_plays_no_more_than_is_due() {
    let replay = replayed(&["--seconds", "0.5", "--flows", "1", "--speed", "capture", "--pace", "10"]);
    let asked = replay["asked_packets_per_sec"].as_f64().expect("a rate");
    let offered = conserved(&replay);
    // The demonstration has quiet and busy seconds.
    assert!(offered > 0 && (offered as f64) < asked * 0.5 * 3.0, "{offered} of {asked}");
}

#[test]
fn any_capture_is_replayed_under_its_own_configuration() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../pcap-fixtures/captures/fragments");
    let mut replays = 0;
    for entry in Path::new(folder).read_dir().expect("fixtures") {
        let capture = entry.expect("a fixture").path().display().to_string();
        let Some(stem) = capture.strip_suffix(".in.pcap") else { continue };
        let config = format!("{stem}.toml");
        let replay = replayed(&[&capture, "--config", &config, "--seconds", "0.1", "--flows", "100"]);
        assert!(conserved(&replay) > 0, "{capture}");
        replays += 1;
    }
    assert!(replays > 0);
}

#[test]
fn clients_of_a_source_range_stay_in_it() {
    let stem =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../pcap-fixtures/captures/rules/source-ranges-steer-clients");
    let (capture, config) = (format!("{stem}.in.pcap"), format!("{stem}.toml"));
    let replay = replayed(&[&capture, "--config", &config, "--seconds", "0.3", "--flows", "50"]);
    let offered = conserved(&replay);
    // Of seven packets three are the partners' and two the laboratory's, in each clone as in the capture.
    for (service, of_seven) in [("partner", 3.0), ("lab", 2.0), ("web", 2.0)] {
        let backends = replay["backends"].as_array().expect("backends").iter();
        let packets: u64 =
            backends.filter(|one| one["backend_service"] == service).map(|one| number(&one["packets"])).sum();
        let share = packets as f64 / offered as f64;
        assert!((share - of_seven / 7.0).abs() < 0.1, "{service} has {share} of {offered}");
    }
}

#[test]
fn what_is_no_capture_is_refused() {
    let output = bench(&["replay", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    assert!(!output.status.success());
    assert!(said(&output).contains("Cargo.toml"), "{}", said(&output));
}

#[test]
fn the_engine_forwards_every_test_frame_at_a_low_rate() {
    // A trial has fewer frames than the device has descriptors, and waits until all are back: so whatever else the machine
    // does, none is lost.
    for (family, protocol, shortest) in [("ipv4", "udp", 64), ("ipv6", "tcp", 84)] {
        let output = bench(&[
            "rfc2544",
            "--inside",
            "--output",
            "json",
            "--family",
            family,
            "--protocol",
            protocol,
            "--flows",
            "100",
            "--frame-len",
            "64,imix",
            "--min-rate",
            "100",
            "--max-rate",
            "2000",
            "--initial-trial",
            "0.02",
            "--final-trial",
            "0.04",
            "--settle",
            "30",
            "--warm-up",
            "0.1",
            "--max-trials",
            "12",
            "--latency-at",
            "50",
        ]);
        assert!(output.status.success(), "{}", said(&output));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert!(report["environment"]["machine"]["cores"].as_u64() > Some(0));
        for (measured, frame_len) in
            report["measured"].as_array().expect("frame lengths").iter().zip(["64", "imix"])
        {
            assert_eq!(
                (&measured["frame_len"], &measured["shortest_frame"]),
                (&frame_len.into(), &shortest.into())
            );
            let trials = measured["trials"].as_array().expect("trials");
            assert!((1..=12).contains(&trials.len()));
            for trial in trials {
                assert!(number(&trial["sent"]) > 0, "{trial}");
                assert_eq!(trial["sent"], trial["received"], "{trial}");
                for none in ["duplicates", "reordered", "strangers", "no_memory", "missed"] {
                    assert_eq!(number(&trial[none]), 0, "{trial}");
                }
            }
            for (goal, name) in measured["goals"].as_array().expect("goals").iter().zip(["NDR", "PDR"]) {
                assert_eq!((&goal["name"], &goal["upper"]), (&name.into(), &Value::Null), "{goal}");
            }
            for latency in measured["latencies"].as_array().expect("latencies") {
                assert!(number(&latency["latency_ns"]["min"]) > 0, "{latency}");
            }
        }
    }
}

#[test]
fn a_tester_says_what_it_lacks() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../control/default.toml");
    for (arguments, reason) in [
        (vec!["--inside", "--config", example, "--family", "ipv6"], "no rule for UDP over IPv6"),
        (vec!["--inside", "--min-rate", "10", "--max-rate", "5"], "too many frames, or none"),
        (vec!["--inside", "--frame-len", "63"], "64 to 1518"),
        (vec![], "--port"),
    ] {
        let output = bench(&[&["rfc2544"][..], &arguments].concat());
        assert!(!output.status.success() && said(&output).contains(reason), "{}", said(&output));
    }
}

#[test]
fn a_report_has_every_figure_with_its_data() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("report.html");
    let output = bench(&["report", "--quick", "--output", &path.display().to_string()]);
    assert!(output.status.success(), "{}", said(&output));
    let page = std::fs::read_to_string(&path).expect("the page");
    assert!(!page.contains("<script") && !page.contains("NaN") && !page.contains("inf<"));
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let page = roxmltree::Document::parse_with_options(&page, options).expect("the page is XML too");
    let figures = [
        "throughput-by-flows",
        "throughput-by-workers",
        "burst-latency",
        "balance",
        "disruption",
        "drops",
        "backend-shares",
        "replay-turns",
    ];
    let sections: Vec<_> = page.descendants().filter(|node| node.has_tag_name(html("section"))).collect();
    assert_eq!(sections.len(), figures.len() + 1);
    for (section, id) in sections.iter().zip(figures) {
        assert_eq!(section.attribute("aria-labelledby"), Some(id));
        let svg = section.descendants().find(|node| node.tag_name().name() == "svg").expect(id);
        let child = |name: &str| svg.children().find(|node| node.tag_name().name() == name);
        for name in ["title", "desc"] {
            assert!(
                child(name).and_then(|node| node.text()).is_some_and(|text| !text.is_empty()),
                "{id}: {name}"
            );
        }
        let shapes = ["polyline", "rect"];
        assert!(svg.children().any(|node| shapes.contains(&node.tag_name().name())), "{id} shows nothing");
        let rows = section.descendants().filter(|node| node.has_tag_name(html("tr")));
        assert!(rows.count() > 1, "{id} has no data");
    }
    let mut ids: Vec<_> = page.descendants().filter_map(|node| node.attribute("id")).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "every id stands once");
}

fn html(name: &str) -> (&'static str, &str) {
    ("http://www.w3.org/1999/xhtml", name)
}

#[test]
fn a_report_of_files_shows_what_they_hold() {
    let folder = tempfile::tempdir().expect("a directory");
    let [file, path] =
        ["replay.json", "report.html"].map(|name| folder.path().join(name).display().to_string());
    let output = bench(&["replay", "--seconds", "0.1", "--flows", "100", "--output", "json"]);
    std::fs::write(&file, &output.stdout).expect("a file");
    let output = bench(&["report", "--from", &file, "-o", &path]);
    assert!(output.status.success(), "{}", said(&output));
    let page = std::fs::read_to_string(&path).expect("the page");
    assert!(
        page.contains("id=\"drops\"") && !page.contains("id=\"balance\"") && page.contains("replay.json")
    );

    let output = bench(&["report", "--from", &format!("{file},{file}"), "-o", &path]);
    assert!(!output.status.success() && said(&output).contains("second of its kind"), "{}", said(&output));
}

#[test]
fn a_scale_of_many_services_has_every_phase_and_each_health_change() {
    let size = ["--services", "20", "--backends", "50", "--rules", "100"];
    let output = bench(&[&["scale", "--changes", "10", "--output", "json"], &size[..]].concat());
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((number(&report["backends"]), number(&report["rules"])), (1_000, 100));
    // A service of fifty backends has the smallest table.
    assert_eq!(number(&report["lookup_table_bytes"]), 20 * 65_537 * 2);
    let phases = report["phases"].as_array().expect("phases");
    let names: Vec<_> = phases.iter().filter_map(|phase| phase["name"].as_str()).collect();
    let reloads = ["reload without a change", "reload with one service changed"];
    assert_eq!(names, [&["check", "conntrack table", "start"], &reloads[..]].concat());
    assert!(phases.iter().all(|phase| phase["seconds"].as_f64() > Some(0.0)));
    assert_eq!(number(&report["health_changes"]["count"]), 10);

    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("scale.toml").display().to_string();
    assert!(bench(&[&["scale", "--write", &file], &size[..]].concat()).status.success());
    let written = std::fs::read_to_string(&file).expect("it is written");
    assert_eq!(number(&report["text_bytes"]), written.len() as u64);
}

#[test]
fn the_cost_of_a_packet_is_measured_in_one_network_and_in_several() {
    let output =
        bench(&["pipeline", "--quick", "--networks", "1,2,64", "--form", "vlan", "--output", "json"]);
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let measured = report["measured"].as_array().expect("a list");
    let networks: Vec<u64> = measured.iter().map(|one| number(&one["scenario"]["networks"])).collect();
    assert_eq!(networks, [1, 2, 64]);
    // Packets find their connections, but for the few that the table has no room for: in the network of their tag.
    assert!(measured.iter().all(|one| one["hit_share"].as_f64() > Some(0.98)), "{report}");
}
