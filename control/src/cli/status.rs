//! `guideway status`: what is the running appliance, and how is it?

use std::fmt::Write;

use clap::Args as Arguments;
use guideway::api::overview::alarms;
use guideway::api::view::{
    Announcement, DrainEnd, Guard, OperatorSettings, Port, PortMember, PortState, Quantiles, RssState,
    Service, Status, Worker, WorkerQueues, WorkerState,
};

use super::amount::{count, duration, percent, yes_no};
use super::watch::TableArgs;
use super::{Exit, table, vip};

#[derive(Arguments)]
pub(super) struct Args {
    #[command(flatten)]
    table: TableArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    args.table.show(async |client| client.status().await, text)
}

fn text(status: &Status) -> String {
    let mut text = status.condition.line() + "\n";
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<14} {value}");
    };
    line("version", &format!("{}, process {}", status.version, status.pid));
    line("uptime", &duration(status.uptime_sec));
    let now = status.started_at_unix_sec + status.uptime_sec;
    let loaded = duration(now.saturating_sub(status.config_loaded_at_unix_sec));
    let (generation, path) = (status.configuration_generation, &status.config_path);
    line("configuration", &format!("{generation}, of {path}, loaded {loaded} ago"));
    let unreclaimed = status.unreclaimed_snapshots;
    line("snapshot", &format!("{}, {unreclaimed} unreclaimed", status.snapshot_generation));
    line("neighbors", &format!("{} unresolved", status.unresolved_neighbors));
    for (heading, sentence) in alarms(status) {
        line(heading, &sentence);
    }
    if status.log_lines_lost > 0 {
        line(
            "log",
            &format!(
                "{} lost: standard error is full, or nobody reads it in time",
                count(status.log_lines_lost, "line")
            ),
        );
    }
    let control_loop = &status.control_loop;
    if !control_loop.turns.is_empty() {
        let long = match control_loop.long_stalls {
            0 => String::new(),
            long => format!(", {} of 100 ms or more since the start", count(long, "stall")),
        };
        let longest = control_loop.longest_stall_last_minute_ms;
        line("control thread", &format!("late by {longest:.1} ms at most in the last minute{long}"));
    }
    if let Some(checks) = &status.health_checks {
        let probes = count(checks.probes_begun, "probe");
        let lag = quantiles(&checks.start_lag);
        let missed = match checks.intervals_missed {
            0 => String::new(),
            missed => format!(", {} MISSED", count(missed, "interval")),
        };
        let discarded = match checks.failures_discarded {
            0 => String::new(),
            discarded => format!(", {} discarded for stalls", count(discarded, "failure")),
        };
        line("health checks", &format!("{probes} begun, late by {lag}{missed}{discarded}"));
        let publications = count(checks.publications_measured, "time");
        line("reaction", &format!("{publications}, probe to packet {}", quantiles(&checks.probe_to_packet)));
    }
    if let Some((heading, sentence)) = status.guard.as_ref().and_then(guard) {
        line(heading, &sentence);
    }
    if let Some(drain) = &status.drain {
        let withdrawn = if drain.withdrawn { "all is withdrawn" } else { "not all is withdrawn yet" };
        let left = match drain.end {
            None => format!("{} left", duration(drain.deadline_sec)),
            Some(DrainEnd::Quiet) => "it has ended".to_owned(),
            Some(DrainEnd::Deadline) => "the deadline has passed".to_owned(),
        };
        line("drained", &format!("{withdrawn}, no packet for {}, {left}", duration(drain.quiet_sec)));
    }
    for file in &status.endpoints_files {
        if let Some(error) = &file.last_error {
            let groups = file.backend_groups.join(", ");
            line(
                "LAST GOOD",
                &format!("endpoints of {groups} are those last read from {}: {error}", file.path),
            );
        }
    }
    for question in &status.endpoints_dns {
        if let Some(error) = &question.last_error {
            let groups = question.backend_groups.join(", ");
            let asked = format!("{} {}", question.record, question.name);
            match question.answered_at_unix_sec {
                Some(_) => {
                    line(
                        "LAST GOOD",
                        &format!("endpoints of {groups} are those last had for {asked}: {error}"),
                    );
                }
                None => {
                    line("NO ANSWER", &format!("endpoints of {groups} are unknown, for {asked}: {error}"));
                }
            }
        }
    }
    let by_hand = &status.operator_settings;
    if let Some(error) = &by_hand.last_error {
        line("NOT KEPT", &format!("drains and weights set by hand are lost with a restart: {error}"));
    }
    let mut sections = vec![
        ports(&status.ports),
        workers(&status.workers),
        queues(&status.workers),
        services(&status.services),
        vip::text(&status.vips),
    ];
    if !status.announcements.is_empty() {
        sections.push(announcements(&status.announcements, now));
    }
    if !by_hand.backends.is_empty() {
        sections.push(operator_settings(by_hand, now));
    }
    for section in sections {
        text.push('\n');
        text.push_str(&section);
    }
    text
}

