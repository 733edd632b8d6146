//! Clients with the most packets.

use guideway_report::chart::{BarChart, Description, Group};
use guideway_report::markup::count;
use guideway_report::page::{DataTable, Figure, Layout};

use crate::offline::replay::chronicle::{Chronicle, Client, MOST_CLIENTS};

/// Clients that are shown.
const SHOWN: usize = 10;

pub(super) fn figure(chronicle: &Chronicle) -> Figure {
    let (clients, most_excess) = chronicle.top_clients(SHOWN);
    let title = "Clients with the most packets";
    let chart = BarChart {
        description: Description {
            id: "clients-chart",
            title,
            text: "Bars by client: packets for forwarding rules.",
        },
        label: "packets for forwarding rules",
        series: vec!["packets"],
        groups: clients
            .iter()
            .map(|client| Group {
                name: client.address.to_string(),
                values: vec![Some(client.packets as f64)],
            })
            .collect(),
    };
    let bound = if most_excess == 0 {
        format!("No more than {} clients came, and all counts are exact.", count(MOST_CLIENTS as u64))
    } else {
        format!(
            "More clients came than are counted at a time ({}): a count may be too high by {} packets at most, and no \
             client with more packets than that is missing among those counted. Bytes and selections are those since the \
             client is counted.",
            count(MOST_CLIENTS as u64),
            count(most_excess)
        )
    };
    let row = |client: &Client| {
        vec![
            client.address.to_string(),
            count(client.packets),
            count(client.packets - client.excess),
            count(client.bytes),
            count(client.connections),
        ]
    };
    Figure {
        id: "clients",
        title,
        reading: "Sources of packets for forwarding rules and routes, forwarded or dropped. Under an affinity by client \
                  address, one heavy client makes one backend's share heavy."
            .to_owned(),
        chart: if clients.is_empty() { String::new() } else { chart.html() },
        findings: vec![bound],
        tables: vec![DataTable {
            caption: "Clients with the most packets".to_owned(),
            header: vec!["client", "packets, at most", "at least", "bytes", "selections"],
            rows: clients.iter().map(row).collect(),
            numbers: 1..5,
            layout: Layout::Plain,
        }],
    }
}
