//! Input that is packed, or that comes by standard input: verbs read it as they read a file.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

const CAPTURE: &[u8] = include_bytes!("../../pcap-fixtures/demo.in.pcap");

fn guideway(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guideway"));
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A verb that refuses what it is given may end before it has read all of it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

#[test]
fn a_capture_is_replayed_as_it_is_or_packed() {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(CAPTURE).unwrap();
    let zstd = compress_to_vec(CAPTURE, CompressionLevel::Fastest);
    let plain = guideway(&["replay", "--demo", "--output", "json"], b"");
    assert!(plain.status.success() && !plain.stdout.is_empty());
    let file = std::env::temp_dir().join(format!("guideway-packed-{}.pcap.zst", std::process::id()));
    std::fs::write(&file, &zstd).unwrap();
    let of_file = guideway(&["replay", "--demo", "--output", "json", "--pcap", file.to_str().unwrap()], b"");
    std::fs::remove_file(&file).unwrap();
    assert!(of_file.stdout == plain.stdout, "{}", String::from_utf8_lossy(&of_file.stderr));
    for packed in [CAPTURE.to_vec(), gzip.finish().unwrap(), zstd] {
        let replayed = guideway(&["replay", "--demo", "--output", "json", "--pcap", "-"], &packed);
        assert!(replayed.stdout == plain.stdout, "{}", String::from_utf8_lossy(&replayed.stderr));
        let cut = guideway(&["replay", "--demo", "--pcap", "-"], &packed[..packed.len() - 5]);
        assert_eq!(cut.status.code(), Some(1), "{}", String::from_utf8_lossy(&cut.stderr));
    }
}

#[test]
fn a_configuration_is_read_from_standard_input() {
    let example = include_bytes!("../default.toml");
    for arguments in [&["check", "-"][..], &["check", "--config", "-"]] {
        let checked = guideway(arguments, example);
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(said.starts_with("configuration: standard input\nok: 3 forwarding rules"), "{said}");
    }
    let wrong = guideway(&["check", "-"], b"ports = 1");
    assert_eq!(wrong.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("--> standard input:1:1"));
    let shown = guideway(&["ring", "--config", "-", "--service", "web"], example);
    assert!(shown.status.success());
    let planned = guideway(&["plan", "default.toml", "-"], example);
    assert_eq!(planned.status.code(), Some(0), "{}", String::from_utf8_lossy(&planned.stderr));
}

#[test]
fn the_minimal_example_is_what_run_needs() {
    let example = guideway(&["schema", "--example"], b"");
    let checked = guideway(&["check", "-"], &example.stdout);
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(said.contains("ok: 1 forwarding rule, 1 backend service, 2 endpoints"), "{said}");
    assert!(!said.contains("warning"), "{said}");
    let full = guideway(&["schema", "--example", "full"], b"");
    assert!(full.stdout == include_bytes!("../default.toml"));
}
