//! Many health checks on one thread: each begins a probe every interval, and what they hold is bounded.
//!
//! `guideway-bench health` measures more of them beside a busy worker; here it is counts alone that are held to a bound.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use guideway::health::lag::Lag;
use guideway::health::monitor::Monitor;
use guideway::health::probe::ProbeResult;
use guideway::health::scheduler::{Pace, Scheduler};
use guideway::health::state::CheckId;
use guideway::net::probe_tcp::{Handle, Limits, ProbeTcp};
use guideway_dataplane::ingress::NetworkId;
use guideway_dataplane::network::OwnAddresses;
use guideway_model::config::Config;
use guideway_model::forwarding_state::{ForwardingState, Setup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, timeout};

const INTERVAL: Duration = Duration::from_secs(1);

/// The share by which a check's interval may differ from the configured one, either way: the scheduler's jitter.
const JITTER: f64 = 1.0 / 32.0;

/// The most probes that a check may have begun in a time: the first at once, and each that follows no earlier than its
/// interval and jitter after the one before was due.
fn at_most(time: Duration) -> u64 {
    (time.as_secs_f64() / (1.0 - JITTER)) as u64 + 1
}

/// The fewest probes and missed intervals that a check has had: the first comes within a second.
fn at_least(time: Duration) -> u64 {
    (time.saturating_sub(INTERVAL).as_secs_f64() / (1.0 + JITTER)) as u64
}

fn describe(lag: &Lag) -> String {
    let [p50, p99, max] = [0.5, 0.99, 1.0].map(|share| lag.at_quantile(share));
    let (begun, missed) = (lag.begun(), lag.missed());
    format!("{begun} probes, late by p50 {p50:?}, p99 {p99:?}, max {max:?}; {missed} intervals missed")
}

/// Two thousand checks for a minute of a clock that stands still while anybody works.
#[test]
fn two_thousand_checks_miss_no_interval_and_spread_their_probes() {
    const CHECKS: usize = 2_000;
    const MINUTE: Duration = Duration::from_secs(60);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let (reports, mut received) = mpsc::channel(1_024);
        let mut scheduler = Scheduler::new(reports);
        let (under_way, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for number in 0..CHECKS {
            let id = CheckId { service: "svc".into(), backend: number.to_string(), rule: "rule".into() };
            let (under_way, most) = (Rc::clone(&under_way), Rc::clone(&most));
            scheduler.start(id, Pace { interval: INTERVAL, timeout: INTERVAL }, move || {
                let (under_way, most) = (Rc::clone(&under_way), Rc::clone(&most));
                async move {
                    under_way.set(under_way.get() + 1);
                    most.set(most.get().max(under_way.get()));
                    sleep(Duration::from_millis(50)).await;
                    under_way.set(under_way.get() - 1);
                    ProbeResult::Well(None)
                }
            });
        }
        let mut probes: HashMap<String, u64> = HashMap::new();
        let end = Instant::now() + MINUTE;
        while let Ok(Some(report)) = tokio::time::timeout_at(end, received.recv()).await {
            *probes.entry(report.id.backend).or_default() += 1;
        }
        println!("{}; at most {} probes at once", describe(scheduler.lag()), most.get());
        assert_eq!(scheduler.lag().missed(), 0);
        assert_eq!(probes.len(), CHECKS);
        let expected = at_least(MINUTE)..=at_most(MINUTE);
        assert!(probes.values().all(|count| expected.contains(count)), "{expected:?}");
        // A twentieth of a second each: a twentieth of the checks at a time, or a few times as many by chance.
        assert!(most.get() < CHECKS / 5, "{} at once", most.get());
    });
}

