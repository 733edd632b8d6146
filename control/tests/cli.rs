//! The verbs as they are typed, and what they print; and whole configurations of documents, which must be right.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use guideway::doctor::finding::{Diagnosis, Level};

/// Runs a verb with a text on its standard input.
fn verb(words: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guideway"));
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[test]
fn verbs_print_what_is_written_here() {
    trycmd::TestCases::new().case("tests/cli/*.trycmd").case("../docs/tutorial.md");
}

#[test]
fn whole_configurations_of_documents_are_right() {
    let documents = [include_str!("../../docs/deployment.md")];
    let mut checked = 0;
    for block in documents.into_iter().flat_map(|document| document.split("\n```toml check=").skip(1)) {
        let (name, rest) = block.split_once('\n').expect("a block has lines");
        let (toml, _) = rest.split_once("\n```").expect("a block ends");
        let mut file = tempfile::NamedTempFile::with_suffix(".toml").expect("there is a directory for such");
        file.write_all(toml.as_bytes()).expect("a file can be written");
        let mut check = Command::new(env!("CARGO_BIN_EXE_guideway"));
        let output =
            check.arg("check").arg(file.path()).stdin(Stdio::null()).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("warning"), "{name}: {said}");
        checked += 1;
    }
    assert_eq!(checked, 1);
}

#[test]
fn check_and_doctor_agree_on_what_run_refuses() {
    let right = include_str!("cli/doctor.toml");
    let without_ports = right.split("[[port]]").next().expect("there is a beginning");
    for text in [right, without_ports, "", include_str!("cli/bad.toml"), "no TOML"] {
        let checked = verb(&["check", "-"], text);
        let words = ["doctor", "--config", "-", "--socket", "nowhere.sock", "--output", "json"];
        let doctor = verb(&words, text);
        let diagnosis: Diagnosis = serde_json::from_slice(&doctor.stdout).expect("it is a diagnosis");
        let faults: Vec<_> =
            diagnosis.findings.iter().filter(|finding| finding.check == "configuration").collect();
        let is_right = faults.iter().all(|finding| finding.level < Level::Fault);
        assert_eq!(checked.status.success(), is_right, "{text}\n{faults:#?}");
        assert_eq!(diagnosis.config, "standard input");
    }
}

#[test]
fn a_backend_is_not_unknown_where_the_configuration_is_wrong() {
    let words = |config: &'static str| {
        ["doctor", "--backend", "web-1", "--config", config, "--socket", "nowhere.sock"]
    };
    for (config, status, told) in [
        ("nowhere.toml", 2, "error: cannot read nowhere.toml: No such file"),
        ("-", 3, "standard input:1:"),
        ("tests/cli/doctor.toml", 1, "error: no backend is named `web-1`; there are: none"),
    ] {
        let ended = verb(&words(config), "no TOML");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(status), "{config}: {said}");
        assert!(said.contains(told), "{config}: {said}");
    }
}

#[test]
fn a_report_reads_no_endless_log() {
    let words =
        ["doctor", "--report", "-", "--config", "-", "--socket", "nowhere.sock", "--log", "/dev/zero"];
    let ended = verb(&words, include_str!("cli/doctor.toml"));
    let report = String::from_utf8_lossy(&ended.stdout);
    assert!(report.contains("(none: it is no regular file, and longer than 134217728 bytes)"), "{report}");
    assert!(report.contains("net_af_packet0,iface=nowhere0"), "{report}");
}
