//! The API as any HTTP client meets it.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use guideway::api::admin::client::ClientError;
use guideway::api::admin::routes;
use guideway::api::admin::server::Server;
use guideway::api::view::{BackendList, Drops, ErrorView, VipList, WeightSource};
use guideway_model::config::{FileKind, NamedFile, Sources};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use crate::sample;
use crate::supervisor::{Appliance, Directory, block_on};

/// Sends a request as it is typed here; the status and the JSON of its answer.
fn ask(appliance: &Appliance, method: &str, path: &str, body: &str) -> (u16, Value) {
    ask_as(appliance, method, path, "application/json", body)
}

fn ask_as(appliance: &Appliance, method: &str, path: &str, kind: &str, body: &str) -> (u16, Value) {
    let mut stream = UnixStream::connect(appliance.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let len = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: guideway\r\nconnection: close\r\ncontent-type: {kind}\r\n\
         content-length: {len}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let _ = stream.shutdown(Shutdown::Both);
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn error_word(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_else(|| panic!("no error: {answer}"))
}

/// Request that a route is tried with.
fn example(path: &str) -> String {
    let path = path.replace("{service}", "web").replace("{backend}", "web-1");
    let path = path.replace("{address}", "203.0.113.10");
    match path.as_str() {
        "/v1/conntrack/flow" | "/v1/explain" => path + "?flow=tcp%20192.0.2.7:40001%20%3E%20203.0.113.10:443",
        "/v1/capture" => path + "?reasons=ttl_expired&packets=1",
        "/v1/conntrack/watch" => path + "?count=1",
        _ => path,
    }
}

#[test]
fn every_route_answers_its_method_and_no_other() {
    for (method, path) in routes() {
        let appliance = Appliance::start();
        let body = if method == "PUT" { "{\"weight\": 5}" } else { "" };
        let (status, answer) = ask(&appliance, method, &example(path), body);
        assert_eq!(status, 200, "{method} {path}: {answer}");
    }
    let appliance = Appliance::start();
    for (_, path) in routes() {
        let (status, answer) = ask(&appliance, "DELETE", &example(path), "");
        assert_eq!((status, error_word(&answer)), (405, "wrong_method"), "{path}");
    }
}

#[test]
fn views_come_as_the_supervisor_has_them() {
    let appliance = Appliance::start();
    let client = appliance.client();
    block_on(async {
        assert_eq!(client.status().await.unwrap(), sample::status(&sample::vips()));
        assert_eq!(client.stats().await.unwrap(), sample::stats());
        assert_eq!(client.drops().await.unwrap(), Drops::new(&sample::stats()));
        assert_eq!(client.vip_list().await.unwrap(), VipList { vips: sample::vips() });
        assert_eq!(client.service_list().await.unwrap().services, sample::services());
        assert_eq!(client.rule_list().await.unwrap().rules, sample::rules());
        let backends = sample::backends();
        assert_eq!(client.backend_list(None).await.unwrap(), BackendList { backends });
        assert_eq!(client.backend_get("web", "web-2").await.unwrap(), sample::backends()[2]);
        assert_eq!(client.events(2, None).await.unwrap().events, sample::events()[1..]);
        assert_eq!(client.events(1, Some(41)).await.unwrap().events, sample::events()[1..2]);
        let list = client.conntrack_list(Some("web"), Some("web-1"), 1).await.unwrap();
        assert_eq!((list.matching, list.entries.len()), (2, 1));
        let lookup = client.conntrack_get("tcp 192.0.2.7:40001 > 203.0.113.10:443", None).await.unwrap();
        assert_eq!(lookup.entry, Some(sample::entries().remove(1)));
    });
}

#[test]
fn commands_change_what_they_name_and_show_it() {
    let appliance = Appliance::start();
    let client = appliance.client();
    block_on(async {
        let drained = client.backend_drain("web", "web-2", Some(600)).await.unwrap();
        assert_eq!((drained.operator_drained, drained.entries_end_sec), (true, Some(600)));
        assert_eq!(client.backend_drain("web", "web-2", None).await.unwrap().entries_end_sec, None);
        assert_eq!(client.backend_remaining("web", "web-2").await.unwrap().sessions, 2);
        assert_eq!(client.xstats().await.unwrap(), sample::xstats());
        let probed = client.backend_probe("web", "web-2").await.unwrap();
        assert_eq!((&*probed.backend, probed.probes), ("web-2", sample::probes()));
        assert!(!client.backend_undrain("web", "web-2").await.unwrap().operator_drained);
        assert_eq!(client.backend_set_weight("web", "web-2", 1000).await.unwrap().weight, Some(1000));
        let reset = client.backend_reset("web", "web-2").await.unwrap();
        assert_eq!(reset.weight_source, WeightSource::Configured);
        let address = "203.0.113.10".parse().unwrap();
        let prefix = "2001:db8:1234::/96".parse().unwrap();
        assert!(client.vip_announce(prefix, None).await.unwrap().announced);
        assert_eq!(client.vip_withdraw(prefix, None).await.unwrap().address, prefix);
        assert!(client.vip_announce(address, None).await.unwrap().announced);
        assert!(!client.vip_withdraw(address, None).await.unwrap().announced);
        let reloaded = client.reload(false, false).await.unwrap();
        assert_eq!((reloaded.configuration_generation, reloaded.changes.len()), (3, 4));
    });
}

#[test]
fn a_request_that_cannot_be_met_says_why_and_what_to_do() {
    let appliance = Appliance::start();
    let weight = "/v1/services/web/backends/web-1/weight";
    let long = format!("{{\"weight\": 5, \"because\": \"{}\"}}", "x".repeat(8_192));
    for (method, path, body, status, word) in [
        ("GET", "/v1/nothing", "", 404, "unknown_route"),
        ("GET", "/", "", 404, "unknown_route"),
        ("POST", "/v1/status", "", 405, "wrong_method"),
        ("GET", "/v1/backends?service=nobody", "", 404, "unknown_service"),
        ("POST", "/v1/services/web/backends/nobody/drain", "", 404, "unknown_backend"),
        ("POST", "/v1/services/web/backends/web-3/drain", "", 409, "backend_removed"),
        ("POST", "/v1/services/web/backends/web-3/reset", "", 409, "backend_removed"),
        ("POST", "/v1/services/web/backends/web-2/drain?deadline=86401", "", 422, "wrong_query"),
        ("POST", "/v1/services/web/backends/web-2/drain?deadline=soon", "", 400, "wrong_query"),
        ("GET", "/v1/services/web/backends/nobody/remaining", "", 404, "unknown_backend"),
        ("PUT", "/v1/services/firewall/backends/fw-1/weight", "{\"weight\": 5}", 409, "service_not_weighted"),
        ("PUT", weight, "{\"weight\": 1001}", 422, "weight_out_of_range"),
        ("PUT", weight, "{\"weight\": 70000}", 422, "weight_out_of_range"),
        ("PUT", weight, "{\"weight\": -1}", 422, "wrong_body"),
        ("PUT", weight, "{\"weights\": 1}", 422, "wrong_body"),
        ("PUT", weight, "weight = 1", 400, "wrong_body"),
        ("PUT", weight, &long, 413, "wrong_body"),
        ("POST", "/v1/vips/203.0.113.99/announce", "", 404, "unknown_vip"),
        ("POST", "/v1/vips/2001:db8::10/withdraw", "", 409, "vip_not_announceable"),
        ("POST", "/v1/vips/example.com/announce", "", 400, "wrong_path"),
        ("POST", "/v1/vips/2001:db8:1234::%2F95/announce", "", 404, "unknown_vip"),
        ("POST", "/v1/vips/2001:db8:1234::1%2F96/announce", "", 400, "wrong_path"),
        ("GET", "/v1/conntrack?limit=10001", "", 422, "wrong_query"),
        ("GET", "/v1/events?limit=10001", "", 422, "wrong_query"),
        ("GET", "/v1/events?after=-1", "", 400, "wrong_query"),
        ("GET", "/v1/services/web/backends/nobody", "", 404, "unknown_backend"),
        ("GET", "/v1/conntrack?limits=10", "", 400, "wrong_query"),
        ("GET", "/v1/conntrack/flow", "", 400, "wrong_query"),
        ("GET", "/v1/conntrack/flow?flow=tcp", "", 422, "wrong_flow"),
        ("GET", "/v1/explain?flow=tcp", "", 422, "wrong_flow"),
        ("GET", "/v1/explain?flow=icmp%201.2.3.4%20%3E%205.6.7.8&unhealthy=web", "", 422, "wrong_query"),
        ("GET", "/v1/explain?flow=icmp%201.2.3.4%20%3E%205.6.7.8&network=red", "", 404, "unknown_network"),
        ("GET", "/v1/ring?service=nobody", "", 404, "unknown_service"),
        ("GET", "/v1/ring?unhealthy=web/nobody", "", 404, "unknown_backend"),
        ("GET", "/v1/ring?client=somebody", "", 400, "wrong_query"),
        ("POST", "/v1/plan?name=new.toml", "ports = 1", 422, "wrong_configuration"),
        ("POST", "/v1/plan?files=true", "ports = 1", 422, "wrong_body"),
        ("GET", "/v1/capture?reasons=ttl", "", 422, "unknown_reason"),
        ("GET", "/v1/capture?reasons=drop&packets=0", "", 422, "wrong_query"),
        ("GET", "/v1/capture", "", 422, "wrong_query"),
        ("GET", "/v1/capture?reasons=drop&as=came", "", 422, "wrong_query"),
        ("GET", "/v1/capture?client=everybody", "", 422, "wrong_query"),
        ("GET", "/v1/capture?vip=203.0.113.0/24:80", "", 422, "wrong_query"),
        ("GET", "/v1/capture?flow=tcp", "", 422, "wrong_flow"),
        ("GET", "/v1/capture?flow=icmp%201.2.3.4%20%3E%205.6.7.8&vip=5.6.7.8", "", 422, "wrong_query"),
        ("GET", "/v1/capture?service=nobody", "", 404, "unknown_service"),
        ("GET", "/v1/conntrack/watch?backend=nobody", "", 404, "unknown_backend"),
        ("GET", "/v1/conntrack/watch?count=0", "", 422, "wrong_query"),
        ("GET", "/v1/conntrack/watch?seconds=0", "", 422, "wrong_query"),
        ("GET", "/v1/trace?count=0", "", 422, "wrong_query"),
        ("GET", "/v1/trace?count=1001", "", 422, "wrong_query"),
        ("GET", "/v1/trace?flow=tcp", "", 422, "wrong_flow"),
        ("GET", "/v1/trace?packets=3", "", 400, "wrong_query"),
        ("GET", "/v1/capture?reasons=drop&seconds=86401", "", 422, "wrong_query"),
    ] {
        let (got, answer) = ask(&appliance, method, path, body);
        assert_eq!((got, error_word(&answer)), (status, word), "{method} {path} {answer}");
        let view: ErrorView = serde_json::from_value(answer).unwrap();
        assert!(!view.message.is_empty() && !view.help.is_empty(), "{method} {path}");
    }
    let (status, answer) = ask_as(&appliance, "PUT", weight, "text/plain", "{\"weight\": 5}");
    assert_eq!((status, error_word(&answer)), (415, "wrong_body"));
    let changed = block_on(appliance.client().backend_list(None)).unwrap();
    assert_eq!(changed.backends, sample::backends(), "nothing has changed");
}

#[test]
fn a_wrong_configuration_is_told_place_by_place() {
    let appliance = Appliance::start();
    for _ in 0..2 {
        assert_eq!(ask(&appliance, "POST", "/v1/reload", "").0, 200);
    }
    let (status, answer) = ask(&appliance, "POST", "/v1/reload?color=true", "");
    assert_eq!((status, error_word(&answer)), (422, "wrong_configuration"));
    assert_eq!(answer["file"], json!("/etc/guideway/guideway.toml"));
    assert_eq!((&answer["errors"][0]["line"], &answer["errors"][0]["column"]), (&json!(1), &json!(1)));
    assert!(answer["rendered"].as_str().unwrap().contains('\x1b'), "coloured, as it was asked for");
    let (status, unconfirmed) = ask(&appliance, "POST", "/v1/reload", "");
    assert_eq!((status, error_word(&unconfirmed)), (409, "removals_unconfirmed"));
    assert!(unconfirmed["help"].as_str().unwrap().contains("reload --yes"), "{unconfirmed}");
    let plain = ask(&appliance, "POST", "/v1/reload?confirm_removals=true", "").1;
    assert!(!plain["rendered"].as_str().unwrap().contains('\x1b'), "plain where nothing is asked for");
}

#[test]
fn a_supervisor_that_is_gone_is_told_as_such() {
    let directory = Directory::new();
    let socket = directory.path().join("admin.sock");
    block_on(async {
        let server = Server::bind(&socket).await.unwrap();
        let (requests, asked) = mpsc::channel(1);
        drop(asked);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(server.serve(requests, async { drop(stopped.await) }));
        let error = guideway::api::admin::client::Client::new(&socket).status().await.unwrap_err();
        assert!(matches!(&error, ClientError::Refused(view) if view.error == "stopping"), "{error}");
        drop(stop);
        serving.await.unwrap();
    });
}

#[test]
fn clients_beyond_the_last_place_wait_for_one() {
    let appliance = Appliance::start();
    let idle: Vec<_> = (0..64).map(|_| UnixStream::connect(appliance.socket()).unwrap()).collect();
    let socket = appliance.socket();
    let asked =
        std::thread::spawn(move || block_on(guideway::api::admin::client::Client::new(socket).status()));
    drop(idle);
    asked.join().unwrap().expect("those before it have gone");
}

#[test]
fn stopping_waits_for_the_end_of_the_socket() {
    let appliance = Appliance::start();
    let (stopping, gone) = block_on(appliance.client().stop(Duration::from_secs(60))).unwrap();
    assert_eq!((stopping.pid, gone), (4321, true));
    let error = block_on(appliance.client().status()).unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(..)), "{error}");
    assert!(error.to_string().contains("is guideway running?"), "{error}");
}

#[test]
fn an_appliance_whose_process_goes_on_has_not_stopped_though_its_socket_is_gone() {
    let appliance = Appliance::start_as(std::process::id());
    let (_, gone) = block_on(appliance.client().stop(Duration::from_millis(500))).unwrap();
    assert!(!gone, "this process goes on");
    let error = block_on(appliance.client().status()).unwrap_err();
    assert!(matches!(error, ClientError::Unreachable(..)), "{error}");
}

#[test]
fn a_configuration_is_planned_with_the_files_that_it_names() {
    let appliance = Appliance::start();
    let mut sources = Sources::of_text("new.toml", "[fleet]\nseed_file = \"seed\"\n");
    let plan = |sources: &Sources| block_on(appliance.client().plan(sources.clone(), false));
    let ClientError::Refused(refused) = plan(&sources).unwrap_err() else { panic!("the seed is missing") };
    assert_eq!(refused.error, "wrong_configuration");
    sources.named.push(NamedFile {
        kind: FileKind::Seed,
        named_in: 0,
        path: "seed".to_owned(),
        name: "/etc/seed".to_owned(),
        text: Ok("00".repeat(16)),
        is_public: false,
    });
    plan(&sources).unwrap();
}
