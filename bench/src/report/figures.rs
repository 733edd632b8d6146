//! Figures of the page, each from the data that it shows.

mod capture;
mod conntrack;
mod lookup_table;
mod pipeline;

use super::data::Data;
use guideway_report::markup::{count, short};
use guideway_report::page::{Figure, Highlight};
use pipeline::flows_of;

/// Makes all figures that there is data for.
pub(super) fn all(data: &Data) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let Some(measured) = &data.pipeline {
        figures.extend(pipeline::by_flows(measured));
        figures.extend(pipeline::by_workers(measured));
        figures.extend(pipeline::burst_latency(measured));
    }
    if let Some(table) = &data.table {
        figures.extend([lookup_table::balance(table), lookup_table::disruption(table)]);
    }
    if let Some(replay) = &data.replay {
        figures.extend([capture::ends(replay), capture::shares(replay), capture::turns(replay)]);
    }
    if let Some(measured) = &data.conntrack {
        figures.extend(conntrack::lookups(measured));
    }
    figures
}

/// Makes the highlights at the head of the page.
pub(super) fn highlights(data: &Data) -> Vec<Highlight> {
    let mut highlights = Vec::new();
    if let Some(pipeline) = &data.pipeline
        && let Some(most) = flows_of(pipeline, "ipv4").last()
    {
        let of = format!("A worker's packet, {} flows over IPv4", short(most.scenario.flows as f64));
        highlights.push(Highlight { value: format!("{:.1}", most.net_ns), unit: "ns", of });
        let of = "Packets a second by one worker then".to_owned();
        highlights.push(Highlight { value: format!("{:.1}", most.mpps), unit: "million", of });
        let of = "A burst of 32 packets then, 99th percentile".to_owned();
        highlights.push(Highlight { value: micros(most.burst_ns.p99), unit: "µs", of });
    }
    if let Some(table) = &data.table {
        let ours = table.balance.iter().filter(|row| row.method == "race");
        let worst = ours.map(|row| row.worst_error_slots.abs()).fold(0.0, f64::max);
        let of = "The lookup table's farthest from a backend's weight".to_owned();
        highlights.push(Highlight { value: format!("{worst:.3}"), unit: "slots", of });
    }
    if let Some(replay) = &data.replay {
        let of = if replay.frame_counts.is_balanced() {
            "Frames replayed, each accounted for"
        } else {
            "Frames replayed, NOT all accounted for"
        };
        let of = of.to_owned();
        highlights.push(Highlight { value: count(replay.frame_counts.put_in), unit: "frames", of });
        let of = "A frame of that capture in the poll loop, median burst".to_owned();
        let value = replay.median_ns_per_packet.unwrap_or(replay.ns_per_packet);
        highlights.push(Highlight { value: format!("{value:.1}"), unit: "ns", of });
    }
    highlights
}

fn micros(nanos: u64) -> String {
    short(nanos as f64 / 1e3)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
