//! Alerts and dashboard of the package: they ask for metrics and labels that there are, and the alerts do what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::metrics::scraped;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/package/monitoring");
const ALERTS: &str = include_str!("../../package/monitoring/alerts.yml");
const ALERT_TESTS: &str = include_str!("../../package/monitoring/alerts.test.yml");
const DASHBOARD: &str = include_str!("../../package/monitoring/dashboard.json");

/// Labels of every metric that an appliance shows, and those that a scrape adds.
fn labels_by_metric() -> BTreeMap<String, BTreeSet<String>> {
    let text = scraped();
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, kind) in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')) {
        let parts = if kind == "histogram" { &["_bucket", "_sum", "_count"][..] } else { &[""] };
        for part in parts {
            labels.insert(format!("{name}{part}"), BTreeSet::from(["instance".to_owned(), "job".to_owned()]));
        }
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let Some((_, rest)) = line.split_once('{') else { continue };
        let found = labels.get_mut(name).unwrap();
        for label in rest.split("=\"").filter_map(|part| part.rsplit(['"', ',', '{']).next()) {
            found.insert(label.to_owned());
        }
    }
    labels
}

/// Metrics that an expression selects, each with what stands in its braces.
fn selectors(expression: &str) -> Vec<(&str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let starts = expression.match_indices("guideway_").map(|(start, _)| start);
    let selector = |start: usize| {
        let rest = &expression[start..];
        let name = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        let braces = rest[name.len()..].strip_prefix('{').map_or("", |rest| rest.split('}').next().unwrap());
        (name, braces)
    };
    starts.map(selector).collect()
}

/// Expressions of the dashboard's panels, variables and annotations.
fn expressions(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(fields) => {
            let own = ["expr", "query"].iter().filter_map(|key| fields.get(*key)?.as_str());
            own.chain(fields.values().flat_map(expressions)).collect()
        }
        Value::Array(values) => values.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn dashboard_and_alerts_ask_for_what_there_is() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let known = labels_by_metric();
    let asked = expressions(&dashboard);
    assert!(asked.len() > 30, "{asked:?}");
    for expression in asked.into_iter().chain([ALERTS]) {
        for (metric, braces) in selectors(expression) {
            let labels = known.get(metric).unwrap_or_else(|| panic!("there is no metric {metric}"));
            for matcher in braces.split(',').filter(|matcher| !matcher.is_empty()) {
                let label = matcher.split(['=', '!']).next().unwrap();
                assert!(labels.contains(label), "{metric} has no label {label}: {expression}");
            }
        }
    }
}

#[test]
fn panels_have_titles_descriptions_and_room_of_their_own() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(panel["type"] == "row" || !panel["description"].as_str().unwrap().is_empty(), "{title}");
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for y in at("y")..at("y") + at("h") {
            for x in at("x")..at("x") + at("w") {
                assert!(x < 24 && taken.insert((x, y)), "{title} overlaps another panel at {x}, {y}");
            }
        }
    }
}

#[test]
fn every_alert_has_a_test_and_a_summary() {
    let names = ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    for name in names {
        assert!(ALERT_TESTS.contains(&format!("alertname: {name}\n")), "{name} has no test");
    }
    assert_eq!(ALERTS.matches("- alert: ").count(), ALERTS.matches("summary: ").count());
}

/// `promtool` is of the package `prometheus`; where it is not installed, there is nobody to ask.
#[test]
fn alerts_go_off_where_they_should_and_only_there() {
    let Ok(said) =
        Command::new("promtool").args(["test", "rules", "alerts.test.yml"]).current_dir(FOLDER).output()
    else {
        eprintln!("skipped: no promtool in PATH");
        return;
    };
    let text = [said.stdout, said.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(said.status.success(), "{text}");
}
