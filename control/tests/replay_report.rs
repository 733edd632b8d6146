//! The page that `guideway replay --html` writes: its counts are the summary's, its form is sound, and it needs nothing from
//! outside.

use std::collections::BTreeSet;
use std::io::Cursor;
use std::path::Path;

use guideway::offline::replay::{Outputs, Summary, replay};
use guideway::offline::report::{self, Inputs};
use guideway::offline::timeline::Timeline;
use guideway_engine::capture::CaptureReader;
use guideway_model::config::{Config, EXAMPLE};
use roxmltree::{Document, Node, ParsingOptions};

const DEMO: &[u8] = include_bytes!("../../pcap-fixtures/demo.in.pcap");

fn inputs<'a>(events: Option<&'a str>, failure: Option<&'a str>) -> Inputs<'a> {
    Inputs { capture: "captures/demo.in.pcap", config: "guideway.toml", events, failure }
}

/// The embedded configuration with a small conntrack table, which is soon counted.
fn example() -> String {
    let small = EXAMPLE.replace("max_entries = 1_048_576", "max_entries = 4_096");
    assert_ne!(small, EXAMPLE);
    small
}

fn replayed(events: &str, capture: &[u8], workers: usize) -> Summary {
    let config =
        Config::parse("example", &example()).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("events.toml");
    std::fs::write(&path, events).expect("a file");
    std::fs::write(folder.path().join("reload.toml"), example().replace("weight = 2", "weight = 5"))
        .expect("a file");
    let timeline = Timeline::read(&path, &config).unwrap_or_else(|error| panic!("{error:?}"));
    let capture = CaptureReader::new(Cursor::new(capture.to_vec())).expect("a capture");
    let outputs = Outputs { chronicle: true, ..Outputs::default() };
    let (summary, result) = replay(config, timeline, capture, workers, outputs);
    result.expect("the capture is whole");
    summary
}

fn page(summary: &Summary, events: Option<&str>) -> String {
    let chronicle = summary.chronicle.as_ref().expect("it was asked for");
    report::html(summary, chronicle, &inputs(events, None))
}

const EVENTS: &str = r#"
    [[event]]
    at = 10
    service = "firewall"
    backend = "fw-1"
    health = "UNHEALTHY"

    [[event]]
    at = 10
    service = "web"
    backend = "web-2"
    weight = 0

    [[event]]
    at = 20.5
    config = "reload.toml"

    [[event]]
    at = 1000
    service = "web"
    backend = "web-1"
    health = "UNHEALTHY"
"#;

/// Text of a node and of all below it.
fn words(node: Node<'_, '_>) -> String {
    node.descendants().filter_map(|below| below.is_text().then(|| below.text()).flatten()).collect()
}

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).expect("the page is XML too")
}

/// Rows of the table with this identifier, below its header.
fn rows(page: &Document<'_>, id: &str) -> Vec<Vec<String>> {
    let named = |node: &Node<'_, '_>| node.attribute("aria-labelledby") == Some(id);
    let tables = page.descendants().filter(|node| node.tag_name().name() == "table");
    let table = tables.into_iter().find(named).unwrap_or_else(|| panic!("there is a table {id}"));
    let rows = table.descendants().filter(|node| node.tag_name().name() == "tr").skip(1);
    rows.map(|row| row.children().map(words).collect()).collect()
}

fn number(cell: &str) -> u64 {
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("{cell} is no count"))
}

#[test]
fn the_page_of_the_demonstration_is_as_it_was() {
    let page = page(&replayed("", DEMO, 1), None);
    let (before, rest) = page.split_once("<style>").expect("a style");
    let (_, after) = rest.split_once("</style>").expect("the end of the style");
    insta::assert_snapshot!("demo", format!("{before}{after}"));
}

