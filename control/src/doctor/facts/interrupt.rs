//! Interrupts and the cores that they may come to, as `/proc/irq` and `/proc/interrupts` tell them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::run::machine::topology::cores_in_list;

/// Interrupt that somebody handles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    /// Number of the interrupt.
    pub number: u32,
    /// Name that its driver has given it.
    pub name: String,
    /// Cores that it may come to.
    pub cores: Vec<usize>,
}

/// Reads the interrupts below `root`, which is `/` but for tests.
pub(super) fn read(root: &Path) -> Vec<Interrupt> {
    let text = fs::read_to_string(root.join("proc/interrupts")).unwrap_or_default();
    // Numbered lines alone: the others are of the processor itself, and have no affinity.
    let names: BTreeMap<u32, String> = text
        .lines()
        .filter_map(|line| {
            let (number, rest) = line.trim_start().split_once(':')?;
            Some((number.parse().ok()?, rest.split_whitespace().last()?.to_owned()))
        })
        .collect();
    let interrupt = |(number, name): (u32, String)| {
        let list = fs::read_to_string(root.join(format!("proc/irq/{number}/smp_affinity_list"))).ok()?;
        Some(Interrupt { number, name, cores: cores_in_list(&list) })
    };
    names.into_iter().filter_map(interrupt).collect()
}
