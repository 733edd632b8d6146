//! Check of NUMA: workers on the node of the ports.

use super::facts::Facts;
use super::finding::{Finding, named_cores};

/// Node of each port against those of the workers' cores.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(config) = &facts.config else { return Vec::new() };
    let mut findings = Vec::new();
    for (port, node) in config.ports.iter().zip(&facts.port_nodes) {
        let subject = format!("port `{}`", port.name);
        let Some(node) = *node else { continue };
        let is_near = |core: &usize| facts.topology.node_of_core(*core) == Some(node);
        let is_elsewhere =
            |core: &usize| facts.topology.node_of_core(*core).is_some_and(|other| other != node);
        let far: Vec<usize> = facts.workers().iter().copied().filter(is_elsewhere).collect();
        if far.is_empty() {
            findings.push(Finding::ok(subject, format!("on NUMA node {node}, and so are the workers")));
            continue;
        }
        let control = facts.cores.as_ref().map(|cores| cores.control);
        let free = facts.online.iter().copied().filter(is_near).filter(|core| Some(*core) != control);
        let near: Vec<String> = free.map(|core| core.to_string()).collect();
        let found = format!("on NUMA node {node}; workers on {} are on another", named_cores(&far));
        let remedy = format!("[engine] worker_cores = [{}]", near.join(", "));
        findings.push(Finding::warning(subject, found).should_be("workers on the port's node alone", remedy));
    }
    findings
}
