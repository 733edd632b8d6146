//! The announcements of a running appliance: the plan follows health, configuration and stalls; and an appliance is drained.

use std::sync::Arc;
use std::time::Duration;

use guideway_model::service::ServiceState;

use super::event_log::Note;
use crate::announce::{Announced, Announcer, ApplianceState, Guard, GuardState, Messenger, Planner, Stage};
use crate::api::view::{self, DrainEnd, EventKind};
use crate::run::appliance::Appliance;

/// The time without a forwarded packet after which traffic has ended.
const QUIET: Duration = Duration::from_secs(5);

/// The announcer, and what its plan is made of.
#[derive(Debug)]
pub(super) struct Announcements {
    announcer: Announcer,
    planner: Planner,
    /// The basis of the plan in force.
    basis: Option<Basis>,
    drain: Option<Drain>,
    /// The appliance ends, and everything is withdrawn.
    stops: bool,
    /// State of the guard at the latest look.
    guard: Option<GuardState>,
}

/// The facts that a plan depends on: the state of services is in each snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Basis {
    configuration_generation: u64,
    snapshot_generation: u64,
    appliance_state: ApplianceState,
}

/// The drain of an appliance.
#[derive(Clone, Copy, Debug)]
struct Drain {
    deadline: Duration,
    /// The appliance stops when the drain has ended.
    stops: bool,
    /// Packets that had been forwarded at the latest look.
    forwarded: u64,
    /// Time since which no packet has been forwarded and all has been withdrawn.
    quiet_since: Duration,
    end: Option<DrainEnd>,
}

/// State of the appliance's own parts that keeps it from serving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Obstacles {
    /// A worker has not polled for a while.
    pub(super) stalled_worker: bool,
    /// The links of all ports are down.
    pub(super) no_link: bool,
}

/// News of a look at the announcements.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) notes: Vec<Note>,
    /// A drain has ended after which the appliance is to stop.
    pub(super) stops: bool,
}

impl Announcements {
    /// Announces nothing yet; `guard` withdraws what was announced should this process end otherwise than in good order.
    /// A messenger tells the hooks, where there is one.
    ///
    /// # Panics
    /// Outside of a tokio runtime, where there is a guard.
    pub(super) fn new(guard: Option<Guard>, messenger: Option<Arc<dyn Messenger>>) -> Self {
        let announcer = messenger.into_iter().fold(Announcer::new(guard), Announcer::told_by);
        Self {
            guard: announcer.guard(),
            announcer,
            planner: Planner::default(),
            basis: None,
            drain: None,
            stops: false,
        }
    }

    /// Makes another plan where anything that it depends on has changed, or a hold-down has ended.
    pub(super) fn plan(&mut self, appliance: &Appliance, obstacles: Obstacles, now: Duration) {
        let stage = match self {
            Self { stops: true, .. } => Stage::Stopping,
            Self { drain: Some(_), .. } => Stage::Draining,
            _ => Stage::Running,
        };
        let basis = Basis {
            configuration_generation: appliance.state().configuration_generation(),
            snapshot_generation: appliance.state().snapshot_generation(),
            appliance_state: ApplianceState {
                stage,
                has_stalled_worker: obstacles.stalled_worker,
                has_no_link: obstacles.no_link,
            },
        };
        if self.basis == Some(basis) && !self.planner.is_due(now) {
            return;
        }
        self.basis = Some(basis);
        let services = appliance.state().services();
        let healthy = |service: &str| services.get(service).map_or(0, ServiceState::healthy);
        let plan = self.planner.plan(appliance.config(), healthy, basis.appliance_state, now);
        self.announcer.want(&plan);
    }