#[test]
fn counts_of_the_page_are_those_of_the_summary() {
    for events in ["", EVENTS] {
        let summary = replayed(events, DEMO, 1);
        let html = page(&summary, Some("events.toml"));
        let page = parsed(&html);
        let ends = rows(&page, "drops-table-1");
        let end = |name: String| {
            let row = ends.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name} in {ends:?}"));
            number(&row[1])
        };
        assert_eq!(end("forwarded".to_owned()), summary.forwarded);
        assert_eq!(end("all".to_owned()), summary.packets);
        for (reason, packets) in &summary.dropped {
            assert_eq!(end(format!("dropped: {reason}")), *packets);
        }
        for (reason, packets) in &summary.passed {
            assert_eq!(end(format!("passed: {reason}")), *packets);
        }
        assert_eq!(ends.len(), 2 + summary.dropped.len() + summary.passed.len());
        for (row, backend) in rows(&page, "shares-table-1").iter().zip(&summary.backends) {
            assert_eq!((&row[0], &row[1]), (&backend.backend_service, &backend.backend));
            let counts = [&row[5], &row[6], &row[7]].map(|cell| number(cell));
            assert_eq!(counts, [backend.selections, backend.packets, backend.bytes]);
            assert_eq!(row[3], format!("{:.1} %", backend.selection_share * 100.0));
            let (low, high) = row[4].trim_end_matches(" %").split_once(" to ").expect("an interval");
            let bounds = [low, high].map(|bound| bound.parse::<f64>().expect("a number") / 100.0);
            assert!((bounds[0]..=bounds[1]).contains(&backend.selection_share), "{row:?}");
        }
        // Over time as in total.
        let over_time = rows(&page, "traffic-table-1");
        let sum = |column: usize| over_time.iter().map(|row| number(&row[column])).sum::<u64>();
        let dropped: u64 = summary.dropped.values().sum();
        let passed: u64 = summary.passed.values().sum();
        assert_eq!([1, 2, 3, 4].map(sum), [summary.forwarded, passed, dropped, summary.conntrack.new]);
        let tracking = rows(&page, "conntrack-table-1");
        assert_eq!(
            (number(&tracking[0][1]), number(&tracking[1][1])),
            (summary.conntrack.hits, summary.conntrack.new)
        );
        for reason in rows(&page, "drops-table-2") {
            assert_eq!(number(&reason[1]), summary.dropped[&*reason[0]]);
            assert!(reason[3].ends_with('.') && reason[4].ends_with('.'), "{reason:?}");
        }
    }
}

#[test]
fn shares_are_measured_against_the_weights_of_their_time() {
    let summary = replayed(EVENTS, DEMO, 1);
    let html = page(&summary, Some("events.toml"));
    let shares = rows(&parsed(&html), "shares-table-1");
    let by_weight = |backend: &str| {
        let row =
            shares.iter().find(|row| row[1] == backend).unwrap_or_else(|| panic!("{backend} in {shares:?}"));
        row[2].trim_end_matches(" %").parse::<f64>().expect("a number")
    };
    // Half of the firewall's until the tenth second, none of it afterwards.
    assert!((1.0..49.0).contains(&by_weight("fw-1")), "{shares:?}");
    for [a, b] in [["fw-1", "fw-2"], ["web-1", "web-2"]] {
        assert!((by_weight(a) + by_weight(b) - 100.0).abs() < 0.11, "{shares:?}");
    }
    // The summary, and the terminal's table with it, says the same.
    for backend in &summary.backends {
        let told = by_weight(&backend.backend);
        assert!((told - 100.0 * backend.expected_share).abs() < 0.051, "{told} and {backend:?}");
    }
}

#[test]
fn events_are_told_with_the_connections_that_they_met() {
    let summary = replayed(EVENTS, DEMO, 1);
    let html = page(&summary, Some("events.toml"));
    let page = parsed(&html);
    let events = rows(&page, "events-table-1");
    // The event of the thousandth second comes after the last frame.
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(html.contains("1 event after the last frame changed nothing"));
    assert_eq!((&*events[0][0], &*events[0][1]), ("1", "10.000"));
    assert_eq!(
        events[0][2],
        "firewall: fw-1 becomes unhealthy; web: web-2 reports weight 0, of no effect beside weight_source = \"CONFIGURED\""
    );
    assert_eq!(events[1][2], "reload: ~ backend web/web-1: weight 2 to 5");
    // UDP through the firewall does not persist on an unhealthy backend.
    let (ended, of) = events[0][3].split_once(" of ").expect("entries");
    assert!(number(ended) > 0 && number(ended) < number(of), "{events:?}");
    for event in &events {
        let [all, kept, moved, disturbed] = [4, 5, 6, 7].map(|column| number(&event[column]));
        assert!(all >= kept + moved && disturbed <= all - kept, "{event:?}");
    }
    let marks = page.descendants().filter(|node| node.attribute("class") == Some("mark"));
    // An event has its mark in three charts, for narrow and for wide pages.
    assert_eq!(marks.count(), 2 * 3 * 2);
}

