//! Check of the cores: that those of the configuration can be used, and that workers have theirs to themselves.

use super::facts::Facts;
use super::finding::{Finding, list};
use super::iommu::boot_with;

/// Cores of control thread and workers: there are some, they are online and allowed, and workers' are isolated.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    if let Some(cause) = &facts.no_cores {
        return vec![Finding::fault("cores", cause.to_string()).mended_by(cause.remedy())];
    }
    let Some(cores) = &facts.cores else { return Vec::new() };
    let mut findings = Vec::new();
    let used = || cores.workers.iter().copied().chain([cores.control]);
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
        let found =
            format!("this process may not run on {}, only on {}", list(&forbidden), list(&usable.allowed));
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
    findings.extend(isolation(facts));
    findings
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
        let found = format!("the kernel runs other threads on workers' cores {}", list(&shared));
        let expected = format!("`isolcpus={all}` on the kernel's command line, and a reboot");
        let remedy = boot_with(&format!("isolcpus={all} nohz_full={all} rcu_nocbs={all}"));
        return vec![Finding::warning("workers' cores", found).should_be(expected, remedy)];
    }
    if !ticking.is_empty() {
        let found = format!("isolated; the kernel's tick interrupts {}", list(&ticking));
        let expected =
            format!("`nohz_full={all} rcu_nocbs={all}` on the kernel's command line, and a reboot");
        let remedy = boot_with(&format!("nohz_full={all} rcu_nocbs={all}"));
        return vec![Finding::note("workers' cores", found).should_be(expected, remedy)];
    }
    vec![Finding::ok("workers' cores", format!("{all}: isolated, without the kernel's tick"))]
}