    /// Looks at the hooks' progress, and at a drain's, of an appliance that has `forwarded` so many packets.
    pub(super) fn follow(&mut self, forwarded: u64, now: Duration) -> Progress {
        let mut progress = Progress { notes: self.news(now), stops: false };
        progress.notes.extend(self.guard_news());
        let is_settled = self.announcer.is_settled();
        if let Some(drain) = &mut self.drain
            && let Some(text) = drain.follow(forwarded, is_settled, now)
        {
            progress.notes.push(Note::new(EventKind::DrainEnded, text));
            progress.stops = drain.stops;
        }
        progress
    }

    /// Withdraws everything, for a bounded time; meanwhile, turns must go on.
    pub(super) fn withdraw_all(&mut self) -> impl Future<Output = ()> + use<> {
        self.stops = true;
        self.announcer.withdraw_all()
    }

    /// Logs what could not be withdrawn, and leaves it to the guard.
    pub(super) async fn relieve_guard(&mut self) {
        for left in self.announcer.status() {
            if left.progress.announced != Some(false) {
                let (who, address) = (&left.progress.wish.announcement, left.address);
                tracing::error!("{who}: {address} could not be withdrawn: routers may go on sending");
            }
        }
        self.announcer.relieve_guard().await;
    }

    /// Events of the hooks since the last call.
    pub(super) fn news(&mut self, now: Duration) -> Vec<Note> {
        let note = |Announced { address, progress, .. }| {
            let name = &progress.wish.announcement;
            let network = progress.wish.network.as_deref();
            let note = match (&progress.last_error, progress.announced) {
                (Some(error), _) => {
                    Note::new(EventKind::AnnouncementFailed, format!("{name}, {address}: {error}"))
                }
                (None, Some(true)) => {
                    Note::new(EventKind::RouteAnnounced, format!("{name} announces {address}"))
                }
                (None, _) => {
                    let reason = view::AnnouncementReason::from(progress.wish.reason);
                    let held = match progress.wish.hold_down_left_sec(now) {
                        Some(seconds) => format!("; it stays so for {seconds} s at least"),
                        None => String::new(),
                    };
                    Note::new(
                        EventKind::RouteWithdrawn,
                        format!("{name} withdraws {address}: {reason}{held}"),
                    )
                }
            };
            note.in_network(network)
        };
        self.announcer.news().into_iter().map(note).collect()
    }

    /// Events of the guard since the last call: a death, and the guard that follows. A guard that has ended may
    /// have withdrawn before, whatever it has ended of, so that the hooks are told everything again.
    fn guard_news(&mut self) -> Vec<Note> {
        let state = self.announcer.guard();
        let (Some(before), Some(now)) = (&self.guard, &state) else { return Vec::new() };
        if now.ends > before.ends {
            self.announcer.doubt();
        }
        let lost = (now.failures > before.failures).then(|| {
            let cause = now.last_error.as_deref().unwrap_or_default();
            let text = format!("{cause}: until another stands, a crash leaves announcements behind");
            Note::new(EventKind::GuardLost, text)
        });
        let restored = now.pid.filter(|_| now.restarts > before.restarts).map(|pid| {
            Note::new(
                EventKind::GuardRestored,
                format!("another guard stands over announcements: process {pid}"),
            )
        });
        let notes = lost.into_iter().chain(restored).collect();
        self.guard = state;
        notes
    }

    /// State of the guard, for operators; none where there is to be none.
    pub(super) fn guard(&self) -> Option<view::Guard> {
        let GuardState { pid, restarts, last_error, .. } = self.announcer.guard()?;
        Some(view::Guard { pid, restarts, last_error })
    }

    /// Begins a drain that lasts no longer than `patience`, or gives another deadline to the one that goes on.
    pub(super) fn drain(
        &mut self,
        patience: Duration,
        stops: bool,
        forwarded: u64,
        now: Duration,
    ) -> Option<Note> {
        let drain = Drain { deadline: now + patience, stops, forwarded, quiet_since: now, end: None };
        let is_first = self.drain.replace(drain).is_none();
        is_first.then(|| Note::new(EventKind::ApplianceDrained, "the operator drains the appliance"))
    }

