//! Check of the configuration file: its errors, and the settings that can never be met.

use guideway_model::warnings::{exposures, warnings};

use super::facts::Facts;
use super::finding::{Finding, quoted};
use crate::health::demand::Excess;

/// Errors of the file, or its warnings; the machine's own warnings are other checks.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let fault = |error: &super::facts::ConfigFault| {
        let finding = Finding::fault(&error.place, &error.message);
        finding.mended_by(&error.help)
    };
    let mut findings: Vec<Finding> = facts.config_errors.iter().map(fault).collect();
    let Some(config) = &facts.config else { return findings };
    let excess = Excess::of(config).into_iter().map(|excess| excess.warning());
    let warnings = warnings(config).into_iter().chain(exposures(config)).chain(excess);
    findings.extend(
        warnings.map(|warning| Finding::warning(&facts.config_path, warning.text).mended_by(warning.remedy)),
    );
    if findings.is_empty() {
        let (rules, services) = (config.rules.len(), config.services.len());
        findings
            .push(Finding::ok(&facts.config_path, format!("right: rules: {rules}, services: {services}")));
    }
    let other = facts.status.as_ref().filter(|status| status.config_path != facts.config_path);
    if let Some(status) = other {
        let found = format!("the running appliance has its configuration from {}", status.config_path);
        let remedy = format!("guideway doctor --config {}", quoted(&status.config_path));
        findings.push(Finding::note(&facts.config_path, found).should_be("the same file", remedy));
    }
    findings
}
