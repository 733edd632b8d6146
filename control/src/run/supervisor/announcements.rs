//! What routers are told of the appliance: the plan follows health, configuration and stalls; and the appliance that is
//! drained.

use std::collections::HashMap;
use std::time::Duration;

use super::event_log::Note;
use super::{Next, Ports, Supervisor};
use crate::announce::{Announced, Announcer, ApplianceState, Guard, PATIENCE, Plan, Stage};
use crate::api::view::{self, DrainEnd, EventKind};

/// How long no packet must have been forwarded for traffic to have ended.
const QUIET: Duration = Duration::from_secs(5);

/// What the supervisor has of announcements.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    announcer: Announcer,
    /// What the plan in force was made of.
    basis: Option<Basis>,
    drain: Option<Drain>,
    stops: bool,
    /// When it was last looked at what has become of them.
    looked_at: Option<Duration>,
}

/// What a plan depends on: the state of services is in each snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Basis {
    configuration_generation: u64,
    snapshot_generation: u64,
    situation: ApplianceState,
}

/// An appliance that is drained.
#[derive(Clone, Copy, Debug)]
struct Drain {
    deadline: Duration,
    stops: bool,
    /// Packets that had been forwarded when it was last looked at.
    forwarded: u64,
    /// Since when no packet has been forwarded, and all is withdrawn.
    quiet_since: Duration,
    end: Option<DrainEnd>,
}

impl<P: Ports> Supervisor<P> {
    /// Has a guard withdraw what was announced, should this process end otherwise than in good order.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn guard_by(&mut self, guard: Guard) {
        self.announcements.announcer.guard_by(guard);
    }

    /// Makes another plan where anything that it depends on has changed.
    pub(super) fn plan_announcements(&mut self) {
        let has_stalled_worker = (0..self.workers.len()).any(|worker| self.watchdog.is_stalled(worker));
        let stage = match &self.announcements {
            Announcements { stops: true, .. } => Stage::Stopping,
            Announcements { drain: Some(_), .. } => Stage::Draining,
            _ => Stage::Running,
        };
        let basis = Basis {
            configuration_generation: self.appliance.configuration_generation(),
            snapshot_generation: self.appliance.snapshot_generation(),
            situation: ApplianceState { stage, has_stalled_worker },
        };
        if self.announcements.basis == Some(basis) {
            return;
        }
        self.announcements.basis = Some(basis);
        let services = self.appliance.services().iter();
        let healthy: HashMap<&str, u32> = services
            .map(|(name, state)| (name, state.configured().filter(|backend| backend.healthy).count() as u32))
            .collect();
        let healthy = |service: &str| healthy.get(service).copied().unwrap_or(0);
        let plan = Plan::new(self.appliance.config(), healthy, basis.situation);
        self.announcements.announcer.want(&plan);
    }

    /// Tells of what routers were told, and looks how far a drained appliance is.
    pub(super) fn follow_announcements(&mut self, now: Duration) -> Next {
        let looked_at = self.announcements.looked_at.replace(now);
        if looked_at.is_some_and(|looked_at| now.saturating_sub(looked_at) > PATIENCE) {
            tracing::warn!(
                "the control thread has stood still: the guard may have withdrawn what is announced"
            );
            self.announcements.announcer.doubt();
        }
        self.note_announcements();
        let forwarded = self.forwarded();
        let is_settled = self.announcements.announcer.is_settled();
        let Some(drain) = self.announcements.drain.as_mut().filter(|drain| drain.end.is_none()) else {
            return Next::Turn;
        };
        if forwarded != drain.forwarded || !is_settled {
            (drain.forwarded, drain.quiet_since) = (forwarded, now);
        }
        let (end, text) = if now.saturating_sub(drain.quiet_since) >= QUIET {
            (DrainEnd::Quiet, "no packet has been forwarded for a while")
        } else if now >= drain.deadline {
            (DrainEnd::Deadline, "the deadline has passed")
        } else {
            return Next::Turn;
        };
        drain.end = Some(end);
        let stops = drain.stops;
        self.note(Note::new(EventKind::DrainEnded, text));
        if stops { Next::Stop } else { Next::Turn }
    }

    /// Withdraws everything, for a bounded time; meanwhile, turns must go on.
    pub(super) fn withdraw_all(&mut self) -> impl Future<Output = ()> + use<P> {
        self.announcements.stops = true;
        self.announcements.announcer.withdraw_all()
    }

    /// Says what has become of it.
    pub(super) async fn note_withdrawals(&mut self) {
        self.note_announcements();
        for left in self.announcements.announcer.status() {
            if left.progress.announced != Some(false) {
                let (who, address) = (&left.progress.wish.announcement, left.address);
                tracing::error!("{who}: {address} could not be withdrawn: routers may go on sending");
            }
        }
        self.announcements.announcer.relieve_guard().await;
    }

    fn note_announcements(&mut self) {
        for Announced { address, progress, .. } in self.announcements.announcer.news() {
            let name = &progress.wish.announcement;
            let note = match (&progress.last_error, progress.announced) {
                (Some(error), _) => {
                    Note::new(EventKind::AnnouncementFailed, format!("{name}, {address}: {error}"))
                }
                (None, Some(true)) => {
                    Note::new(EventKind::RouteAnnounced, format!("{name} announces {address}"))
                }
                (None, _) => {
                    let reason = view::AnnouncementReason::from(progress.wish.reason);
                    Note::new(EventKind::RouteWithdrawn, format!("{name} withdraws {address}: {reason}"))
                }
            };
            self.note(note);
        }
    }

    pub(super) fn drain(&mut self, deadline: Duration, stops: bool) -> view::Drain {
        let now = self.now();
        let forwarded = self.forwarded();
        if self.announcements.drain.is_none() {
            self.note(Note::new(EventKind::ApplianceDrained, "the operator drains the appliance"));
        }
        let drain = Drain { deadline: now + deadline, stops, forwarded, quiet_since: now, end: None };
        self.announcements.drain = Some(drain);
        self.plan_announcements();
        self.drain_state().expect("it has just begun")
    }

    pub(super) fn undrain(&mut self) -> view::Undrained {
        let was_drained = self.announcements.drain.take().is_some();
        if was_drained {
            self.note(Note::new(EventKind::ApplianceUndrained, "the operator has the appliance serve again"));
            self.plan_announcements();
        }
        view::Undrained { was_drained }
    }

    pub(super) fn drain_state(&self) -> Option<view::Drain> {
        let now = self.now();
        let Drain { deadline, stops, quiet_since, end, .. } = self.announcements.drain?;
        Some(view::Drain {
            withdrawn: self.announcements.announcer.is_settled(),
            quiet_sec: now.saturating_sub(quiet_since).as_secs(),
            deadline_sec: deadline.saturating_sub(now).as_secs(),
            end,
            stops,
        })
    }

    pub(super) fn announcement_states(&self) -> Vec<view::Announcement> {
        self.announcements.announcer.status().into_iter().map(view::Announcement::from).collect()
    }

    /// How many packets the workers have forwarded.
    fn forwarded(&self) -> u64 {
        self.workers.iter().map(|worker| worker.counters.read().pipeline.forwarded).sum()
    }
}
