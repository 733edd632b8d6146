//! Stalls of the control thread and of a worker, which take no backend out.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use guideway::api::request::Request;
use guideway::api::view::{EventKind, Health};
use guideway::health::probe::ProbeResult;

use crate::operator::*;

/// Longer than any rest of a test by much: a probe of that time that fails has lost most of it to the rest.
const PROBE: Duration = Duration::from_millis(800);

/// The failures that were discarded so far.
async fn discarded(operator: &Operator) -> u64 {
    let status = operator.ask(|reply| Request::Status { reply }).await.unwrap();
    status.health_checks.expect("it watches").failures_discarded
}

/// Makes both backends healthy.
async fn both_are_healthy(operator: &Operator) {
    for backend in ["a", "b", "a", "b"] {
        operator.report(backend, Ok(None)).await;
    }
    operator.backend_when("b", |backend| backend.health == Health::Healthy).await;
}

/// Has a probe of `a` fail twice, and those of `b`; the probes took as long as a timeout.
async fn all_time_out(operator: &Operator) {
    for backend in ["a", "b", "a", "b"] {
        operator.report_after(PROBE, backend, ProbeResult::unwell("no answer within 1 s")).await;
    }
}

#[test]
fn probes_that_fail_while_the_control_thread_stands_still_take_nobody_out() {
    let result = with_watch("control-stall", CONFIG, |operator| async move {
        both_are_healthy(&operator).await;
        let latest = operator.ask(|reply| Request::Events { limit: 1, after: None, reply }).await.unwrap();
        let last = latest.events[0].id;
        // The supervisor is on this thread.
        thread::sleep(PROBE);
        all_time_out(&operator).await;
        assert_eq!(discarded(&operator).await, 4);
        assert_eq!(operator.backend("a").await.health, Health::Healthy);
        assert_eq!(operator.events_after(last).await, [(EventKind::ProbesDiscarded, None)], "told once");
        // A failure at once is the backend's own.
        operator.report("a", Err("status 503")).await;
        operator.report("a", Err("status 503")).await;
        operator.backend_when("a", |backend| backend.health == Health::Unhealthy).await;
        assert_eq!(discarded(&operator).await, 4);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn probes_that_fail_while_a_worker_does_not_poll_take_nobody_out() {
    let result = with_watch("worker-stall", CONFIG, |operator| async move {
        both_are_healthy(&operator).await;
        operator.worker_rests.store(true, Ordering::Relaxed);
        // Time passes in steps that are no stall of this thread.
        for _ in 0..PROBE.as_millis() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        all_time_out(&operator).await;
        assert_eq!(discarded(&operator).await, 4);
        assert_eq!(operator.backend("a").await.health, Health::Healthy);
        operator.worker_rests.store(false, Ordering::Relaxed);
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn flapping_backends_make_few_snapshots_while_a_worker_rests() {
    let result = with_watch("flapping", CONFIG, |mut operator| async move {
        both_are_healthy(&operator).await;
        let status = async || operator.ask(|reply| Request::Status { reply }).await.unwrap();
        let before = status().await.snapshot_generation;
        operator.worker_rests.store(true, Ordering::Relaxed);
        for _ in 0..400 {
            for result in [Ok(None), Ok(None), Err("status 503"), Err("status 503")] {
                operator.report("b", result).await;
            }
        }
        operator.backend_when("b", |backend| backend.health_check.as_ref().unwrap().turns >= 800).await;
        let flapped = status().await;
        let made = flapped.snapshot_generation - before;
        assert!(made < 400, "{made} snapshots of 800 changes");
        assert!(flapped.changes_coalesced > 400, "{}", flapped.changes_coalesced);
        assert!(flapped.unreclaimed_snapshots <= 256, "{}", flapped.unreclaimed_snapshots);
        // An operator's change is not slowed: the snapshot has it with the answer.
        let generation = flapped.snapshot_generation;
        operator.drain("b", None).await.unwrap();
        assert!(status().await.snapshot_generation > generation);

        operator.worker_rests.store(false, Ordering::Relaxed);
        let mut left = u64::MAX;
        for _ in 0..5_000 {
            left = status().await.unreclaimed_snapshots;
            if left == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(left, 0, "all are given back");
        for src_port in 1_000..1_010 {
            operator.send(&to_vip(src_port));
            // Probes of the appliance's own come by the same wire.
            let is_clients = |frame: &[u8]| frame[12..14] == [8, 0] && frame[26..30] == [192, 0, 2, 50];
            assert_eq!(operator.receive(is_clients).await[5], 0xa, "{src_port}");
        }
        stop(&operator).await;
    });
    assert_eq!(result, Ok(()));
}
