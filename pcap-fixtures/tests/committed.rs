//! Committed files are those that the generator makes, no fewer and no more.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, and says where")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pcap_fixtures::demo::demo;
use pcap_fixtures::fixture::Fixture;
use pcap_fixtures::readme;
use pcap_fixtures::scenarios::fixtures;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const REMEDY: &str = "run `cargo run -p pcap-fixtures` and look at what changed";

#[test]
fn the_captures_are_those_that_the_generator_makes() {
    let captures = folder().join("captures");
    let made: BTreeMap<PathBuf, Vec<u8>> = fixtures()
        .iter()
        .flat_map(Fixture::files)
        .map(|(path, bytes)| (captures.join(path), bytes))
        .collect();
    for (path, bytes) in &made {
        assert!(fs::read(path).is_ok_and(|found| found == *bytes), "{}: {REMEDY}", path.display());
    }
    for family in fs::read_dir(&captures).unwrap() {
        for file in fs::read_dir(family.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            assert!(made.contains_key(&path), "{} is of no fixture: {REMEDY}", path.display());
        }
    }
}

#[test]
fn the_demonstration_is_the_one_that_the_generator_makes() {
    let committed = fs::read(folder().join("demo.in.pcap")).unwrap();
    assert!(committed == demo(), "demo.in.pcap: {REMEDY}");
    assert!(committed.len() < 300_000, "the demonstration is embedded in the binary: {}", committed.len());
}

#[test]
fn the_readme_lists_every_capture() {
    let committed = fs::read_to_string(folder().join("README.md")).unwrap();
    assert!(committed == readme::with_table(&committed, &fixtures()), "README.md: {REMEDY}");
}

#[test]
fn fixtures_have_names_of_their_own_and_claims_that_are_sentences() {
    let fixtures = fixtures();
    let mut names: Vec<_> = fixtures.iter().map(|fixture| fixture.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), fixtures.len());
    for fixture in &fixtures {
        assert!(fixture.claim.ends_with('.') && !fixture.claim.contains('|'), "{}", fixture.claim);
    }
}
