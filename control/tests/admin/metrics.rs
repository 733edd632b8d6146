//! Metrics as Prometheus reads them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use guideway::api::metrics::Exporter;
use insta::{Settings, assert_snapshot};
use tokio::sync::{mpsc, oneshot};

use crate::supervisor::{Appliance, block_on};

/// The head and the body of an answer.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    ask(address, "GET", path, "")
}

/// The head and the body of an answer to a request with further lines in its head.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str, further: &str) -> (String, String) {
    say(
        address,
        &format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{further}\r\n"),
    )
}

/// The head and the body of the answer to a request, up to the end of its connection.
pub(crate) fn say(address: SocketAddr, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

pub(crate) fn scraped() -> String {
    get(Appliance::start().metrics(), "/metrics").1
}

#[test]
fn a_scrape_shows_every_counter_and_state() {
    let mut settings = Settings::clone_current();
    settings.set_omit_expression(true);
    settings.bind(|| assert_snapshot!(scraped()));
}

#[test]
fn a_scrape_is_of_the_text_format_and_the_index_links_to_it() {
    let appliance = Appliance::start();
    let (head, _) = get(appliance.metrics(), "/metrics");
    assert!(head.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{head}");
    assert!(get(appliance.metrics(), "/").1.contains("<a href=\"/metrics\">"));
    assert!(get(appliance.metrics(), "/v1/status").0.starts_with("HTTP/1.1 404"), "not the admin interface");
}

#[test]
fn every_answer_ends_its_connection_though_the_client_would_go_on() {
    let (open, guarded) = (Appliance::start(), Appliance::start_guarded("0123456789abcdef"));
    for (address, path, status) in [
        (open.metrics(), "/metrics", "200"),
        (open.metrics(), "/", "200"),
        (open.metrics(), "/nothing", "404"),
        (guarded.metrics(), "/metrics", "401"),
    ] {
        let (head, _) = say(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
        assert!(head.contains("connection: close"), "{path}: {head}");
    }
}

/// `promtool` is of the package `prometheus`; where it is not installed, there is nobody to ask.
#[test]
fn promtool_finds_nothing_to_complain_of() {
    let asked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = asked else {
        eprintln!("skipped: no promtool in PATH");
        return;
    };
    promtool.stdin.take().unwrap().write_all(scraped().as_bytes()).unwrap();
    let said = promtool.wait_with_output().unwrap();
    let said = (said.status.code(), String::from_utf8(said.stdout), String::from_utf8(said.stderr));
    assert_eq!(said, (Some(0), Ok(String::new()), Ok(String::new())));
}

#[test]
fn every_sample_stands_under_its_head() {
    let (mut family, mut is_histogram) = (String::new(), false);
    let text = scraped();
    for line in text.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(head) => {
                let (name, kind) = head.split_once(' ').unwrap();
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                (family, is_histogram) = (name.to_owned(), kind == "histogram");
            }
            None if line.starts_with('#') => (),
            None => {
                let name = &line[..line.find(['{', ' ']).unwrap()];
                let part = name.strip_prefix(&*family);
                let parts = if is_histogram { &["_bucket", "_sum", "_count"][..] } else { &[""] };
                assert!(part.is_some_and(|part| parts.contains(&part)), "{line}");
            }
        }
    }
}

#[test]
fn a_scrape_of_an_appliance_that_stops_fails() {
    block_on(async {
        let exporter = Exporter::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = exporter.address().unwrap();
        let (requests, asked) = mpsc::channel(1);
        drop(asked);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(exporter.serve(requests, async { drop(stopped.await) }));
        let (head, _) = tokio::task::spawn_blocking(move || get(address, "/metrics")).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        drop(stop);
        serving.await.unwrap();
    });
}

#[test]
fn an_address_that_is_taken_is_told_with_its_remedy() {
    block_on(async {
        let first = Exporter::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let error = Exporter::bind(first.address().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("set another [metrics] listen"), "{error}");
    });
}
