//! Captures: when they end, and that what was written until then is whole.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use guideway::api::admin::client::CaptureOrder;
use guideway::api::packet_filter::PacketFilter;
use guideway_engine::capture::CaptureReader;

use crate::sample;
use crate::supervisor::{Appliance, PATIENCE, block_on};
use crate::transcript::{ended, guideway, run};

/// The first byte of each frame of a capture that is whole.
fn frames(bytes: &[u8]) -> Vec<u8> {
    let mut reader = CaptureReader::new(bytes).expect("a capture");
    let mut frames = Vec::new();
    while let Some(record) = reader.next_record().expect("whole to its end") {
        assert_eq!(record.bytes.len(), 60);
        frames.push(record.bytes[0]);
    }
    frames
}

fn file(appliance: &Appliance) -> (PathBuf, String) {
    let path = appliance.directory().join("captured.pcapng");
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

/// Starts a capture that nothing ends, and waits until three frames are written.
fn endless(appliance: &Appliance, path: &Path) -> Child {
    let arguments = ["capture", "--reason", "ttl_expired,not_ip", "-w", path.to_str().unwrap()];
    let child = guideway(&arguments, &appliance.socket()).stderr(Stdio::piped()).spawn().unwrap();
    let whole = sample::section_header().len() + 3 * sample::packet(0).len();
    let end = Instant::now() + PATIENCE;
    while std::fs::metadata(path).map_or(0, |file| file.len()) < whole as u64 {
        assert!(Instant::now() < end, "nothing was captured");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn a_capture_ends_with_its_count() {
    let appliance = Appliance::start();
    let (path, text) = file(&appliance);
    let arguments = ["capture", "--reason", "ttl_expired", "--reason", "drop", "-w", &text, "--count", "5"];
    let output = run(&arguments, &appliance.socket());
    assert_eq!(output.status.code(), Some(0));
    let said = format!(
        "5 packets in {text}\nwarning: 2 packets had no room on the way here: ask for fewer \
         packets, or write to a faster place\n"
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), said);
    assert_eq!(frames(&std::fs::read(path).unwrap()), [0, 1, 2, 3, 4]);
}

#[test]
fn a_capture_overwrites_a_file_only_where_that_is_asked_for() {
    let appliance = Appliance::start();
    let (path, text) = file(&appliance);
    std::fs::write(&path, "of yesterday").unwrap();
    let arguments = ["capture", "--reason", "drop", "-w", &text, "--count", "1"];
    let output = run(&arguments, &appliance.socket());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("; `--force` overwrites it, or name another file\n"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), b"of yesterday");
    let output = run(&[&arguments[..], &["--force"]].concat(), &appliance.socket());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(frames(&std::fs::read(&path).unwrap()), [0]);
    let output = run(&[&arguments[..], &["--force", "--output", "json"]].concat(), &appliance.socket());
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said, serde_json::json!({ "packets": 1, "missing": 2, "path": path }));
    // A device is no file that could be lost.
    let output =
        run(&["capture", "--reason", "drop", "-w", "/dev/null", "--count", "1"], &appliance.socket());
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_capture_ends_with_its_time_and_goes_to_a_pipe() {
    let appliance = Appliance::start();
    let arguments = ["capture", "--reason", "not_ip", "-w", "-", "--seconds", "1"];
    let output = run(&arguments, &appliance.socket());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(frames(&output.stdout), [0, 1, 2]);
    appliance.capture_ended();
}

#[test]
fn a_capture_that_is_interrupted_is_whole_and_ends_on_the_appliance_too() {
    for signal in ["-INT", "-TERM"] {
        let appliance = Appliance::start();
        let (path, _) = file(&appliance);
        let child = endless(&appliance, &path);
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let output = ended(child);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(frames(&std::fs::read(path).unwrap()), [0, 1, 2]);
        appliance.capture_ended();
    }
}

#[test]
fn a_client_that_vanishes_ends_its_capture() {
    let appliance = Appliance::start();
    block_on(async {
        let order = CaptureOrder {
            reasons: vec!["not_ip".parse().unwrap()],
            filter: PacketFilter::default(),
            copies: None,
            packets: None,
            seconds: None,
        };
        let mut capture = appliance.client().capture(&order).await.unwrap();
        let mut come = Vec::new();
        while capture.packets() < 3 {
            come.extend_from_slice(&capture.next().await.unwrap().expect("three are to come"));
        }
        assert_eq!(frames(&come), [0, 1, 2]);
    });
    appliance.capture_ended();
}

#[test]
fn an_appliance_that_stops_ends_its_captures() {
    let appliance = Appliance::start();
    let (path, _) = file(&appliance);
    let child = endless(&appliance, &path);
    let (_, gone) = block_on(appliance.client().stop(Duration::from_secs(60))).unwrap();
    assert!(gone);
    let output = ended(child);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(frames(&std::fs::read(path).unwrap()), [0, 1, 2]);
}

#[test]
fn a_capture_that_is_refused_leaves_the_file_alone() {
    let appliance = Appliance::start();
    let (path, text) = file(&appliance);
    std::fs::write(&path, "precious").unwrap();
    let output = run(&["capture", "--reason", "ttl", "-w", &text], &appliance.socket());
    assert_eq!(output.status.code(), Some(2), "a word that is no reason");
    let nobody = appliance.directory().join("nobody.sock");
    let output = run(&["capture", "--reason", "ttl_expired", "-w", &text], &nobody);
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn what_cannot_be_written_is_told() {
    let appliance = Appliance::start();
    let output = run(&["capture", "--reason", "drop", "-w", "/dev/full"], &appliance.socket());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("error: cannot write to /dev/full: "), "{said}");
    appliance.capture_ended();
}

#[test]
fn a_disk_that_is_full_leaves_whole_blocks() {
    let appliance = Appliance::start();
    let (path, text) = file(&appliance);
    // As a full disk does, a limit of the file's size takes a part of what is written, and then nothing.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$@\"";
    let arguments = ["capture", "--reason", "drop", "-w", &text, "--count", "50"];
    let limited = guideway(&arguments, &appliance.socket());
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(limited.get_program()).args(limited.get_args());
    let output = ended(shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.is_empty() || frames(&bytes).len() < 50, "{} bytes", bytes.len());
}