    /// Ends a drain; returns its event if there was one.
    pub(super) fn undrain(&mut self) -> Option<Note> {
        let text = "the operator has the appliance serve again";
        self.drain.take().map(|_| Note::new(EventKind::ApplianceUndrained, text))
    }

    /// State of the drain, for operators; none where the appliance is not drained.
    pub(super) fn drain_state(&self, now: Duration) -> Option<view::Drain> {
        let Drain { deadline, stops, quiet_since, end, .. } = self.drain?;
        Some(view::Drain {
            withdrawn: self.announcer.is_settled(),
            quiet_sec: now.saturating_sub(quiet_since).as_secs(),
            deadline_sec: deadline.saturating_sub(now).as_secs(),
            end,
            stops,
            answered_vips: Vec::new(),
        })
    }

    /// State of each announced address, for operators.
    pub(super) fn states(&self, now: Duration) -> Vec<view::Announcement> {
        self.announcer.status().into_iter().map(|one| view::Announcement::new(one, now)).collect()
    }
}

impl Drain {
    /// Looks at how far the drain is; returns the reason when it ends.
    fn follow(&mut self, forwarded: u64, is_settled: bool, now: Duration) -> Option<&'static str> {
        if self.end.is_some() {
            return None;
        }
        if forwarded != self.forwarded || !is_settled {
            (self.forwarded, self.quiet_since) = (forwarded, now);
        }
        let (end, text) = if now.saturating_sub(self.quiet_since) >= QUIET {
            (DrainEnd::Quiet, "no packet has been forwarded for a while")
        } else if now >= self.deadline {
            (DrainEnd::Deadline, "the deadline has passed")
        } else {
            return None;
        };
        self.end = Some(end);
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use guideway_model::config::Config;
    use guideway_model::forwarding_state::Setup;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_drain_ends_once_when_nothing_was_forwarded_for_a_while() {
        let mut announcements = Announcements::new(None, None);
        assert!(announcements.drain(60 * SECOND, true, 10, SECOND).is_some());
        assert!(announcements.drain(60 * SECOND, true, 10, SECOND).is_none(), "it goes on");
        let mut look = |forwarded, seconds: u32| {
            let progress = announcements.follow(forwarded, seconds * SECOND);
            (progress.notes.len(), progress.stops)
        };
        assert_eq!(look(11, 2), (0, false));
        assert_eq!(look(11, 6), (0, false), "a packet was forwarded four seconds ago");
        assert_eq!(look(11, 7), (1, true));
        assert_eq!(look(11, 8), (0, false));
        let drain = announcements.drain_state(8 * SECOND).expect("it is drained");
        assert_eq!((drain.end, drain.quiet_sec), (Some(DrainEnd::Quiet), 6));
        assert!(announcements.undrain().is_some());
        assert!(announcements.undrain().is_none());
        assert_eq!(announcements.drain_state(8 * SECOND), None);
    }

    #[test]
    fn a_drain_under_traffic_ends_at_its_deadline() {
        let mut announcements = Announcements::new(None, None);
        announcements.drain(3 * SECOND, false, 0, Duration::ZERO);
        let ended = |announcements: &mut Announcements, seconds: u32| {
            let progress = announcements.follow(seconds.into(), seconds * SECOND);
            assert!(!progress.stops, "the operator did not ask for that");
            progress.notes.len()
        };
        assert_eq!([1, 2, 3, 4].map(|seconds| ended(&mut announcements, seconds)), [0, 0, 1, 0]);
        let end = announcements.drain_state(4 * SECOND).and_then(|drain| drain.end);
        assert_eq!(end, Some(DrainEnd::Deadline));
    }