/// Line on a guard that has died: another one stands, or none does.
fn guard(guard: &Guard) -> Option<(&'static str, String)> {
    let cause = guard.last_error.as_deref()?;
    Some(match guard.pid {
        Some(pid) => {
            let restarts = count(guard.restarts, "time");
            ("guard", format!("process {pid}, started again {restarts}: {cause}"))
        }
        None => ("NO GUARD", format!("a crash leaves announcements behind: {cause}")),
    })
}

fn quantiles(times: &Quantiles) -> String {
    let Quantiles { median_ms, p99_ms, max_ms } = times;
    format!("{median_ms:.3} ms (median), {p99_ms:.3} ms (99 %), {max_ms:.3} ms (longest)")
}

/// Writes the ports, and below them what their devices have refused, and how they spread flows.
fn ports(ports: &[Port]) -> String {
    let titles =
        ["PORT", "DEVICE", "DRIVER", "MAC", "LINK", "RSS", "SPEED", "MTU", "NODE", "RX QUEUES", "TX QUEUES"];
    let mut rows = table::new(&titles);
    let mut remarks = String::new();
    for port in ports {
        rows.add_row([
            port.name.clone(),
            port.device.clone(),
            port.driver.clone(),
            port.mac.clone(),
            link(port).to_owned(),
            yes_no(port.rss),
            port.speed_mbps.map_or_else(|| "unknown".to_owned(), |mbps| format!("{mbps} Mbit/s")),
            port.mtu.to_string(),
            node(port.node),
            port.rx_queues.to_string(),
            port.tx_queues.to_string(),
        ]);
        for refusal in &port.queue_refusals {
            let _ = writeln!(remarks, "{}: {refusal}", port.name);
        }
        if !port.members.is_empty() {
            let link = |member: &PortMember| {
                format!("{} {}", member.name, if member.link_up { "up" } else { "down" })
            };
            let members: Vec<String> = port.members.iter().map(link).collect();
            let _ = writeln!(remarks, "{}: links of its members: {}", port.name, members.join(", "));
        }
        if let Some(rss) = &port.rss_state {
            let _ = writeln!(remarks, "{}: {}", port.name, spread(rss));
        }
    }
    table::text(rows, 6..11) + &remarks
}

fn node(node: Option<u32>) -> String {
    node.map_or_else(|| "-".to_owned(), |node| node.to_string())
}

/// Says how a device spreads flows over its receive queues.
fn spread(rss: &RssState) -> String {
    let directions = match rss.symmetric {
        Some(true) => "both directions of a flow to one queue",
        Some(false) => "the directions of a flow apart",
        None => "the directions of a flow in a way that it does not tell",
    };
    let entries = match &rss.table_entries {
        Some(entries) => entries.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
        None => "unknown".to_owned(),
    };
    let refusal =
        rss.table_refusal.iter().map(|refusal| format!("; even ones refused: {refusal}")).collect::<String>();
    format!(
        "the device hashes {}, {directions}; entries of each queue: {entries}{refusal}",
        rss.types.join(", ")
    )
}

/// State of a port's link, or of its device where that cannot have one.
fn link(port: &Port) -> &'static str {
    match (port.state, port.link_up) {
        (PortState::Running, true) => "up",
        (PortState::Running, false) => "down",
        (PortState::Resetting, _) => "resetting",
        (PortState::Removed, _) => "removed",
    }
}

fn workers(workers: &[Worker]) -> String {
    let mut rows = table::new(&["WORKER", "STATE", "CORE", "NODE", "POLLS", "BUSY", "PACKETS"]);
    for worker in workers {
        rows.add_row([
            worker.number.to_string(),
            match worker.state {
                WorkerState::Running => "running",
                WorkerState::Stalled => "stalled",
            }
            .to_owned(),
            worker.core.to_string(),
            node(worker.node),
            worker.polls.to_string(),
            percent(worker.busy_share),
            percent(worker.packet_share),
        ]);
    }
    table::text(rows, 2..7)
}

