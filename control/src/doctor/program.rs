//! Check of the program: it can drive ports.

use super::facts::Facts;
use super::finding::Finding;

/// Build of the program: only one with DPDK has live ports.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    if facts.has_live_ports {
        return Vec::new();
    }
    let finding = Finding::fault("this build", "it has no live ports: `guideway run` refuses to start");
    vec![finding.should_be("a build with DPDK", "cargo build --release -p guideway --features dpdk")]
}
