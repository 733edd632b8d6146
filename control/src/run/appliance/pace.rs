//! Pace of snapshots: a change is published at once, and repetition is slowed.
//!
//! ```text
//!  a service's first change ─────────────────▶ at once
//!  its next ones, within ten seconds ────────▶ 8 at once, then 4 a second, of 128 a second over all services
//!  snapshots that workers hold: 64 ──────────▶ one a second, then one in 2, 4, 8 … seconds, and none beyond 256
//! ```
//!
//! A snapshot that comes later holds all changes until then: they are coalesced, and none is lost. What operators and
//! configurations change, a service's first change and a next hop that moves are never slowed as repetition, and have room
//! for as many snapshots again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Lookup tables of one service that are made again without a pause.
const BURST: f64 = 8.0;

/// Lookup tables of one service that are made again a second, after the burst.
const A_SECOND: f64 = 4.0;

/// Lookup tables of all services that are made again without a pause.
const BURST_OF_ALL: f64 = 128.0;

/// Lookup tables of all services that are made again a second.
const A_SECOND_OF_ALL: f64 = 128.0;

/// Time after which a change is a first one again.
const QUIET: Duration = Duration::from_secs(10);

/// Snapshots that workers may hold without any slowing.
const HELD_FREELY: usize = 64;

/// Further snapshots after which the time between two is doubled.
const STEP: usize = 16;

/// Snapshots that workers hold at most.
pub(super) const MOST_HELD: usize = 256;

/// Pace of snapshots.
#[derive(Debug)]
pub(super) struct Pace {
    services: BTreeMap<String, Flapping>,
    all: Tokens,
    /// Services that an operator has changed since the last snapshot.
    urgent: BTreeSet<String>,
    published_at: Duration,
    coalesced: u64,
}

/// Lookup tables of one service that were made of late.
#[derive(Debug)]
struct Flapping {
    made_at: Duration,
    tokens: Tokens,
}

/// Bucket of tokens.
#[derive(Clone, Copy, Debug)]
struct Tokens {
    left: f64,
    at: Duration,
    most: f64,
    a_second: f64,
}

impl Tokens {
    fn full(most: f64, a_second: f64, now: Duration) -> Self {
        Self { left: most, at: now, most, a_second }
    }

