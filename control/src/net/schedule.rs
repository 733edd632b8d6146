//! A schedule: keys, each with at most one time at which it is due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The times at which keys are due.
#[derive(Debug)]
pub(super) struct Schedule<K> {
    due: BTreeMap<K, Duration>,
    queue: BTreeSet<(Duration, K)>,
}

impl<K: Ord + Copy> Schedule<K> {
    pub(super) fn new() -> Self {
        Self { due: BTreeMap::new(), queue: BTreeSet::new() }
    }

    /// Sets the time at which `key` is due, in place of the time that it had.
    pub(super) fn set(&mut self, key: K, due: Duration) {
        self.cancel(key);
        self.due.insert(key, due);
        self.queue.insert((due, key));
    }

    /// Takes out `key`, if it has a time.
    pub(super) fn cancel(&mut self, key: K) {
        if let Some(due) = self.due.remove(&key) {
            self.queue.remove(&(due, key));
        }
    }

    /// Takes out the key that has been due for longest at `now`.
    pub(super) fn pop(&mut self, now: Duration) -> Option<K> {
        let (_, key) = *self.queue.first().filter(|(due, _)| *due <= now)?;
        self.cancel(key);
        Some(key)
    }

    /// The time at which the first key is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.queue.first().map(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_due_once_and_the_latest_time_counts() {
        let mut schedule = Schedule::new();
        let at = Duration::from_secs;
        schedule.set('a', at(1));
        schedule.set('b', at(2));
        schedule.set('a', at(3));
        assert_eq!(schedule.next(), Some(at(2)));
        assert_eq!(schedule.pop(at(1)), None);
        assert_eq!(
            (schedule.pop(at(9)), schedule.pop(at(9)), schedule.pop(at(9))),
            (Some('b'), Some('a'), None)
        );
    }
}
