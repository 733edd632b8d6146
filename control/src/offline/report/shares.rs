//! Shares of the backends against their weights, with what chance alone makes of them.

use std::fmt::Write;

use guideway_report::chart::{Description, Interval, IntervalChart};
use guideway_report::markup::count;
use guideway_report::page::{DataTable, Figure, Layout};

use super::statistics::{chi_squared, is_beyond_chance, wilson};
use super::{counted, percent};
use crate::offline::replay::Summary;
use crate::offline::replay::chronicle::Chronicle;

/// Backends that the chart has at most: those farthest from their weight.
const MOST_SHOWN: usize = 40;

/// Independent choices a backend, on average, from which on a verdict on all shares of a service is given.
const ENOUGH: f64 = 5.0;

/// Shares of one service.
struct Service<'a> {
    name: &'a str,
    selections: u64,
    /// Independent choices that the selections tell as much as.
    independent: f64,
    has_subsets: bool,
    backends: Vec<Share<'a>>,
}

/// Share of one backend.
struct Share<'a> {
    name: &'a str,
    selections: u64,
    packets: u64,
    bytes: u64,
    expected: f64,
    measured: f64,
    bounds: Option<(f64, f64)>,
}

/// Judgement on the shares of a service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    TooFew,
    Chance,
    BeyondChance,
}

impl Share<'_> {
    fn is_outside(&self) -> bool {
        self.bounds.is_some_and(|(low, high)| !(low..=high).contains(&self.expected))
    }

    fn distance(&self) -> f64 {
        (self.measured - self.expected).abs()
    }
}

impl Service<'_> {
    fn verdict(&self) -> Verdict {
        let eligible = self.backends.iter().filter(|share| share.expected > 0.0).count();
        if eligible < 2 || self.independent < ENOUGH * eligible as f64 {
            return Verdict::TooFew;
        }
        let shares = self.backends.iter().map(|share| (share.measured, share.expected));
        let chi_squared = chi_squared(shares, self.independent);
        if is_beyond_chance(chi_squared, eligible - 1) { Verdict::BeyondChance } else { Verdict::Chance }
    }

    fn farthest(&self) -> Option<&Share<'_>> {
        self.backends.iter().max_by(|a, b| a.distance().total_cmp(&b.distance()))
    }

    /// Sentences that explain the shares to somebody who has not met an interval before.
    fn words(&self) -> String {
        let mut words = format!("{}: ", self.name);
        let Some(farthest) = self.farthest().filter(|_| self.selections > 0) else {
            return words + "no connection came to it.";
        };
        let _ = write!(
            words,
            "{} got {} of {}, and its weight entitles it to {}.",
            farthest.name,
            percent(farthest.measured),
            counted(self.selections, "selection"),
            percent(farthest.expected)
        );
        let choices = self.independent.round() as u64;
        let are_alike = self.independent < 0.9 * self.selections as f64;
        if are_alike {
            let _ = write!(
                words,
                " Connections that hash alike go together, as those of a client do under an affinity: these tell no more \
                 than {} that are independent.",
                count(choices)
            );
        }
        if let Some((low, high)) = farthest.bounds {
            let of = if are_alike { choices } else { self.selections };
            let verdict = if farthest.is_outside() { "lies outside of it" } else { "lies within it" };
            let _ = write!(
                words,
                " With {}, chance alone leaves a share uncertain: the 95 % interval around {} goes from {} to {}, and {} \
                 {verdict}.",
                counted(of, "choice"),
                percent(farthest.measured),
                percent(low),
                percent(high),
                percent(farthest.expected)
            );
        }
        words += match self.verdict() {
            Verdict::TooFew => " Too few connections came to say more.",
            Verdict::Chance => {
                " Taken together, chance alone explains how the shares differ from the weights."
            }
            Verdict::BeyondChance => {
                " Taken together, the shares differ from the weights by more than chance makes in 99 of 100 captures: see \
                 the clients with the most packets, and the events."
            }
        };
        if self.has_subsets {
            words += " Each client meets a subset of the backends here, so that few clients move shares farther than the \
                      interval says.";
        }
        words
    }
}

