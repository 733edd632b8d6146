//! Report of a replay as one HTML page: shares against weights, events, drops, clients, the conntrack table.
//!
//! All counts are those of the summary and of its chronicle; here they become charts, tables and sentences. Nothing of the
//! page depends on when or how fast it was made: the same replay has the same page.

mod clients;
mod drops;
mod shares;
mod statistics;
mod tracking;
mod traffic;

use std::time::{Duration, SystemTime};

use guideway_report::markup::count;
use guideway_report::page::{Highlight, Page};

use crate::offline::replay::Summary;
use crate::offline::replay::chronicle::{Chronicle, MOST_SAMPLED};

/// Names of what was replayed, as its user knows them.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// Name of the capture.
    pub capture: &'a str,
    /// Name of the configuration.
    pub config: &'a str,
    /// Name of the file of events; none where there were none.
    pub events: Option<&'a str>,
    /// Reason why the replay ended before the capture did; none where it did not.
    pub failure: Option<&'a str>,
}

/// Makes the page of a replay that kept a chronicle.
pub fn html(summary: &Summary, chronicle: &Chronicle, inputs: &Inputs<'_>) -> String {
    let figures = [
        Some(shares::figure(summary, chronicle)),
        Some(traffic::figure(summary, chronicle)),
        (!chronicle.events.is_empty()).then(|| traffic::events(chronicle)),
        Some(drops::figure(summary, chronicle)),
        Some(tracking::figure(summary, chronicle)),
        Some(clients::figure(chronicle)),
    ];
    Page {
        title: format!("Replay of {}", inputs.capture.rsplit('/').next().unwrap_or(inputs.capture)),
        lead: lead(summary, chronicle, inputs),
        highlights: highlights(summary, chronicle),
        notes_of: "Look at this first:",
        notes: findings(summary, chronicle, inputs.failure),
        figures: figures.into_iter().flatten().collect(),
    }
    .html()
}

/// Lines for the terminal: what was replayed, under which configuration, with which events.
pub fn heading(summary: &Summary, inputs: &Inputs<'_>) -> String {
    let of = seconds(summary.seconds);
    let mut text = format!("configuration: {}\n", inputs.config);
    text += &format!("capture: {}, {}, {of}\n", inputs.capture, counted(summary.packets, "frame"));
    if let Some(events) = inputs.events {
        text += &format!("events: {events}\n");
    }
    text + "\n"
}

/// Sentences on what to look at first, the worst before the others.
pub fn findings(summary: &Summary, chronicle: &Chronicle, failure: Option<&str>) -> Vec<String> {
    let mut findings = Vec::new();
    if let Some(failure) = failure {
        findings.push(format!(
            "The replay ended early, and this page is of what was decided until then: {failure}"
        ));
    }
    if !summary.is_balanced() {
        findings.push("Not all packets are accounted for.".to_owned());
    }
    if summary.packets == 0 {
        findings.push("The capture has no packets.".to_owned());
    }
    findings.extend(traffic::findings(chronicle));
    findings.extend(drops::findings(summary));
    findings.extend(shares::findings(summary, chronicle));
    findings.extend(tracking::findings(summary));
    if summary.cut_in_capture > 0 {
        findings.push(format!(
            "{} of {} frames were cut when they were captured (snapshot length); their sizes are right, and their missing \
             bytes were taken for zeros.",
            count(summary.cut_in_capture),
            count(summary.packets)
        ));
    }
    findings
}

fn lead(summary: &Summary, chronicle: &Chronicle, inputs: &Inputs<'_>) -> Vec<String> {
    let begun = chronicle.start_nanos.map(|nanos| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos));
    let begun = begun.map(|time| {
        let time = humantime::format_rfc3339_seconds(time).to_string();
        format!(" from {} UTC on", time.replace('T', " ").replace('Z', ""))
    });
    let events = match inputs.events {
        Some(name) => format!(" and the events of {name}"),
        None => ", without events".to_owned(),
    };
    vec![format!(
        "Guideway decided every packet of {}, {} frames and {} bytes in {}{}, under {}{events}.",
        inputs.capture,
        count(summary.packets),
        count(summary.bytes),
        seconds(summary.seconds),
        begun.unwrap_or_default(),
        inputs.config,
    )]
}

fn highlights(summary: &Summary, chronicle: &Chronicle) -> Vec<Highlight> {
    let sum = |reasons: &std::collections::BTreeMap<&str, u64>| reasons.values().sum::<u64>();
    let selections: u64 = summary.backends.iter().map(|backend| backend.selections).sum();
    let disturbed: u64 = chronicle.events.iter().map(|event| event.crossings.disturbed()).sum();
    let mut highlights = vec![
        highlight(summary.packets, "packets", "Offered"),
        highlight(summary.forwarded, "packets", "Forwarded to backends"),
        highlight(sum(&summary.passed), "packets", "Passed: not the load balancer's"),
        highlight(sum(&summary.dropped), "packets", "Dropped"),
        highlight(selections, "selections", "Backend chosen by hash"),
    ];
    if !chronicle.events.is_empty() {
        highlights.push(highlight(disturbed, "connections", "Disturbed by events"));
    }
    highlights
}

fn highlight(number: u64, unit: &'static str, of: &str) -> Highlight {
    Highlight { value: count(number), unit, of: of.to_owned() }
}

/// Formats seconds for a sentence.
fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 0.1 => format!("{:.1} ms", short * 1e3),
        short if short < 10.0 => format!("{short:.2} s"),
        long => format!("{long:.1} s"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Noun with its number, and with an s where there is more or less than one.
fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// Unit in which the times of a capture are shown on an axis: its name, and its length in seconds.
fn time_unit(summary: &Summary) -> (&'static str, f64) {
    match summary.seconds {
        short if short <= 0.5 => ("milliseconds since the first frame", 1e-3),
        some if some <= 600.0 => ("seconds since the first frame", 1.0),
        long if long <= 36_000.0 => ("minutes since the first frame", 60.0),
        _ => ("hours since the first frame", 3_600.0),
    }
}

/// Sentence on the sample that counts of connections were taken from; empty where all were followed.
fn sampled(chronicle: &Chronicle) -> String {
    match chronicle.connections_per_sample() {
        1 => String::new(),
        of => format!(
            " Of so many connections one in {of} was followed (at most {} at a time), and counts are estimates.",
            count(MOST_SAMPLED as u64)
        ),
    }
}
