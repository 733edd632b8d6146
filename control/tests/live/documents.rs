//! Routing in documents: configurations that BIRD must read, and the script that tells FRR.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::lab::document::Block;
use crate::lab::patience::PATIENCE;
use crate::lab::process::{Ended, Process};

const DOCUMENTS: [&str; 2] =
    [include_str!("../../../docs/announcement.md"), include_str!("../../../docs/deployment.md")];

/// Stand-in for FRR's shell: keeps the static routes that it is told of in a file.
const VTYSH: &str = r#"#!/bin/sh
while [ $# -gt 0 ]; do
  case $2 in
    'configure terminal') ;;
    'show running-config') cat "$ROUTES" ;;
    'no '*)
      grep -qxF "${2#no }" "$ROUTES" || exit 1
      grep -vxF "${2#no }" "$ROUTES" > "$ROUTES.new" || :
      mv "$ROUTES.new" "$ROUTES"
      ;;
    *) grep -qxF "$2" "$ROUTES" || echo "$2" >> "$ROUTES" ;;
  esac
  shift 2
done
"#;

fn blocks(word: &str) -> Vec<Block> {
    let all = DOCUMENTS.iter().flat_map(|document| Block::all(document));
    all.filter(|block| block.value(word).is_some()).collect()
}

#[test]
fn bird_reads_the_configurations_of_the_documents() {
    let directory = TempDir::new().expect("there is a directory for such");
    let configurations = blocks("bird");
    assert_eq!(configurations.len(), 2);
    for block in configurations {
        let path = directory.path().join("bird.conf");
        // An example may leave the machine's own address to BIRD, which asks its interfaces.
        fs::write(&path, &block.text).expect("the directory can be written");
        let mut bird = Command::new("bird");
        bird.arg("-p").arg("-c").arg(&path);
        let ended = Process::run(directory.path(), "bird", bird, PATIENCE);
        assert!(ended.status.success(), "line {}: {ended:#?}", block.line);
    }
}

#[test]
fn the_script_for_frr_can_be_told_twice() {
    let directory = TempDir::new().expect("there is a directory for such");
    let scripts = blocks("script");
    let [block] = scripts.as_slice() else { panic!("one script: {scripts:?}") };
    let script = executable(directory.path(), "announce-frr", &block.text);
    executable(directory.path(), "vtysh", VTYSH);
    let routes = directory.path().join("routes");
    fs::write(&routes, "").expect("the directory can be written");
    let tell = |words: &[&str]| -> (Ended, String) {
        let mut command = Command::new("sh");
        let path = format!("{}:{}", directory.path().display(), std::env::var("PATH").unwrap_or_default());
        command.arg(&script).args(words).arg("web").env("PATH", path).env("ROUTES", &routes);
        let ended = Process::run(directory.path(), "announce", command, PATIENCE);
        (ended, fs::read_to_string(&routes).expect("the stand-in keeps it"))
    };
    for (words, expected) in [
        (["withdraw", "203.0.113.10"], ""),
        (["announce", "203.0.113.10"], "ip route 203.0.113.10/32 Null0\n"),
        (["announce", "203.0.113.10"], "ip route 203.0.113.10/32 Null0\n"),
        (["withdraw", "203.0.113.10"], ""),
        (["announce", "2001:db8::a"], "ipv6 route 2001:db8::a/128 Null0\n"),
        (["withdraw", "2001:db8::a"], ""),
        (["announce", "198.51.100.0/28"], "ip route 198.51.100.0/28 Null0\n"),
    ] {
        let (ended, routes) = tell(&words);
        assert!(ended.status.success(), "{words:?}: {ended:#?}");
        assert_eq!(routes, expected, "{words:?}");
    }
}

fn executable(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).expect("the directory can be written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    path
}
