//! Health checks at scale: their punctuality, their cost, and the throughput that they leave to the workers.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use guideway::api::view::HealthChecks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, interval, sleep};

use crate::appliance::{CHECKED_PORT, Probing, Services, Session, cores, run as run_appliance};

/// Measures thousands of health checks by one core: their punctuality, and the throughput of a worker on another
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Backends, each probed by HTTP once a second
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    backends: u16,
    /// Seconds that each of the four runs takes: without checks, with, without, with
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(3..))]
    seconds: u64,
    /// Way of the probes
    #[arg(long, value_enum, default_value_t = Transport::InPath)]
    transport: Transport,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Transport {
    /// As packets of the worker, answered in memory
    InPath,
    /// As connections of the kernel to loopback addresses, answered by one server on the checker's core
    Kernel,
}

/// The scheduler's jitter: the real interval may be shorter or longer than the configured one by this share.
const JITTER: f64 = 1.0 / 32.0;

/// Measures and prints.
pub(crate) fn run(args: &Args) {
    let backends = usize::from(args.backends);
    let services = Services {
        backends,
        interval_sec: 1,
        transport: if args.transport == Transport::InPath { "in_path" } else { "kernel" },
        weight: None,
        threshold: 2,
    };
    println!(
        "{backends} backends, each probed once a second ({}), one worker, {} core(s), {} s a run",
        services.transport,
        cores().len(),
        args.seconds
    );
    let server = (args.transport == Transport::Kernel).then(Server::start);
    let runs = [Probing::Off, Probing::On, Probing::Off, Probing::On].map(|probing| {
        let made = run_appliance(&services, 1, probing, async |session| {
            measure(session, Duration::from_secs(args.seconds), server.as_ref()).await
        });
        println!("{}", made.describe());
        if let Some(checks) = &made.checks {
            check_count(checks, backends, made.window);
        }
        made
    });
    let ratio = |of: fn(&Run) -> f64| (of(&runs[1]) + of(&runs[3])) / (of(&runs[0]) + of(&runs[2]));
    println!(
        "throughput with checks, of that without: {:.3} by the clock, {:.3} by the worker's processor time",
        ratio(|run| run.packets as f64 / run.window.as_secs_f64()),
        ratio(|run| run.packets as f64 / run.worker_cpu.as_secs_f64()),
    );
}

/// Results of one run.
struct Run {
    window: Duration,
    /// Packets that the worker forwarded.
    packets: u64,
    worker_cpu: Duration,
    control_cpu: Duration,
    checks: Option<HealthChecks>,
    healthy: u32,
    most_descriptors: usize,
    resident_before: usize,
    most_resident: usize,
}

impl Run {
    fn describe(&self) -> String {
        let seconds = self.window.as_secs_f64();
        let packets = self.packets as f64;
        let mut text = format!(
            "{} checks: {:.3} M packets/s, {:.1} ns of the worker's processor time each; control thread {:.1} % of a core",
            if self.checks.is_some() { "with" } else { "without" },
            packets / seconds / 1e6,
            self.worker_cpu.as_secs_f64() * 1e9 / packets,
            self.control_cpu.as_secs_f64() / seconds * 100.0,
        );
        if let Some(HealthChecks { probes_begun, intervals_missed, start_lag, .. }) = &self.checks {
            text += &format!(
                "\n  {probes_begun} probes, {intervals_missed} intervals missed; late by p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms\n  \
                 {} backends healthy; at most {} descriptors; {:.1} MiB resident before, {:.1} MiB at most",
                start_lag.median_ms,
                start_lag.p99_ms,
                start_lag.max_ms,
                self.healthy,
                self.most_descriptors,
                mebibytes(self.resident_before),
                mebibytes(self.most_resident),
            );
        }
        text
    }
}

