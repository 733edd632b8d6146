//! Configurations of several files, as verbs read them.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use guideway::config_file;
use guideway_model::config::{Config, MINIMAL};
use tempfile::TempDir;

const SEED: &str = "000102030405060708090a0b0c0d0e0f";

/// A folder with these files, which only their owner may read.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

/// Status of a verb, and all that it prints.
fn guideway(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_guideway"));
    let output = command.args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.code(), text)
}

#[test]
fn the_seed_is_read_from_its_file_by_every_verb() {
    let main = format!("{MINIMAL}\n[fleet]\nseed_file = \"seed\"\n");
    let folder = folder(&[("etc/guideway.toml", &main), ("etc/seed", &format!("{SEED}\n"))]);
    let one = format!("{MINIMAL}\n[fleet]\nseed = \"{SEED}\"\n");
    fs::write(folder.path().join("one.toml"), one).unwrap();
    let (status, text) = guideway(folder.path(), &["check", "etc/guideway.toml"]);
    assert!(status == Some(0) && !text.contains("seed"), "{text}");
    let (status, text) = guideway(folder.path(), &["plan", "one.toml", "etc/guideway.toml"]);
    assert!(status == Some(0), "they say the same: {text}");
    let ring = |config| {
        let (status, text) = guideway(folder.path(), &["ring", "--config", config]);
        assert_eq!(status, Some(0), "{text}");
        text.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>()
    };
    assert_eq!(ring("etc/guideway.toml"), ring("one.toml"));

    let seed = folder.path().join("etc/seed");
    fs::set_permissions(&seed, Permissions::from_mode(0o644)).unwrap();
    let (status, text) = guideway(folder.path(), &["check", "etc/guideway.toml"]);
    assert!(
        status == Some(0) && text.contains("warning: every user may read the seed in etc/seed"),
        "{text}"
    );
    fs::write(&seed, &SEED[1..]).unwrap();
    let (status, text) = guideway(folder.path(), &["check", "etc/guideway.toml"]);
    assert!(status == Some(3) && text.contains("openssl rand") && !text.contains(&SEED[1..9]), "{text}");
    fs::write(&seed, SEED.repeat(100)).unwrap();
    let (status, text) = guideway(folder.path(), &["check", "etc/guideway.toml"]);
    assert!(status == Some(3) && text.contains("more than 1024 bytes"), "{text}");
    fs::remove_file(&seed).unwrap();
    let (status, text) = guideway(folder.path(), &["check", "etc/guideway.toml"]);
    assert!(status == Some(3) && text.contains("cannot read `etc/seed`"), "{text}");
}

#[test]
fn included_files_are_read_in_sorted_order_from_the_folder_of_the_main_file() {
    let main = format!("include = [\"conf.d/*.toml\", \"*.toml\"]\n{MINIMAL}");
    let group = |name: &str| format!("[[backend_group]]\nname = \"{name}\"\nendpoints = []\n");
    let (a, b) = (group("a"), group("b"));
    let fleet = "[fleet]\nseed_file = \"seed\"\n";
    let folder = folder(&[
        ("e[t]c/main.toml", &main),
        ("e[t]c/conf.d/20-b.toml", &b),
        ("e[t]c/conf.d/10-a.toml", &a),
        ("e[t]c/conf.d/.20-b.toml.swp", "half"),
        ("e[t]c/conf.d/.old.toml", "half"),
        ("e[t]c/conf.d/fleet.toml", fleet),
        ("e[t]c/conf.d/seed", SEED),
    ]);
    let read = config_file::read(&folder.path().join("e[t]c/main.toml")).unwrap();
    let names: Vec<_> = read.files().map(|(name, _)| name.rsplit('/').next().unwrap()).collect();
    assert_eq!(names, ["main.toml", "10-a.toml", "20-b.toml", "fleet.toml"]);
    let config = Config::parse_sources(&read).unwrap_or_else(|errors| panic!("{errors}"));
    let groups: Vec<_> = config.groups.iter().map(|group| &*group.name).collect();
    assert_eq!((groups, config.fleet.seed[15]), (vec!["web", "a", "b"], 0xf));

    let (status, text) = guideway(&folder.path().join("e[t]c"), &["check", "main.toml"]);
    assert_eq!(status, Some(0), "{text}");
    fs::write(folder.path().join("e[t]c/conf.d/20-b.toml"), "[fleet]\n").unwrap();
    let (status, text) = guideway(folder.path(), &["check", "e[t]c/main.toml"]);
    assert_eq!(status, Some(3), "{text}");
    assert!(
        text.contains("e[t]c/conf.d/fleet.toml:1:2") && text.contains("e[t]c/conf.d/20-b.toml:1:2"),
        "{text}"
    );
    let (status, text) = guideway(folder.path(), &["check", "e[t]c/main.toml", "--output", "json"]);
    let told: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &told["errors"][0]["file"]), (Some(3), &"e[t]c/conf.d/fleet.toml".into()));
}

#[test]
fn a_pattern_without_a_file_is_a_warning_and_a_pipe_is_not_waited_for() {
    let folder = folder(&[("main.toml", &format!("include = [\"conf.d/*.toml\"]\n{MINIMAL}"))]);
    let (status, text) = guideway(folder.path(), &["check", "main.toml"]);
    assert!(status == Some(0) && text.contains("warning: `include` matches no file"), "{text}");
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    let pipe = folder.path().join("conf.d/a.toml");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (status, text) = guideway(folder.path(), &["check", "main.toml"]);
    assert!(
        status == Some(3) && text.contains("it is a named pipe, and only regular files are read"),
        "{text}"
    );
}

#[test]
fn only_a_regular_file_is_a_configuration() {
    let folder = folder(&[("main.toml", MINIMAL), ("folder/a", "")]);
    let path = |name: &str| folder.path().join(name);
    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
    std::os::unix::fs::symlink("main.toml", path("link")).unwrap();
    assert!(config_file::read(&path("link")).is_ok(), "a link to a file is one");
    for (name, kind) in [("pipe", "a named pipe"), ("folder", "a directory"), ("socket", "a socket")] {
        let (status, text) = guideway(folder.path(), &["check", "--config", name]);
        let told = format!("error: cannot read {name}: it is {kind}, and only regular files are read");
        assert!(status != Some(0) && text.contains(&told), "{name}: {status:?} {text}");
    }
    let (status, text) = guideway(folder.path(), &["check", "--config", "/dev/zero"]);
    assert!(status != Some(0) && text.contains("it is a device"), "{text}");
}