    /// Appliance with an announcement that is always wanted.
    fn announcing() -> Appliance {
        let text = "[[forwarding_rule]]\nname = \"web\"\nip_address = \"203.0.113.10\"\nports = [80]\n\
                    backend_service = \"web\"\n\
                    [[backend_service]]\nname = \"web\"\nhealth_checks = [\"alive\"]\n\
                    backends = [{ group = \"web\" }]\n\
                    [[backend_group]]\nname = \"web\"\nendpoints = []\n\
                    [[health_check]]\nname = \"alive\"\ntype = \"TCP\"\n\
                    [[announcement]]\nname = \"one\"\npolicy = \"ALWAYS\"\nhold_down_sec = 10\n\
                    command = [\"/bin/true\"]\n";
        let config = Config::parse("test", text).unwrap_or_else(|errors| panic!("{errors}"));
        Appliance::new(config, &[], Setup::OFFLINE, Duration::ZERO)
    }

    #[test]
    fn an_address_comes_back_when_its_hold_down_has_ended_and_nothing_else_happens() {
        let appliance = announcing();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut announcements = Announcements::new(None, None);
            let mut reason_at = async |second: u32, stalled_worker| {
                let obstacles = Obstacles { stalled_worker, no_link: (20..30).contains(&second) };
                announcements.plan(&appliance, obstacles, second * SECOND);
                while !announcements.announcer.is_settled() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let one = &announcements.states(second * SECOND)[0];
                (one.reason.to_string(), one.hold_down_left_sec)
            };
            assert_eq!(reason_at(0, false).await, ("served".to_owned(), None));
            assert_eq!(reason_at(1, true).await, ("worker stalled".to_owned(), Some(10)));
            assert_eq!(reason_at(2, false).await, ("held down".to_owned(), Some(9)));
            assert_eq!(reason_at(10, false).await, ("held down".to_owned(), Some(1)));
            assert_eq!(reason_at(11, false).await, ("served".to_owned(), None));
            assert_eq!(reason_at(20, false).await, ("link down".to_owned(), Some(10)));
            assert_eq!(reason_at(29, false).await, ("link down".to_owned(), Some(1)));
            assert_eq!(reason_at(30, false).await, ("served".to_owned(), None));
        });
    }

    /// Messenger that notes what hooks are told.
    #[derive(Debug, Default)]
    struct Notebook(std::sync::Mutex<Vec<bool>>);

    impl Messenger for Notebook {
        fn tell<'m>(
            &'m self,
            _: &'m guideway_model::config::Hook,
            announced: bool,
            _: guideway_model::config::VipRange,
        ) -> crate::announce::Told<'m> {
            self.0.lock().expect("no test has failed").push(announced);
            Box::pin(std::future::ready(Ok(())))
        }
    }

    #[test]
    fn whatever_a_guard_ends_of_hooks_are_told_everything_again() {
        use std::process::{Command, Stdio};

        let appliance = announcing();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            // A guard that ends after two lines, as after a silence, and one that stays.
            let scripts = std::sync::Mutex::new(["read a; read b", "cat"].into_iter());
            let guard = Guard::start_by(Arc::new(move || {
                let script = scripts.lock().expect("no test has failed").next().unwrap_or("cat");
                Command::new("/bin/sh")
                    .args(["-c", script])
                    .stdin(Stdio::piped())
                    .stdout(Stdio::null())
                    .spawn()
            }));
            let notebook = Arc::new(Notebook::default());
            let mut announcements =
                Announcements::new(guard.ok(), Some(Arc::clone(&notebook) as Arc<dyn Messenger>));
            announcements.plan(&appliance, Obstacles::default(), SECOND);
            for turn in 1..60_000 {
                // No turn is late: the control thread's own clock tells nothing.
                announcements.follow(0, SECOND + Duration::from_millis(turn));
                if announcements.guard().is_some_and(|guard| guard.restarts == 1)
                    && announcements.announcer.is_settled()
                    && notebook.0.lock().expect("no test has failed").len() == 2
                {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(*notebook.0.lock().expect("no test has failed"), [true, true]);
        });
    }
}
