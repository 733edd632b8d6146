//! Metrics, routes, reasons and events that docs/admin.md must name, and examples that it must show rightly.

use guideway::api::admin::routes;
use guideway::api::view::{
    BackendList, BackendProbes, ConntrackList, ConntrackLookup, Drain, Drops, ErrorView, EventKind,
    EventList, Explained, Plan, Reload, Remaining, RingList, RuleList, ServiceList, Stats, Status, Stopping,
    TracedPacket, VipList, WatchedFlows, Xstats,
};
use guideway::doctor::check_names;
use guideway::doctor::finding::Diagnosis;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::metrics::scraped;

const DOCS: &str = include_str!("../../../docs/admin.md");

#[test]
fn every_metric_is_documented_and_no_other() {
    let text = scraped();
    let shown: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut shown: Vec<&str> = shown.iter().filter_map(|head| head.split(' ').next()).collect();
    let words = DOCS.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let mut named: Vec<&str> = words.filter(|word| word.starts_with("guideway_")).collect();
    shown.sort_unstable();
    named.sort_unstable();
    named.dedup();
    assert_eq!(named, shown);
}

#[test]
fn every_route_is_documented() {
    for (method, path) in routes() {
        assert!(DOCS.contains(&format!("\n| `{method} {path}` |")), "{method} {path}");
    }
}

#[test]
fn every_reason_of_a_drop_is_documented() {
    let replay = include_str!("../../../docs/replay.md");
    for row in Drops::new(&Stats::default()).drops {
        let word = format!("`{}`", row.reason);
        assert!(DOCS.contains(&word) || replay.contains(&format!("| {word} |")), "{word}");
    }
}

#[test]
fn every_kind_of_event_is_documented() {
    for kind in EventKind::ALL {
        assert!(DOCS.contains(&format!("| `{}` |", kind.as_str())), "{}", kind.as_str());
    }
}

#[test]
fn every_check_of_the_doctor_is_documented_and_no_other() {
    let manual = include_str!("../../../docs/operation.md");
    let section = manual.split("### What is wrong with this machine").nth(1).expect("there is a section");
    let rows = section.split("\n## ").next().unwrap_or_default().lines();
    let named: Vec<&str> = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(named, check_names().collect::<Vec<_>>());
    let example = section.split("```json").nth(1).and_then(|rest| rest.split("```").next());
    assert!(is_view::<Diagnosis>(example.expect("the section has an example")));
}

/// The JSON of the documentation is what its view is written as: no key too many and none too few.
fn is_view<T: Serialize + DeserializeOwned>(text: &str) -> bool {
    let value: Value = serde_json::from_str(text).unwrap();
    let view: T = serde_json::from_value(value.clone()).unwrap();
    serde_json::to_value(view).unwrap() == value
}

#[test]
fn every_example_is_as_the_appliance_would_write_it() {
    let mut examples = 0;
    for block in DOCS.split("\n```json ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let (text, _) = rest.split_once("\n```").unwrap();
        let is_view = match name {
            "error" => is_view::<ErrorView>(text),
            "status" => is_view::<Status>(text),
            "stats" => is_view::<Stats>(text),
            "xstats" => is_view::<Xstats>(text),
            "drops" => is_view::<Drops>(text),
            "conntrack" => is_view::<ConntrackList>(text),
            "flow" => is_view::<ConntrackLookup>(text),
            "watched" => is_view::<WatchedFlows>(text),
            "traced" => is_view::<TracedPacket>(text),
            "services" => is_view::<ServiceList>(text),
            "rules" => is_view::<RuleList>(text),
            "backends" => is_view::<BackendList>(text),
            "probes" => is_view::<BackendProbes>(text),
            "remaining" => is_view::<Remaining>(text),
            "events" => is_view::<EventList>(text),
            "vips" => is_view::<VipList>(text),
            "plan" => is_view::<Plan>(text),
            "explained" => is_view::<Explained>(text),
            "ring" => is_view::<RingList>(text),
            "reload" => is_view::<Reload>(text),
            "drain" => is_view::<Drain>(text),
            "stop" => is_view::<Stopping>(text),
            other => panic!("an example of {other}"),
        };
        assert!(is_view, "{name}");
        examples += 1;
    }
    assert_eq!(examples, 22);
}