#[test]
fn the_page_does_not_depend_on_the_number_of_workers() {
    assert_eq!(page(&replayed(EVENTS, DEMO, 1), None), page(&replayed(EVENTS, DEMO, 3), None));
}

#[test]
fn the_page_is_sound_and_needs_nothing_from_outside() {
    for html in [
        page(&replayed(EVENTS, DEMO, 1), Some("<events> & \"more\".toml")),
        page(&replayed("", DEMO, 1), None),
    ] {
        for outside in ["<script", "<link", "<img", "<iframe", "@import", "url(", "NaN", "inf<", "src=\""] {
            assert!(!html.contains(outside), "{outside}");
        }
        let page = parsed(&html);
        let mut ids = BTreeSet::new();
        for node in page.descendants().filter(Node::is_element) {
            for attribute in node.attributes() {
                let value = attribute.value();
                match attribute.name() {
                    "id" => assert!(ids.insert(value), "{value} twice"),
                    "href" => assert!(value.starts_with('#'), "{value}"),
                    name => assert!(!value.contains("//") && !name.starts_with("on"), "{name}: {value}"),
                }
            }
        }
        for node in page.descendants().filter(Node::is_element) {
            let named = ["aria-labelledby", "href"].iter().filter_map(|name| node.attribute(*name));
            for id in named.flat_map(|ids| ids.split(' ')) {
                assert!(ids.contains(id.trim_start_matches('#')), "nothing is {id}");
            }
        }
        for svg in page.descendants().filter(|node| node.tag_name().name() == "svg") {
            for name in ["title", "desc"] {
                let child = svg.children().find(|node| node.tag_name().name() == name).expect(name);
                assert!(!words(child).is_empty());
            }
        }
        assert_eq!(page.descendants().filter(|node| node.tag_name().name() == "h1").count(), 1);
    }
}

#[test]
fn a_capture_without_packets_has_a_page_that_says_so() {
    let summary = replayed("", &DEMO[..24], 1);
    let html = page(&summary, None);
    assert!(parsed(&html).root_element().has_children());
    assert!(html.contains("The capture has no packets.") && !html.contains("<svg") && !html.contains("NaN"));
}

#[test]
fn a_replay_that_ended_early_says_so_first() {
    let summary = replayed("", DEMO, 1);
    let chronicle = summary.chronicle.as_ref().expect("it was asked for");
    let findings = report::findings(&summary, chronicle, Some("the disk is full"));
    assert!(findings[0].contains("ended early") && findings[0].contains("the disk is full"), "{findings:?}");
    assert!(
        report::html(&summary, chronicle, &inputs(None, Some("the disk is full")))
            .contains("the disk is full")
    );
}

#[test]
fn the_command_writes_the_page_and_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let guideway = |arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_guideway")).args(arguments).output();
        output.expect("the program runs")
    };
    let output = guideway(&["replay", "--demo", "--html", &file("report.html")]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(said.starts_with(
        "configuration: the embedded example\ncapture: the embedded capture, 2,179 frames, 55.1 s\n"
    ));
    assert!(said.contains("\nlook at   14 of 2,179 packets dropped"), "{said}");
    assert!(said.ends_with(&format!("report    {}, for a browser\n", file("report.html"))), "{said}");
    let written = std::fs::read_to_string(file("report.html")).expect("a page");
    assert!(written.contains("<h1>Replay of the embedded capture</h1>"));
    // JSON stays JSON.
    let output = guideway(&["replay", "--demo", "--html", &file("again.html"), "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["packets"], 2_179);
    assert!(json["seconds"].as_f64().is_some_and(|seconds| seconds > 55.0));
    assert_eq!(std::fs::read_to_string(file("again.html")).expect("a page"), written);
    // A capture is not overwritten, and a page that cannot be written is an error.
    std::fs::write(file("capture.pcap"), DEMO).expect("a file");
    let output =
        guideway(&["replay", "--demo", "--pcap", &file("capture.pcap"), "--html", &file("capture.pcap")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(Path::new(&file("capture.pcap")).metadata().expect("a file").len() == DEMO.len() as u64);
    let output = guideway(&["replay", "--demo", "--html", &file("nowhere/report.html")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write"));
}
