//! The start of probes on time: each check has a task of its own, which begins a probe every interval, however long the
//! last one took.

use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::lag::Lag;
use super::probe::ProbeResult;
use super::state::CheckId;

/// The longest delay of a check's first probe, where its interval is not shorter: backends that are configured
/// together are not probed at once, and none waits long for its first probe.
const FIRST_SPREAD: Duration = Duration::from_secs(1);

/// The range of a start's jitter, as a share of the interval: half of it may be early, half of it late.
const JITTER: f64 = 1.0 / 16.0;

/// The times of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Time from one start to the next.
    pub interval: Duration,
    /// The longest time that a probe may take.
    pub timeout: Duration,
}

/// The report of one probe that has ended.
#[derive(Debug)]
pub struct ProbeReport {
    /// The check that the probe was made for.
    pub id: CheckId,
    /// The result.
    pub result: ProbeResult,
    /// Time that the probe took.
    pub latency: Duration,
    /// Moment at which the probe ended.
    pub ended: Instant,
}

/// The tasks of all checks; dropped, it ends them.
#[derive(Debug)]
pub struct Scheduler {
    tasks: BTreeMap<CheckId, Task<()>>,
    reports: mpsc::Sender<ProbeReport>,
    lag: Rc<Lag>,
}

/// A task that ends when this is dropped.
#[derive(Debug)]
struct Task<T>(JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Scheduler {
    /// A scheduler without checks, which sends the reports of probes to `reports`.
    pub fn new(reports: mpsc::Sender<ProbeReport>) -> Self {
        Self { tasks: BTreeMap::new(), reports, lag: Rc::default() }
    }

    /// Begins the check `id`, each of whose probes is a future that `probe` makes; an earlier task of the check ends.
    ///
    /// # Panics
    /// Outside of a [`tokio::task::LocalSet`].
    pub fn start<P, F>(&mut self, id: CheckId, pace: Pace, probe: P)
    where
        P: Fn() -> F + 'static,
        F: Future<Output = ProbeResult> + 'static,
    {
        let (reports, lag) = (self.reports.clone(), Rc::clone(&self.lag));
        let name = id.clone();
        let task = tokio::task::spawn_local(async move {
            let first = pace.interval.min(FIRST_SPREAD).mul_f64(fastrand::f64());
            let mut due = Instant::now() + first;
            // An interval after the last start, whatever made the next one late.
            let mut expected = due;
            loop {
                sleep_until(due).await;
                let started = Instant::now();
                lag.note(started - due);
                lag.miss(whole_intervals(started.saturating_duration_since(expected), pace.interval));
                expected = started + pace.interval;
                // A task of its own: one that panics must not end the check with it.
                let mut probing = Task(tokio::task::spawn_local(probe()));
                let result = match timeout_at(started + pace.timeout, &mut probing.0).await {
                    Ok(Ok(result)) => result,
                    Ok(Err(failed)) => ProbeResult::NotAsked(failed.to_string()),
                    Err(_) => ProbeResult::unwell(format!("no answer within {} s", pace.timeout.as_secs())),
                };
                let ended = Instant::now();
                if let ProbeResult::NotAsked(reason) = result {
                    tracing::warn!(service = name.service, backend = name.backend, reason, "not probed");
                } else {
                    let report = ProbeReport { id: name.clone(), result, latency: ended - started, ended };
                    if reports.send(report).await.is_err() {
                        return;
                    }
                }
                due = next(due, ended, &pace, fastrand::f64());
            }
        });
        self.tasks.insert(id, Task(task));
    }

    /// Ends the check `id`, and its probe that is under way.
    pub fn stop(&mut self, id: &CheckId) {
        self.tasks.remove(id);
    }

    /// The delays with which probes begin.
    pub fn lag(&self) -> &Lag {
        &self.lag
    }
}

/// The time at which the next probe is due: an interval after the last one was, with jitter, and never before that has
/// ended.
///
/// A probe that was started late does not put off those after it.
fn next(due: Instant, ended: Instant, pace: &Pace, share: f64) -> Instant {
    let jitter = pace.interval.mul_f64(JITTER * share);
    let next = due + pace.interval + jitter - pace.interval.mul_f64(JITTER / 2.0);
    next.max(ended)
}

/// The number of whole intervals in `time`.
fn whole_intervals(time: Duration, interval: Duration) -> u64 {
    (time.as_nanos() / interval.as_nanos().max(1)) as u64
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::probe::WeightReport;
    use super::*;

    fn id(backend: &str) -> CheckId {
        CheckId { service: "svc".to_owned(), backend: backend.to_owned(), rule: "rule".to_owned() }
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, test)
    }

    const PACE: Pace = Pace { interval: Duration::from_secs(10), timeout: Duration::from_secs(4) };

    #[test]
    fn probes_begin_an_interval_apart_however_long_they_take() {
        run(async {
            let (reports, mut received) = mpsc::channel(8);
            let mut scheduler = Scheduler::new(reports);
            scheduler.start(id("a"), PACE, || async {
                tokio::time::sleep(Duration::from_secs(3)).await;
                ProbeResult::Well(Some(WeightReport::Weight(9)))
            });
            let begun = Instant::now();
            let mut starts = Vec::new();
            for _ in 0..100 {
                let report = received.recv().await.unwrap();
                assert_eq!(report.result, ProbeResult::Well(Some(WeightReport::Weight(9))));
                starts.push(report.ended - report.latency);
            }
            assert!(starts[0] - begun <= FIRST_SPREAD);
            let gaps: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let bound = PACE.interval.mul_f64(JITTER);
            assert!(gaps.iter().all(|gap| gap.abs_diff(PACE.interval) <= bound), "{gaps:?}");
            assert!(gaps.iter().any(|gap| *gap != gaps[0]), "they are spread");
            let whole = starts[99] - starts[0];
            assert!(whole.abs_diff(PACE.interval * 99) < PACE.interval * 2, "{whole:?}");
        });
    }

    #[test]
    fn a_probe_that_does_not_end_in_time_has_failed() {
        run(async {
            let (reports, mut received) = mpsc::channel(8);
            let mut scheduler = Scheduler::new(reports);
            scheduler.start(id("a"), PACE, std::future::pending);
            let report = received.recv().await.unwrap();
            assert_eq!(report.result, ProbeResult::unwell("no answer within 4 s"));
            assert_eq!(report.latency, PACE.timeout);
        });
    }

    #[test]
    fn a_probe_that_was_not_asked_is_not_reported() {
        run(async {
            let (reports, mut received) = mpsc::channel(8);
            let mut scheduler = Scheduler::new(reports);
            scheduler.start(id("a"), PACE, || async { ProbeResult::NotAsked("no port".to_owned()) });
            let end = Instant::now() + PACE.interval * 10;
            assert!(timeout_at(end, received.recv()).await.is_err());
            assert!((9..=11).contains(&scheduler.lag().begun()), "{}", scheduler.lag().begun());
            assert_eq!(scheduler.lag().missed(), 0);
        });
    }

    #[test]
    fn intervals_without_a_probe_are_missed_and_those_with_a_slow_one_are_not() {
        run(async {
            let (reports, mut received) = mpsc::channel(1);
            let mut scheduler = Scheduler::new(reports);
            let slow = Pace { interval: Duration::from_secs(10), timeout: Duration::from_secs(10) };
            scheduler.start(id("a"), slow, std::future::pending);
            for _ in 0..20 {
                received.recv().await.unwrap();
            }
            assert_eq!(scheduler.lag().missed(), 0, "it is late by its jitter, and never by an interval");
            // Nobody takes in the two that are under way: the check waits with the second.
            tokio::time::sleep(Duration::from_secs(75)).await;
            received.recv().await.unwrap();
            received.recv().await.unwrap();
            received.recv().await.unwrap();
            let missed = scheduler.lag().missed();
            assert!((4..=6).contains(&missed), "{missed}");
        });
    }

    #[test]
    fn what_is_stopped_is_probed_no_more() {
        run(async {
            let (reports, mut received) = mpsc::channel(8);
            let mut scheduler = Scheduler::new(reports);
            let probes = Rc::new(Cell::new(0));
            for backend in ["a", "b"] {
                let probes = Rc::clone(&probes);
                scheduler.start(id(backend), PACE, move || {
                    probes.set(probes.get() + 1);
                    async { ProbeResult::Well(None) }
                });
            }
            received.recv().await.unwrap();
            received.recv().await.unwrap();
            scheduler.stop(&id("a"));
            drop(scheduler);
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(probes.get(), 2);
        });
    }
}
