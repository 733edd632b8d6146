//! From probe to packet: the time from a probe that turns a backend to workers that forward by it.

use std::time::Duration;

use guideway::health::probe::{ProbeResult, WeightReport};
use guideway::health::scheduler::ProbeReport;
use guideway::health::state::CheckId;
use guideway_engine::counters::CountersReader;
use hdrhistogram::Histogram;
use tokio::time::{Instant, sleep};

use crate::appliance::{Probing, Services, Session, backend, rule, run as run_appliance};

/// Measures the time from a deciding probe to busy workers that forward by its outcome
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Backends, of weights from 1 on
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(2..=1000))]
    backends: u16,
    /// Busy workers; as many as there are cores share one with the control thread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    workers: u8,
    /// Backends that turn, one after another
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    flips: u32,
}

/// The time after which a change that no worker follows fails the measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest time that is told apart, in microseconds.
const LONGEST_MICROS: u64 = 60_000_000;

/// Measures and prints.
pub(crate) fn run(args: &Args) {
    let backends = usize::from(args.backends);
    let services = Services {
        backends,
        // Nobody hears the appliance's own probes, so there need not be many.
        interval_sec: 300,
        transport: "in_path",
        weight: Some(weight),
        threshold: 1,
    };
    run_appliance(&services, args.workers.into(), Probing::Told, async |session| {
        for number in 0..backends {
            tell(session, number, true).await;
        }
        while session.status().await.services[0].healthy != u32::from(args.backends) {
            sleep(Duration::from_millis(10)).await;
        }
        println!(
            "{backends} backends of weights 1 to {backends}, 65,537 slots, {} busy worker(s), {} core(s)",
            args.workers,
            crate::appliance::cores().len()
        );
        one_by_one(session, backends, args.flips).await;
        at_once(session, backends / 2).await;
    });
}

fn weight(number: usize) -> u16 {
    number as u16 + 1
}

/// Backends turn one after another, now to the worse and now to the better.
async fn one_by_one(session: &Session, backends: usize, flips: u32) {
    let mut times = Histogram::<u64>::new_with_max(LONGEST_MICROS, 3).expect("three digits up to a minute");
    for flip in 0..flips as usize {
        // Not in step with the control thread's turns.
        sleep(Duration::from_micros(3_000 + (flip as u64 * 7_919) % 5_000)).await;
        let number = (flip / 2 * 37) % backends;
        let generation = newest(session);
        let ended = session.clock.elapsed();
        tell(session, number, flip % 2 == 1).await;
        times.saturating_record(followed(session, generation).await.saturating_sub(ended).as_micros() as u64);
    }
    println!("{flips} changes, one by one, from the probe's end to the last worker's first burst by it:");
    println!("  {}", quantiles(&times));
}

/// Many backends turn together.
async fn at_once(session: &Session, count: usize) {
    sleep(Duration::from_millis(100)).await;
    let before = session.status().await;
    let wanted = before.services[0].healthy - count as u32;
    let ended = session.clock.elapsed();
    for number in 0..count {
        tell(session, number, false).await;
    }
    let after = loop {
        sleep(Duration::from_millis(20)).await;
        let status = session.status().await;
        if status.services[0].healthy == wanted {
            break status;
        }
    };
    let last = followed(session, after.snapshot_generation - 1).await;
    let snapshots = after.snapshot_generation - before.snapshot_generation;
    let took = last.saturating_sub(ended).as_secs_f64() * 1e3;
    println!("{count} changes at once: {snapshots} publication(s), the last one followed after {took:.2} ms");
    assert!(snapshots <= 5, "a burst is a few snapshots");
}

/// The newest snapshot that a worker goes by.
fn newest(session: &Session) -> u64 {
    session.workers.iter().map(|worker| worker.adoption().generation).max().unwrap_or(0)
}

/// Time at which the last worker decided its first burst by a snapshot after `generation`. The queues are never empty, so
/// each poll has packets.
async fn followed(session: &Session, generation: u64) -> Duration {
    let begun = Instant::now();
    loop {
        let adoptions: Vec<_> = session.workers.iter().map(CountersReader::adoption).collect();
        if adoptions.iter().all(|adoption| adoption.generation > generation) {
            return adoptions.iter().map(|adoption| adoption.at).max().unwrap_or_default();
        }
        assert!(begun.elapsed() < PATIENCE, "the workers have not followed");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Reports that a probe of a backend has just ended.
async fn tell(session: &Session, number: usize, healthy: bool) {
    let (service, backend) = backend(number);
    let id = CheckId { rule: rule(&service), service, backend };
    let result = if healthy {
        ProbeResult::Well(Some(WeightReport::Weight(weight(number))))
    } else {
        ProbeResult::unwell("status 503")
    };
    let report = ProbeReport { id, result, latency: Duration::from_millis(1), ended: Instant::now() };
    session.senders.reports.send(report).await.expect("the supervisor runs");
}

/// Quantiles of times in microseconds, in words.
pub(crate) fn quantiles(times: &Histogram<u64>) -> String {
    let millis = |share| times.value_at_quantile(share) as f64 / 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", millis(0.5), millis(0.99), millis(1.0))
}
