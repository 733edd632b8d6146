//! The verbs as they are typed, and what they print; and whole configurations of documents, which must be right.

use std::io::Write;
use std::process::{Command, Stdio};

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
