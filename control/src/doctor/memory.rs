//! Check of memory against the size of the conntrack table.

use super::facts::Facts;
use super::finding::Finding;
use crate::run::machine::memory::TableMemory;

/// Memory of the table, against what the process can have now.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(config) = facts.config.as_ref().filter(|_| !facts.is_running()) else { return Vec::new() };
    let table = TableMemory::of(config);
    let Err(error) = facts.memory.provide(table) else {
        return vec![Finding::ok("conntrack table", table.to_string())];
    };
    let entries = error.available / 2 / (table.bytes / u64::from(table.max_entries)).max(1);
    let remedy = format!("[conntrack] max_entries = {entries}");
    let expected =
        "a table of half the memory that there is, a larger machine, or a higher limit (`MemoryMax=`)";
    vec![Finding::fault("conntrack table", error.to_string()).should_be(expected, remedy)]
}
