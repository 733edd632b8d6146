//! Fuzz targets: functions that take any bytes, and panic if the code under them breaks a promise.
//!
//! ```text
//!  .ci/fuzz.sh ─▶ libFuzzer ─▶ main.rs ──────┐
//!                                            ├─▶ TARGETS ─▶ targets/<name>.rs
//!  cargo test ─▶ tests/kept_inputs.rs ───────┘
//!                 corpus/, crashes/, captures and configurations of the repository
//! ```
//!
//! libFuzzer looks for inputs that break a promise; the tests run those that it has kept.

mod targets;

pub use targets::{TARGETS, Target};
