//! Warnings of a configuration: those that it gives by itself, those of its health checks, and those of the machine.

use guideway_model::config::Config;
use guideway_model::warnings::{self, Warning};

use super::machine::Machine;
use crate::health::demand::Excess;

/// Lists the warnings of a configuration on a machine.
pub fn warnings(config: &Config, machine: &Machine) -> Vec<Warning> {
    let mut warnings = warnings::warnings(config);
    warnings.extend(Excess::of(config).iter().map(Excess::warning));
    warnings.extend(machine.warnings(config));
    warnings
}
