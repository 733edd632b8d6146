//! Status page over HTTP: its parts, the headers that confine it, and the token.

use std::net::SocketAddr;

use guideway::api::metrics::Exporter;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::metrics::{ask, say};
use crate::supervisor::{Appliance, block_on};

const PARTS: [(&str, &str); 5] = [
    ("/", "text/html"),
    ("/status.json", "application/json"),
    ("/status.css", "text/css"),
    ("/status.js", "text/javascript"),
    ("/status.svg", "image/svg+xml"),
];

fn status(address: SocketAddr, method: &str, path: &str, further: &str) -> String {
    let (head, _) = ask(address, method, path, further);
    head.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn every_part_of_the_page_is_confined_and_holds_no_connection() {
    let appliance = Appliance::start();
    for (path, kind) in PARTS {
        let (head, body) = ask(appliance.metrics(), "GET", path, "");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        for line in [
            &format!("content-type: {kind}"),
            "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; ",
            "x-content-type-options: nosniff",
            "x-frame-options: DENY",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
            "connection: close",
        ] {
            assert!(head.contains(line), "{path}: no {line} in {head}");
        }
        assert!(!body.is_empty(), "{path}");
    }
}

#[test]
fn the_page_shows_what_status_and_top_say() {
    let appliance = Appliance::start();
    let (_, page) = ask(appliance.metrics(), "GET", "/", "");
    let line = block_on(appliance.client().status()).unwrap().condition.line();
    assert!(page.contains(&format!("<h1 class=\"bad\">{line}</h1>")), "{page}");
    for word in ["NEVER HEALTHY", "web-1", "ttl_expired", "0000:3b:02.0"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    let (_, update) = ask(appliance.metrics(), "GET", "/status.json", "");
    let update: Value = serde_json::from_str(&update).unwrap();
    assert_eq!(update["condition"]["degraded"], true);
    assert_eq!(update["title"], "DEGRADED · Guideway");
    assert!(update["as_of_unix_sec"].as_u64().unwrap() > 1_700_000_000);
    assert!(update["html"].as_str().unwrap().contains(&line), "{update}");
}

#[test]
fn the_listener_is_read_only() {
    let appliance = Appliance::start();
    for (path, _) in PARTS {
        assert_eq!(status(appliance.metrics(), "HEAD", path, ""), "200", "{path}");
        for method in ["POST", "PUT", "DELETE"] {
            assert_eq!(status(appliance.metrics(), method, path, ""), "405", "{path}");
        }
    }
}

#[test]
fn with_a_token_nothing_is_answered_to_whoever_does_not_bring_it() {
    let appliance = Appliance::start_guarded("0123456789abcdef");
    let paths = PARTS.iter().map(|(path, _)| (*path, "200"));
    for (path, right) in paths.chain([("/metrics", "200"), ("/nothing", "404")]) {
        let answer = |further: &str| status(appliance.metrics(), "GET", path, further);
        assert_eq!(answer(""), "401", "{path}");
        assert_eq!(answer("authorization: Bearer 0123456789abcdeg\r\n"), "401", "{path}");
        assert_eq!(answer("authorization: Bearer 0123456789abcdef\r\n"), right, "{path}");
        // `x:0123456789abcdef`, as a browser sends a password.
        assert_eq!(answer("authorization: Basic eDowMTIzNDU2Nzg5YWJjZGVm\r\n"), right, "{path}");
    }
    let (head, body) = ask(appliance.metrics(), "GET", "/", "");
    assert!(head.contains("www-authenticate: Basic realm=\"Guideway\""), "{head}");
    assert!(body.contains("[metrics] token_file") && !body.contains("web-1"), "{body}");
}

#[test]
fn on_loopback_a_page_whose_name_is_bound_anew_reads_nothing() {
    let appliance = Appliance::start();
    let asked = |lines: &str| {
        let (head, body) = say(appliance.metrics(), &format!("GET /status.json HTTP/1.1\r\n{lines}\r\n"));
        (head.split(' ').nth(1).unwrap().to_owned(), body)
    };
    for own in ["127.0.0.1:9477", "localhost:9477", "[::1]"] {
        assert_eq!(asked(&format!("host: {own}\r\n")).0, "200", "{own}");
    }
    let (status, body) = asked("host: rebound.example:9477\r\n");
    assert!(
        status == "421" && body.contains("`localhost`") && body.contains("token_file"),
        "{status} {body}"
    );
    let foreign = "host: localhost\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\n";
    assert_eq!(asked(foreign).0, "403");

    let guarded = Appliance::start_guarded("0123456789abcdef");
    let by_name = "host: lb.example\r\nauthorization: Bearer 0123456789abcdef\r\n";
    let (head, _) = say(guarded.metrics(), &format!("GET /metrics HTTP/1.1\r\n{by_name}\r\n"));
    assert!(head.starts_with("HTTP/1.1 200"), "whoever has the token may call it as he likes: {head}");
}

#[test]
fn a_listener_on_every_address_judges_by_the_one_that_was_asked() {
    block_on(async {
        let exporter = Exporter::bind("0.0.0.0:0".parse().unwrap()).await.unwrap();
        let port = exporter.address().unwrap().port();
        let (requests, asked) = mpsc::channel(1);
        drop(asked);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(exporter.serve(requests, async { drop(stopped.await) }));
        for (host, status) in [("rebound.example", "421"), ("localhost", "503")] {
            let request = format!("GET /status.json HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n");
            let ask = move || say(([127, 0, 0, 1], port).into(), &request);
            let (head, _) = tokio::task::spawn_blocking(ask).await.unwrap();
            assert_eq!(head.split(' ').nth(1), Some(status), "{head}");
        }
        drop(stop);
        serving.await.unwrap();
    });
}

#[test]
fn a_page_of_an_appliance_that_stops_says_so() {
    block_on(async {
        let exporter = Exporter::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = exporter.address().unwrap();
        let (requests, asked) = mpsc::channel(1);
        drop(asked);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(exporter.serve(requests, async { drop(stopped.await) }));
        let (head, body) = tokio::task::spawn_blocking(move || ask(address, "GET", "/", "")).await.unwrap();
        assert!(head.starts_with("HTTP/1.1 503") && body.contains("stops"), "{head}\n{body}");
        drop(stop);
        serving.await.unwrap();
    });
}
