//! Inputs that were kept, and captures, configurations and exports of the repository, break no promise of the fuzz targets.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeSet;
use std::fs;
use std::panic::{self, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use guideway_fuzz::{TARGETS, Target};

/// Least number of inputs that a target is tried with.
const LEAST_INPUTS: usize = 4;

/// Largest kept input, in bytes.
const MAX_INPUT_BYTES: u64 = 4 << 10;

/// Largest number of bytes that are kept for a target.
const MAX_TARGET_BYTES: u64 = 128 << 10;

/// Panics of this process. A task that a runtime has spawned panics without anybody hearing of it.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Folder of this crate.
fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files of a folder and of those in it, in order of path; none where there is no folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort_unstable();
    found
}

/// Files of the repository that are inputs of a target.
fn of_repository(target: Target) -> Vec<PathBuf> {
    let (folders, ends): (&[&str], &[&str]) = match target.name {
        "pipeline" | "capture" => (&["../../pcap-fixtures", "../../engine/tests"], &["pcap", "pcapng"]),
        "config" => (&["../package", "../model/tests", "../tests", "../../pcap-fixtures"], &["toml"]),
        "text" => (&["../tests/import"], &["json", "yaml"]),
        _ => (&[], &[]),
    };
    let found = folders.iter().flat_map(|inputs| files(&folder().join(inputs)));
    found.filter(|path| path.extension().is_some_and(|end| ends.iter().any(|one| end == *one))).collect()
}

fn kept(target: Target, kind: &str) -> Vec<PathBuf> {
    files(&folder().join(kind).join(target.name))
}

/// Inputs of the target that break a promise.
fn broken(target: Target) -> Vec<String> {
    let inputs = [of_repository(target), kept(target, "corpus"), kept(target, "crashes")].concat();
    assert!(inputs.len() >= LEAST_INPUTS, "{}: {} inputs", target.name, inputs.len());
    let breaks = |path: &&PathBuf| {
        let bytes = fs::read(path).unwrap();
        catch_unwind(|| (target.run)(&bytes)).is_err()
    };
    let broken = inputs.iter().filter(breaks);
    broken.map(|path| format!("{}: {}", target.name, path.display())).collect()
}

#[test]
fn no_input_breaks_a_promise() {
    let shown = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        shown(panic);
    }));
    let broken: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = TARGETS.map(|target| scope.spawn(move || broken(target))).into();
        running.into_iter().flat_map(|target| target.join().unwrap()).collect()
    });
    let _ = panic::take_hook();
    assert!(broken.is_empty(), "inputs that break a promise:\n{}", broken.join("\n"));
    assert_eq!(PANICS.load(Ordering::Relaxed), 0, "a task of a runtime has panicked");
}

#[test]
fn kept_inputs_are_small_and_of_a_target() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    for kind in ["corpus", "crashes"] {
        for folder in fs::read_dir(folder().join(kind)).unwrap().map(|entry| entry.unwrap().path()) {
            let name = folder.file_name().unwrap().to_str().unwrap();
            assert!(folder.is_file() || names.contains(name), "{kind}/{name} is of no target");
        }
    }
    for target in TARGETS {
        let sizes: Vec<u64> =
            kept(target, "corpus").iter().map(|path| path.metadata().unwrap().len()).collect();
        assert!(sizes.iter().all(|size| *size <= MAX_INPUT_BYTES), "{}: a large input", target.name);
        assert!(sizes.iter().sum::<u64>() <= MAX_TARGET_BYTES, "{}: many large inputs", target.name);
    }
}

#[test]
fn every_crash_has_its_story() {
    let stories = fs::read_to_string(folder().join("crashes/README.md")).unwrap();
    let rows = stories.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let told: BTreeSet<&str> = rows.collect();
    let there: Vec<String> = TARGETS
        .iter()
        .flat_map(|target| kept(*target, "crashes"))
        .map(|path| path.strip_prefix(folder().join("crashes")).unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        told,
        there.iter().map(String::as_str).collect(),
        "crashes/README.md, and the files beside it"
    );
}
