//! Program that fuzzes one target under libFuzzer: that which the environment's `FUZZ_TARGET` names.

#![no_main]

use std::sync::OnceLock;

use guideway_fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: drop(TARGET.set(chosen())),
    |bytes: &[u8]| (TARGET.get().expect("it was chosen at the start").run)(bytes)
);

/// Target that is asked for.
fn chosen() -> Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    Target::of_name(&name).unwrap_or_else(|| {
        let known: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
        panic!("FUZZ_TARGET is `{name}`; write one of {}", known.join(", "))
    })
}
