//! Check of queues against workers, and of RSS: as the running appliance has them.

use super::facts::Facts;
use super::finding::Finding;
use crate::api::view::Port;

/// Queues of each port. What a device grants is known once it is open.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(config) = &facts.config else { return Vec::new() };
    let workers = facts.workers().len();
    let Some(status) = &facts.status else {
        let too_many = config.ports.iter().filter_map(|port| {
            let asked: usize = port.device.argument("qpairs")?.parse().ok()?;
            (asked > workers && port.device.is_driven_by("net_af_packet")).then(|| {
                let found = format!(
                    "`qpairs={asked}`, and there are {workers} workers: frames of the others are lost"
                );
                let device =
                    port.device.to_string().replace(&format!("qpairs={asked}"), &format!("qpairs={workers}"));
                let remedy = format!("device = \"{device}\"");
                Finding::fault(format!("port `{}`", port.name), found)
                    .should_be("as many as workers, or fewer", remedy)
            })
        });
        let mut findings: Vec<Finding> = too_many.collect();
        if !config.ports.is_empty() && !facts.is_running() {
            let found = "devices grant queues when the appliance starts; until then, nobody knows how many";
            findings.push(Finding::note("queues", found).should_be(
                "a running appliance, and then `guideway doctor` again",
                "systemctl start guideway",
            ));
        }
        return findings;
    };
    status.ports.iter().flat_map(|port| of_port(port, status.workers.len())).collect()
}

fn of_port(port: &Port, workers: usize) -> Vec<Finding> {
    let subject = format!("port `{}`", port.name);
    let mut findings = Vec::new();
    let (rx, tx) = (usize::from(port.rx_queues), usize::from(port.tx_queues));
    if rx < workers || tx < workers {
        let refusals = port.queue_refusals.join("; ");
        let refusals = if refusals.is_empty() { refusals } else { format!(" ({refusals})") };
        let found = format!(
            "{workers} workers have {rx} receive and {tx} transmit queues, and share them in software{refusals}"
        );
        let finding = Finding::note(&subject, found);
        findings.push(
            finding.should_be(
                "a queue of each kind for each worker, where the device has them",
                "guideway status",
            ),
        );
    }
    if rx > 1 && !port.rss {
        let found = "its device does not spread flows by a hash of its own";
        findings.push(Finding::note(&subject, found));
    }
    let refused = port.rss_state.iter().filter_map(|rss| rss.table_refusal.as_ref());
    findings.extend(refused.map(|refusal| {
        Finding::note(&subject, format!("its device keeps its own redirection table ({refusal})"))
            .should_be("an even table", "guideway status")
    }));
    if findings.is_empty() {
        findings.push(Finding::ok(subject, format!("queues for each of {workers} workers")));
    }
    findings
}
