//! Workers with their load, and ports with their links.

use super::grid::{Cell, Column, Grid, Row, Tone};
use super::history::History;
use super::look::{Counter, Look};
use crate::api::amount::rate;
use crate::api::view::{Port, PortState, Worker, WorkerState};

/// Orders of the rows; the first is how they begin.
pub const ORDERS: &[&str] = &["number", "load", "packets"];

const WORKERS: &[Column] = &[
    Column::text("WORKER"),
    Column::text("STATE"),
    Column::number("CORE"),
    Column::number("NODE"),
    Column::number("BUSY").sorts("load"),
    Column::bar("LOAD"),
    Column::number("PKT/S").sorts("packets"),
    Column::number("OF PACKETS"),
    Column::number("DROPPED/S"),
];

const PORTS: &[Column] = &[
    Column::text("PORT"),
    Column::text("LINK"),
    Column::text("DEVICE").from(100),
    Column::text("DRIVER").from(100),
    Column::number("SPEED"),
    Column::number("RX/S").sorts("packets"),
    Column::number("TX/S"),
    Column::number("LOST/S"),
    Column::number("LOST"),
    Column::number("LINK LOSSES"),
    Column::number("RESETS").from(100),
];

/// Letters that a full load is drawn with.
const BAR: usize = 10;

/// Tables of the workers and of the ports.
pub fn grids(look: &Look, history: &History) -> [Grid; 2] {
    let workers = look.status.workers.iter().map(|one| worker(one, history)).collect();
    let ports = look.status.ports.iter().map(|one| port(one, look, history)).collect();
    [Grid { columns: WORKERS, rows: workers }, Grid { columns: PORTS, rows: ports }]
}

fn worker(worker: &Worker, history: &History) -> Row {
    let (state, tone) = match worker.state {
        WorkerState::Running => ("running", Tone::Good),
        WorkerState::Stalled => ("STALLED", Tone::Bad),
    };
    let busy = worker.busy_share;
    let load = match busy {
        _ if busy >= 0.95 => Tone::Bad,
        _ if busy >= 0.8 => Tone::Warning,
        _ => Tone::Plain,
    };
    let number = worker.number;
    let dropped = history.rate(&Counter::DroppedBy(number));
    let cells = vec![
        Cell::number(number.into(), number.to_string()),
        Cell::text(state).tone(tone),
        Cell::text(worker.core.to_string()),
        Cell::text(worker.node.map_or_else(|| "-".to_owned(), |node| node.to_string())),
        Cell::number(busy, percent(busy)).tone(load),
        Cell::number(busy, bar(busy)).tone(load),
        Cell::known(history.rate(&Counter::Offered(number)), rate),
        Cell::number(worker.packet_share, percent(worker.packet_share)),
        Cell::known(dropped, rate),
    ];
    let queues = worker.queues.iter().map(|queues| {
        let queue =
            |number: Option<u16>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
        let (port, rx, tx) = (&queues.port, queue(queues.rx_queue), queue(queues.tx_queue));
        format!("{port}: receive queue {rx}, transmit queue {tx}")
    });
    let queues: Vec<String> = queues.collect();
    let detail = format!("Worker {number} on core {}: {}", worker.core, queues.join("; "));
    Row::new(format!("worker {number}"), cells, detail)
}

/// Share of one with a decimal.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Draws a share of one.
fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("[{}{}]", "#".repeat(full), ".".repeat(BAR - full))
}

fn port(port: &Port, look: &Look, history: &History) -> Row {
    let (link, tone) = match (port.state, port.link_up) {
        (PortState::Running, true) => ("up", Tone::Good),
        (PortState::Running, false) => ("DOWN", Tone::Bad),
        (PortState::Resetting, _) => ("RESETTING", Tone::Warning),
        (PortState::Removed, _) => ("REMOVED", Tone::Bad),
    };
    let stats = look.stats.ports.iter().find(|stats| stats.name == port.name);
    let lost = stats.map(|stats| stats.missed + stats.rx_errors + stats.tx_errors + stats.no_mbuf);
    let lost_now = history.rate(&Counter::LostBy(port.name.clone()));
    let loses = if lost_now.is_some_and(|rate| rate > 0.0) { Tone::Warning } else { Tone::Plain };
    let speed = port.speed_mbps.map_or_else(|| "-".to_owned(), speed);
    let cells = vec![
        Cell::text(&*port.name),
        Cell::text(link).tone(tone),
        Cell::text(&*port.device),
        Cell::text(&*port.driver),
        Cell::text(speed),
        Cell::known(history.rate(&Counter::Received(port.name.clone())), rate),
        Cell::known(history.rate(&Counter::Sent(port.name.clone())), rate),
        Cell::known(lost_now, rate).tone(loses),
        Cell::known(lost.map(|lost| lost as f64), |_| lost.unwrap_or_default().to_string()),
        Cell::text(port.link_losses.to_string()),
        Cell::text(port.resets.to_string()),
    ];
    let (name, device, mac, mtu) = (&port.name, &port.device, &port.mac, port.mtu);
    let lost = stats.map(|stats| {
        let (missed, no_mbuf) = (stats.missed, stats.no_mbuf);
        let (rx, tx) = (stats.rx_errors, stats.tx_errors);
        format!(
            "; lost: {missed} missed, {no_mbuf} without a buffer, {rx} received and {tx} sent with errors"
        )
    });
    let members: String = port
        .members
        .iter()
        .map(|member| format!("; {} {}", member.name, if member.link_up { "up" } else { "DOWN" }))
        .collect();
    let detail = format!("Port {name}, {device}, {mac}, MTU {mtu}{}{members}", lost.unwrap_or_default());
    Row::new(format!("port {}", port.name), cells, detail)
}

fn speed(mbps: u32) -> String {
    if mbps >= 1_000 { format!("{} Gbit/s", f64::from(mbps) / 1e3) } else { format!("{mbps} Mbit/s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_drawn_in_ten_letters() {
        for (share, text) in
            [(0.0, "[..........]"), (0.26, "[###.......]"), (1.0, "[##########]"), (7.0, "[##########]")]
        {
            assert_eq!(bar(share), text);
        }
    }
}
