//! Check of the cores: that those of the configuration can be used, and that workers have theirs to themselves.

use super::facts::Facts;
use super::finding::{Finding, list, named_cores};
use super::iommu::boot_with;
use crate::run::machine::cores::Cores;

/// Cores of control thread and workers: there are some, they are online and allowed, and workers' are isolated.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    // A running appliance that does not answer has cores, and the pages for which there seem to be none.
    if let Some(cause) = facts.no_cores.as_ref().filter(|_| !facts.is_running()) {
        return vec![Finding::fault("cores", cause.to_string()).mended_by(cause.remedy())];
    }
    let Some(cores) = &facts.cores else { return Vec::new() };
    let mut findings = Vec::new();
    let absent = absent(facts, cores);
    findings.extend(absent.as_ref().map(|(_, finding)| finding.clone()));
    let absent = absent.map_or_else(Vec::new, |(absent, _)| absent);
    let used = || {
        let used = cores.workers.iter().copied().chain([cores.control]);
        used.filter(|core| !absent.contains(core))
    };
    let offline: Vec<usize> =
        used().filter(|core| !facts.online.is_empty() && !facts.online.contains(core)).collect();
    if !offline.is_empty() {
        let found = format!("not online: {}; online: {}", list(&offline), list(&facts.online));
        let remedy = format!("chcpu -e {}", list(&offline));
        findings
            .push(Finding::fault("cores", found).should_be("all cores of the configuration online", remedy));
    }
    let usable = &facts.usable;
    let is_forbidden = |core: &usize| {
        !offline.contains(core) && !usable.allowed.contains(core) && !usable.isolated.contains(core)
    };
    let forbidden: Vec<usize> = used().filter(is_forbidden).collect();
    if !forbidden.is_empty() && !facts.is_running() {
        let found = format!(
            "this process may not run on {}, only on {}",
            named_cores(&forbidden),
            list(&usable.allowed)
        );
        let remedy = format!("taskset -pc {} $$", list(&used().collect::<Vec<_>>()));
        findings.push(
            Finding::fault("cores", found)
                .should_be("a cpuset with all of them (`AllowedCPUs=` in a unit)", remedy),
        );
    }
    if cores.workers.contains(&cores.control) {
        let found =
            format!("the control thread shares core {} with a worker, which never pauses", cores.control);
        findings.push(
            Finding::warning("cores", found).should_be("a core of its own", "[engine] control_core = 0"),
        );
    }
    // The kernel's options for cores that there are not would be no remedy.
    if absent.is_empty() {
        findings.extend(isolation(facts));
    }
    findings
}

/// Cores of the configuration that the machine does not have.
fn absent(facts: &Facts, cores: &Cores) -> Option<(Vec<usize>, Finding)> {
    let is_absent = |core: &usize| !facts.present.is_empty() && !facts.present.contains(core);
    let workers = cores.workers.iter().copied().filter(is_absent);
    let absent: Vec<usize> = workers.chain(Some(cores.control).filter(is_absent)).collect();
    if absent.is_empty() {
        return None;
    }
    let verb = if absent.len() == 1 { "does" } else { "do" };
    let found =
        format!("{} {verb} not exist; the machine has {}", named_cores(&absent), list(&facts.present));
    let (control, is_control_absent) = match is_absent(&cores.control) {
        true => (facts.present[0], true),
        false => (cores.control, false),
    };
    let mut remedies = Vec::new();
    if is_control_absent {
        remedies.push(format!("control_core = {control}"));
    }
    if cores.workers.iter().any(is_absent) {
        let others = facts.present.iter().filter(|core| **core != control);
        let mut others: Vec<String> = others.take(cores.workers.len()).map(usize::to_string).collect();
        if others.is_empty() {
            others.push(control.to_string());
        }
        remedies.push(format!("worker_cores = [{}]", others.join(", ")));
    }
    let finding = Finding::fault("cores", found);
    let remedy = format!("[engine] {}", remedies.join(", "));
    Some((absent, finding.should_be("cores that the machine has, in `[engine]`", remedy)))
}

/// Isolation of the workers' cores from all other threads, and from the kernel's tick.
fn isolation(facts: &Facts) -> Vec<Finding> {
    let workers = facts.workers();
    let lacking =
        |isolated: &[usize]| workers.iter().copied().filter(|core| !isolated.contains(core)).collect();
    let shared: Vec<usize> = lacking(facts.topology.isolated());
    let ticking: Vec<usize> = lacking(&facts.nohz_full);
    let all = list(workers);
    if !shared.is_empty() {
        let found = format!("the kernel runs other threads on workers' {}", named_cores(&shared));
        let expected = format!("`isolcpus={all}` on the kernel's command line, and a reboot");
        let remedy = boot_with(&format!("isolcpus={all} nohz_full={all} rcu_nocbs={all}"));
        return vec![Finding::warning("workers' cores", found).should_be(expected, remedy)];
    }
    if !ticking.is_empty() {
        let found = format!("isolated; the kernel's tick interrupts {}", named_cores(&ticking));
        let expected =
            format!("`nohz_full={all} rcu_nocbs={all}` on the kernel's command line, and a reboot");
        let remedy = boot_with(&format!("nohz_full={all} rcu_nocbs={all}"));
        return vec![Finding::note("workers' cores", found).should_be(expected, remedy)];
    }
    vec![Finding::ok("workers' cores", format!("{all}: isolated, without the kernel's tick"))]
}
