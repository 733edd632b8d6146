//! The tester on a DPDK port: a ring returns what was sent, as a cable between two ports would.
#![cfg(feature = "dpdk")]

use std::process::Command;

use serde_json::Value;

#[test]
fn a_cable_loses_no_test_frame() {
    // Fewer frames in a trial than the ring has room for.
    let arguments = [
        "rfc2544",
        "--port",
        "net_ring0",
        "--device-mac",
        "02:00:00:00:00:01",
        "--no-huge",
        "128",
        "--output",
        "json",
        "--frame-len",
        "64,1518",
        "--flows",
        "100",
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
        "6",
        "--latency-at",
        "50",
    ];
    let program = env!("CARGO_BIN_EXE_guideway-bench");
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["device"], "net_ring0");
    let measured = report["measured"].as_array().expect("frame lengths");
    assert_eq!(measured.len(), 2);
    for trial in measured.iter().flat_map(|one| one["trials"].as_array().expect("trials")) {
        assert!(trial["sent"].as_u64() > Some(0) && trial["sent"] == trial["received"], "{trial}");
        assert_eq!(trial["strangers"], 0, "{trial}");
    }
}

#[test]
fn a_device_that_does_not_answer_is_told_of() {
    let arguments = ["rfc2544", "--port", "net_ring0", "--no-huge", "128"];
    let program = env!("CARGO_BIN_EXE_guideway-bench");
    let output = Command::new(program).args(arguments).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("no device answers for 192.0.2.1"), "{said}");
}