fn services<'a>(summary: &'a Summary, chronicle: &Chronicle) -> Vec<Service<'a>> {
    let mut services: Vec<Service<'a>> = Vec::new();
    for backend in &summary.backends {
        let name = backend.backend_service.as_str();
        if services.last().is_none_or(|service| service.name != name) {
            let independent = chronicle.choices(name).map_or(0.0, |choices| choices.independent);
            let has_subsets = chronicle.subset_services.iter().any(|service| **service == *name);
            let (selections, backends) = (0, Vec::new());
            services.push(Service { name, selections, independent, has_subsets, backends });
        }
        let Some(service) = services.last_mut() else { continue };
        service.selections += backend.selections;
        service.backends.push(Share {
            name: &backend.backend,
            selections: backend.selections,
            packets: backend.packets,
            bytes: backend.bytes,
            expected: backend.expected_share,
            measured: backend.selection_share,
            bounds: None,
        });
    }
    for service in &mut services {
        for share in &mut service.backends {
            share.bounds = wilson(share.measured, service.independent);
        }
    }
    services
}

/// Sentences for the head of the page.
pub(super) fn findings(summary: &Summary, chronicle: &Chronicle) -> Vec<String> {
    let services = services(summary, chronicle);
    let named = |verdict: Verdict| -> Vec<&str> {
        let judged = services.iter().filter(|service| service.selections > 0 && service.verdict() == verdict);
        judged.map(|service| service.name).collect()
    };
    let mut findings = Vec::new();
    let beyond = named(Verdict::BeyondChance);
    if !beyond.is_empty() {
        findings.push(format!(
            "Shares that differ from the weights by more than chance: {}. See the shares of backends.",
            listed(&beyond)
        ));
    }
    let chance = named(Verdict::Chance);
    if !chance.is_empty() {
        findings.push(format!("Shares that agree with the weights, up to chance: {}.", listed(&chance)));
    }
    findings
}

fn listed(names: &[&str]) -> String {
    /// Names that are told one by one.
    const MOST: usize = 8;
    let more = names.len().saturating_sub(MOST);
    let told = names[..names.len() - more].join(", ");
    if more > 0 { format!("{told} and {more} more services") } else { told }
}

pub(super) fn figure(summary: &Summary, chronicle: &Chronicle) -> Figure {
    let services = services(summary, chronicle);
    let mut shown: Vec<(&Service<'_>, &Share<'_>)> = services
        .iter()
        .filter(|service| service.selections > 0)
        .flat_map(|service| service.backends.iter().map(move |share| (service, share)))
        .collect();
    let hidden = shown.len().saturating_sub(MOST_SHOWN);
    if hidden > 0 {
        shown.sort_by(|a, b| b.1.distance().total_cmp(&a.1.distance()));
        shown.truncate(MOST_SHOWN);
    }
    let row = |(service, share): &(&Service<'_>, &Share<'_>)| Interval {
        name: format!("{}: {}", service.name, share.name),
        expected: share.expected * 100.0,
        measured: share.measured * 100.0,
        bounds: share.bounds.map(|(low, high)| (low * 100.0, high * 100.0)),
    };
    let title = "Shares of connections against weights";
    let chart = IntervalChart {
        description: Description {
            id: "shares-chart",
            title,
            text: "Rows by backend: a dot at its share of the service's selections, a line over the 95 % interval of that \
                   share, a tick at the share that its weight entitles it to.",
        },
        label: "% of the service's selections",
        names: ["by weight", "measured", "95 % interval"],
        rows: shown.iter().map(row).collect(),
    };
    let mut findings: Vec<String> = Vec::new();
    if hidden > 0 {
        findings
            .push(format!("The chart has the {MOST_SHOWN} backends that are farthest from their weights."));
    }
    findings.extend(services.iter().take(MOST_SHOWN).map(Service::words));
    let cells = |service: &Service<'_>, share: &Share<'_>| {
        vec![
            service.name.to_owned(),
            share.name.to_owned(),
            percent(share.expected),
            percent(share.measured),
            share.bounds.map_or_else(
                || "none".to_owned(),
                |(low, high)| format!("{:.1} to {:.1} %", low * 100.0, high * 100.0),
            ),
            count(share.selections),
            count(share.packets),
            count(share.bytes),
        ]
    };
    let rows = services.iter().flat_map(|service| service.backends.iter().map(|share| cells(service, share)));
    Figure {
        id: "shares",
        title,
        reading: "The hash picks a backend once a connection, in proportion to the weights. A dot is the share that the \
                  backend got; where the tick of its weight crosses the dot's line, the two agree as well as so many \
                  connections can. Weights and health are those of the time of each connection."
            .to_owned(),
        chart: if shown.is_empty() { String::new() } else { chart.html() },
        findings,
        tables: vec![DataTable {
            caption: "Shares of the backends".to_owned(),
            header: vec![
                "service",
                "backend",
                "by weight",
                "measured",
                "95 % interval",
                "selections",
                "packets",
                "bytes",
            ],
            rows: rows.collect(),
            numbers: 2..8,
            layout: Layout::Plain,
        }],
    }
}