    /// True if there is a token.
    fn refill(&mut self, now: Duration) -> bool {
        let gained = now.saturating_sub(self.at).as_secs_f64() * self.a_second;
        (self.left, self.at) = ((self.left + gained).min(self.most), now);
        self.left >= 1.0
    }
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            services: BTreeMap::new(),
            all: Tokens::full(BURST_OF_ALL, A_SECOND_OF_ALL, Duration::ZERO),
            urgent: BTreeSet::new(),
            published_at: Duration::ZERO,
            coalesced: 0,
        }
    }

    /// Has the next change of a service be no repetition: an operator makes it.
    pub(super) fn hurry(&mut self, service: &str) {
        if !self.urgent.contains(service) {
            self.urgent.insert(service.to_owned());
        }
    }

    /// Counts a change of a service that waits for a snapshot already.
    pub(super) fn coalesce(&mut self) {
        self.coalesced += 1;
    }

    /// Number of changes that came while an earlier one of their service waited for a snapshot.
    pub(super) fn coalesced(&self) -> u64 {
        self.coalesced
    }

    /// True if a service has not changed of late: its change is no repetition.
    pub(super) fn is_first(&self, service: &str, now: Duration) -> bool {
        self.services.get(service).is_none_or(|flapping| now.saturating_sub(flapping.made_at) >= QUIET)
    }

    /// True if a snapshot may be published while workers hold so many; `is_new` says that it has more than repetitions.
    pub(super) fn has_room(&self, held: usize, is_new: bool, now: Duration) -> bool {
        if held < HELD_FREELY || ((is_new || !self.urgent.is_empty()) && held < 2 * MOST_HELD) {
            return true;
        }
        let wait = Duration::from_secs(1 << ((held - HELD_FREELY) / STEP).min(16));
        held < MOST_HELD && now.saturating_sub(self.published_at) >= wait
    }

    /// Services among those that have changed whose lookup tables may be made now.
    pub(super) fn due<'s>(
        &mut self,
        changed: impl Iterator<Item = &'s str>,
        now: Duration,
    ) -> BTreeSet<String> {
        let mut due = BTreeSet::new();
        // Services that have waited longest come first: by their names, the last ones would starve.
        let mut changed: Vec<&str> = changed.collect();
        changed.sort_by_key(|service| self.services.get(*service).map(|flapping| flapping.made_at));
        for service in changed {
            if self.urgent.contains(service) || self.take(service, now) {
                due.insert(service.to_owned());
            }
        }
        due
    }

    /// Notes that a snapshot is published.
    pub(super) fn published(&mut self, now: Duration) {
        self.published_at = now;
        self.urgent.clear();
        // Services that have been quiet are as if they had never been.
        if self.services.len() > 2 * BURST_OF_ALL as usize {
            self.services.retain(|_, flapping| now.saturating_sub(flapping.made_at) < QUIET);
        }
    }

    /// True if a service may have its lookup table made at `now`, which counts.
    fn take(&mut self, service: &str, now: Duration) -> bool {
        let Some(flapping) = self.services.get_mut(service) else {
            let tokens = Tokens::full(BURST, A_SECOND, now);
            self.services.insert(service.to_owned(), Flapping { made_at: now, tokens });
            return true;
        };
        if now.saturating_sub(flapping.made_at) < QUIET {
            if !flapping.tokens.refill(now) || !self.all.refill(now) {
                return false;
            }
            flapping.tokens.left -= 1.0;
            self.all.left -= 1.0;
        }
        flapping.made_at = now;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Number of times that a service's table is made in this time, with a change every millisecond.
    fn made(pace: &mut Pace, service: &str, from: u64, to: u64) -> usize {
        (from..to).filter(|now| !pace.due([service].into_iter(), ms(*now)).is_empty()).count()
    }

    #[test]
    fn a_first_change_is_made_at_once_and_repetition_is_slowed() {
        let mut pace = Pace::new();
        assert_eq!(made(&mut pace, "web", 0, 1), 1);
        assert_eq!(made(&mut pace, "web", 1, 20), 8, "a burst");
        assert_eq!(made(&mut pace, "web", 20, 5_000), 19, "four a second");
        assert_eq!(made(&mut pace, "dns", 5_000, 5_001), 1, "another one is not slowed");
        assert_eq!(made(&mut pace, "web", 20_000, 20_001), 1);
    }

    #[test]
    fn repetition_of_all_services_together_is_bounded() {
        let mut pace = Pace::new();
        let names: Vec<String> = (0..500).map(|number| format!("s{number}")).collect();
        let mut made = |now: u64| pace.due(names.iter().map(String::as_str), ms(now)).len();
        assert_eq!(made(0), 500, "each for the first time");
        let again: usize = (1..2_001).map(made).sum();
        assert!((370..=400).contains(&again), "{again} in two seconds");
    }

    #[test]
    fn an_operators_change_is_no_repetition() {
        let mut pace = Pace::new();
        made(&mut pace, "web", 0, 20);
        assert_eq!(made(&mut pace, "web", 20, 21), 0);
        pace.hurry("web");
        assert!(pace.has_room(MOST_HELD, false, ms(21)) && !pace.has_room(2 * MOST_HELD, false, ms(21)));
        assert_eq!(made(&mut pace, "web", 21, 22), 1);
        pace.published(ms(21));
        assert_eq!(
            (pace.has_room(MOST_HELD, false, ms(90_000_000)), made(&mut pace, "web", 22, 23)),
            (false, 0)
        );
    }

    #[test]
    fn snapshots_that_workers_hold_are_bounded() {
        let mut pace = Pace::new();
        let mut held = 0;
        // A day with a change every tenth of a second, and a worker that never polls again.
        for tenths in 0..864_000_u64 {
            let now = ms(100 * tenths);
            if pace.has_room(held, false, now) {
                pace.published(now);
                held += 1;
            }
            if tenths == 600 {
                assert!((64..120).contains(&held), "{held} in a minute");
            }
        }
        assert_eq!(held, MOST_HELD);
        assert!(pace.has_room(0, false, ms(86_400_000)), "they are given back");
    }

    #[test]
    fn what_is_new_is_not_slowed_by_repetitions_and_nobody_starves() {
        let mut pace = Pace::new();
        assert!(pace.is_first("web", ms(0)) && pace.has_room(MOST_HELD, true, ms(0)));
        assert!(!pace.has_room(2 * MOST_HELD, true, ms(0)), "it is bounded too");
        let names: Vec<String> = (0..64).map(|number| format!("service-{number:02}")).collect();
        let mut made = BTreeMap::new();
        for now in 0..8_000 {
            for name in pace.due(names.iter().map(String::as_str), ms(now)) {
                *made.entry(name).or_insert(0) += 1;
            }
        }
        assert!(!pace.is_first("service-63", ms(8_000)));
        let (least, most) = (made.values().min().unwrap(), made.values().max().unwrap());
        assert!(made.len() == 64 && most - least <= 2, "{made:?}");
    }

    #[test]
    fn services_that_are_quiet_are_forgotten() {
        let mut pace = Pace::new();
        for number in 0..1_000 {
            made(&mut pace, &format!("s{number}"), 100 * number, 100 * number + 1);
            pace.published(ms(100 * number));
        }
        assert!(pace.services.len() <= 257, "{}", pace.services.len());
    }
}