/// Writes the queues of each worker.
fn queues(workers: &[Worker]) -> String {
    let mut rows = table::new(&["WORKER", "PORT", "RECEIVES", "SENDS"]);
    for worker in workers {
        for queues in &worker.queues {
            rows.add_row([
                worker.number.to_string(),
                queues.port.clone(),
                receives(queues),
                match (queues.tx_queue, queues.sends_by) {
                    (Some(queue), _) => format!("by queue {queue}"),
                    (None, Some(other)) => format!("by worker {other}"),
                    (None, None) => "-".to_owned(),
                },
            ]);
        }
    }
    table::text(rows, 0..1)
}

fn receives(queues: &WorkerQueues) -> String {
    let list = |workers: &[u16]| workers.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    match (queues.rx_queue, &queues.shares_with[..]) {
        (Some(queue), []) => format!("from queue {queue}"),
        (Some(queue), others) => format!("from queue {queue}, shared with {}", list(others)),
        (None, _) => format!("from worker {}", list(&queues.receives_from)),
    }
}

fn services(services: &[Service]) -> String {
    let mut titles =
        vec!["SERVICE", "DIGEST", "POOL", "WEIGHTS", "BACKENDS", "HEALTHY", "DRAINED", "ELIGIBLE"];
    let are_several = services.iter().any(|service| service.network.is_some());
    if are_several {
        titles.push("NETWORK");
    }
    let mut rows = table::new(&titles);
    for service in services {
        let mut row = vec![
            service.name.clone(),
            service.lookup_table_digest.clone(),
            service.pool.map_or("-", |pool| pool.as_str()).to_owned(),
            match service.weights_valid {
                None => "-",
                Some(true) => "valid",
                Some(false) => "equal",
            }
            .to_owned(),
            service.backends.to_string(),
            service.healthy.to_string(),
            service.operator_drained.to_string(),
            service.eligible.to_string(),
        ];
        row.extend(are_several.then(|| service.network.clone().unwrap_or_default()));
        rows.add_row(row);
    }
    table::text(rows, 4..8)
}

/// Writes what operators have set by hand and since when, and below it where that is kept.
fn operator_settings(settings: &OperatorSettings, now: u64) -> String {
    let mut rows = table::new(&["SET BY HAND", "BACKEND", "DRAINED FOR", "WEIGHT", "SET FOR"]);
    let since = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), |at| duration(now.saturating_sub(at)));
    for one in &settings.backends {
        rows.add_row([
            one.service.clone(),
            one.backend.clone(),
            since(one.drained_at_unix_sec),
            one.weight.map_or_else(|| "-".to_owned(), |weight| weight.to_string()),
            since(one.weight_set_at_unix_sec),
        ]);
    }
    let kept = match &settings.state_path {
        Some(path) => format!("kept over a restart in {path}"),
        None => "lost with a restart: `[admin] state` names no file".to_owned(),
    };
    format!("{}{kept}\n", table::text(rows, 2..5))
}

/// Writes the announcements, and below them the errors of those that have failed.
fn announcements(announcements: &[Announcement], now: u64) -> String {
    let mut titles = vec!["ANNOUNCEMENT", "VIP", "BY", "WANTED", "REASON", "ANNOUNCED", "FOR"];
    let are_several = announcements.iter().any(|one| one.network.is_some());
    if are_several {
        titles.push("NETWORK");
    }
    let mut rows = table::new(&titles);
    let mut errors = String::new();
    for one in announcements {
        let mut row = vec![
            one.announcement.clone(),
            one.address.to_string(),
            one.hook.clone(),
            yes_no(one.wanted),
            match one.hold_down_left_sec {
                None => one.reason.to_string(),
                Some(left) => format!("{}, for {} at least", one.reason, duration(left)),
            },
            one.announced.map_or_else(|| "unknown".to_owned(), yes_no),
            duration(now.saturating_sub(one.since_unix_sec)),
        ];
        row.extend(are_several.then(|| one.network.clone().unwrap_or_default()));
        rows.add_row(row);
        if let Some(error) = &one.last_error {
            let _ = writeln!(errors, "{} {}: {error}", one.announcement, one.address);
        }
    }
    table::text(rows, 6..7) + &errors
}