/// Compares the count of probes with the number of intervals: none may be lost without being counted as missed.
fn check_count(checks: &HealthChecks, backends: usize, window: Duration) {
    // The first comes within a second, and each that follows within an interval and its jitter.
    let least = ((window.as_secs_f64() - 1.0) / (1.0 + JITTER)).floor() as u64;
    let most = (window.as_secs_f64() / (1.0 - JITTER)).ceil() as u64 + 1;
    let begun = checks.probes_begun + checks.intervals_missed;
    let expected = least * backends as u64..=most * backends as u64;
    assert!(expected.contains(&begun), "{begun} probes, {expected:?} were expected");
}

async fn measure(session: &Session, window: Duration, server: Option<&Server>) -> Run {
    let forwarded = || session.workers.iter().map(|worker| worker.read().pipeline.forwarded).sum::<u64>();
    let worker_cpu =
        || session.threads.iter().map(|thread| processor_time(&thread.to_string())).sum::<Duration>();
    let resident_before = resident();
    let (packets, worker, control) = (forwarded(), worker_cpu(), processor_time("self"));
    let begun = Instant::now();
    let (mut most_descriptors, mut most_resident) = (0, resident_before);
    let mut looks = interval(Duration::from_millis(250));
    while begun.elapsed() < window {
        looks.tick().await;
        // The server's end of a connection is a descriptor of this process too.
        let of_server = server.map_or(0, Server::open);
        most_descriptors = most_descriptors.max(descriptors().saturating_sub(of_server));
        most_resident = most_resident.max(resident());
    }
    let (packets, worker, control) = (
        forwarded() - packets,
        worker_cpu().saturating_sub(worker),
        processor_time("self").saturating_sub(control),
    );
    let elapsed = begun.elapsed();
    let status = session.status().await;
    Run {
        window: elapsed,
        packets,
        worker_cpu: worker,
        control_cpu: control,
        checks: status.health_checks,
        healthy: status.services.iter().map(|service| service.healthy).sum(),
        most_descriptors,
        resident_before,
        most_resident,
    }
}

/// Number of files that the process has open.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

/// The process's memory, in bytes.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Processor time of one of the process's threads, named by its number, or of this one (`self`).
fn processor_time(thread: &str) -> Duration {
    let path = if thread == "self" {
        "/proc/thread-self/schedstat".to_owned()
    } else {
        format!("/proc/self/task/{thread}/schedstat")
    };
    let times = fs::read_to_string(path).unwrap_or_default();
    times.split(' ').next().and_then(|nanos| nanos.parse().ok()).map_or(Duration::ZERO, Duration::from_nanos)
}

/// All backends at once, as the kernel's probes see them: a server on every address of this host.
struct Server {
    open: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Server {
    /// Serves every address of this host; returns once it listens.
    fn start() -> Self {
        let server = Self { open: Arc::default(), stop: Arc::default() };
        let (open, stop) = (Arc::clone(&server.open), Arc::clone(&server.stop));
        let (ready, listens) = mpsc::channel();
        thread::spawn(move || {
            if let Some(core) = cores().first() {
                core_affinity::set_for_current(*core);
            }
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("the system has an epoll");
            tokio::task::LocalSet::new().block_on(&runtime, async {
                let listener = TcpListener::bind(("0.0.0.0", CHECKED_PORT)).await.expect("the port is free");
                ready.send(()).expect("the starter waits");
                while !stop.load(Ordering::Relaxed) {
                    tokio::select! {
                        accepted = listener.accept() => if let Ok((mut stream, _)) = accepted {
                            let open = Arc::clone(&open);
                            open.fetch_add(1, Ordering::Relaxed);
                            tokio::task::spawn_local(async move {
                                let mut request = [0; 1_024];
                                let _ = stream.read(&mut request).await;
                                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                                drop(stream);
                                open.fetch_sub(1, Ordering::Relaxed);
                            });
                        },
                        () = sleep(Duration::from_millis(100)) => {}
                    }
                }
            });
        });
        listens.recv().expect("the server listens");
        server
    }

    /// Number of open connections.
    fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}