/// Backends at loopback addresses, which packets cannot be sent to and the kernel's probes can.
fn config(backends: usize, port: u16) -> Config {
    let endpoints: String = (0..backends)
        .map(|number| {
            format!("{{ name = \"b{number}\", ip_address = \"10.0.{}.{}\" }},\n", number / 250, number % 250)
        })
        .collect();
    let text = format!(
        "[[forwarding_rule]]\nname = \"rule\"\nip_address = \"203.0.113.1\"\nports = [80]\nbackend_service = \"svc\"\n\
         [[backend_service]]\nname = \"svc\"\nhealth_checks = [\"page\"]\nbackends = [{{ group = \"svc\" }}]\n\
         [[health_check]]\nname = \"page\"\ntype = \"HTTP\"\nport = {port}\ntransport = \"kernel\"\n\
         check_interval_sec = 1\ntimeout_sec = 1\nhealthy_threshold = 1\n\
         [[backend_group]]\nname = \"svc\"\nendpoints = [\n{endpoints}]\n"
    );
    let mut config = Config::parse("scale", &text).unwrap_or_else(|errors| panic!("{errors}"));
    for endpoint in &mut config.groups[0].endpoints {
        if let IpAddr::V4(address) = &mut endpoint.address {
            let [_, _, high, low] = address.octets();
            *address = [127, 1, high, low].into();
        }
    }
    config
}

/// The number of files that the process has open.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Answers every request until it is dropped.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::task::spawn_local(async move {
            let mut request = [0; 1_024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        });
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().block_on(&Builder::new_current_thread().enable_all().build().unwrap(), test)
}

#[test]
fn the_kernels_probes_of_two_hundred_backends_are_all_made_and_give_their_sockets_back() {
    const BACKENDS: usize = 200;
    const PROBES: u64 = 3;
    /// Far longer than it takes on any machine.
    const PATIENCE: Duration = Duration::from_secs(60);
    run(async {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let config = config(BACKENDS, listener.local_addr().unwrap().port());
        tokio::task::spawn_local(serve(listener));
        let setup = Setup { presumed_healthy: false, ..Setup::OFFLINE };
        let state = ForwardingState::new(config, setup, Duration::ZERO);
        let stack = Handle::new(ProbeTcp::new(OwnAddresses::default(), 1, Limits::default()));
        let (reports, mut received) = mpsc::channel(1_024);
        let mut monitor = Monitor::new([(NetworkId::FIRST, stack)].into(), reports);
        let (before, begun) = (descriptors(), Instant::now());
        assert!(monitor.configure(state.config(), state.services(), Duration::ZERO).is_empty());

        let mut probes: HashMap<String, u64> = HashMap::new();
        let mut most = 0;
        while probes.len() < BACKENDS || probes.values().any(|count| *count < PROBES) {
            let report = timeout(PATIENCE, received.recv()).await.expect("probes go on").unwrap();
            monitor.take_in(&report, begun.elapsed());
            *probes.entry(report.id.backend).or_default() += 1;
            most = most.max(descriptors());
            assert!(begun.elapsed() < PATIENCE, "{probes:?}");
        }
        let (lag, elapsed) = (monitor.lag(), begun.elapsed());
        println!("{}; {} descriptors at most, {before} before", describe(lag), most);
        let passed = |backend: &String| monitor.state().backend("svc", backend).unwrap().is_healthy();
        assert!(probes.keys().all(passed), "each backend has answered");
        assert!(probes.values().all(|count| *count <= at_most(elapsed)), "none is probed too often");
        assert!(lag.begun() + lag.missed() <= (at_most(elapsed) + 1) * BACKENDS as u64);
        // Where none was as late as an interval, there is none to miss.
        assert!(lag.missed() == 0 || lag.at_quantile(1.0) >= INTERVAL / 2, "{}", describe(lag));
        // Both ends of each probe under way.
        assert!(most <= before + 2 * BACKENDS, "{most} descriptors");

        drop(monitor);
        for _ in 0..5_000 {
            if descriptors() <= before {
                break;
            }
            sleep(Duration::from_millis(1)).await;
        }
        assert!(descriptors() <= before, "probes leave no descriptor behind");
    });
}
