//! The binary for all processors hands over to the one for x86-64-v3 that lies beside it, where that can run.
#![cfg(target_arch = "x86_64")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Output of the binary in `folder`, with this value of `GUIDEWAY_CPU`.
fn output(folder: &Path, level: Option<&str>) -> String {
    let mut command = Command::new(folder.join("guideway"));
    command.args(["check", "two words"]).env_remove("GUIDEWAY_CPU");
    command.envs(level.map(|level| ("GUIDEWAY_CPU", level)));
    let output = command.output().expect("the copied binary runs");
    String::from_utf8(output.stdout).expect("text") + &String::from_utf8(output.stderr).expect("text")
}

fn has_v3() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("movbe")
}

#[test]
fn the_binary_beside_it_gets_all_arguments_unless_the_operator_keeps_to_this_one() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(env!("CARGO_BIN_EXE_guideway"), folder.path().join("guideway")).expect("a copy");
    let alone = output(folder.path(), None);
    assert!(alone.contains("two words"), "there is no such file: {alone}");
    let faster = folder.path().join("guideway-x86-64-v3");
    std::fs::write(&faster, "#!/bin/sh\nfor argument; do echo \"<$argument>\"; done\n").expect("a script");
    std::fs::set_permissions(&faster, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
    if has_v3() {
        assert_eq!(output(folder.path(), None), "<check>\n<two words>\n");
    } else {
        assert_eq!(output(folder.path(), None), alone);
    }
    assert_eq!(output(folder.path(), Some("x86-64")), alone);
    std::fs::set_permissions(&faster, std::fs::Permissions::from_mode(0o644)).expect("it cannot be run");
    let warned = output(folder.path(), None);
    assert!(warned.ends_with(&alone), "it goes on: {warned}");
    assert_eq!(warned.contains("warning: "), has_v3(), "{warned}");
}
