//! History of counters over the last ten seconds, from which rates come.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::look::{Counter, Look};

/// Time that rates are of; the appliance's own are of as much.
const SPAN: Duration = Duration::from_secs(10);

/// Counters of the latest looks at one process.
#[derive(Debug, Default)]
pub struct History {
    process: (u32, u64),
    samples: VecDeque<(Duration, BTreeMap<Counter, u64>)>,
}

impl History {
    /// Takes the counters of a look, by the time at which it came; those of another process are forgotten.
    pub fn add(&mut self, look: &Look, at: Duration) {
        let process = (look.status.pid, look.status.started_at_unix_sec);
        if process != self.process {
            self.process = process;
            self.samples.clear();
        }
        self.samples.push_back((at, look.counters()));
        // The second is old enough to be the base: the first is needed no more.
        while self.samples.get(1).is_some_and(|(then, _)| *then + SPAN <= at) {
            self.samples.pop_front();
        }
    }

    /// Rate a second of a counter; none before the second look that has it.
    pub fn rate(&self, counter: &Counter) -> Option<f64> {
        let (now, last) = self.samples.back()?;
        let (then, first) = self.samples.iter().find(|(_, counters)| counters.contains_key(counter))?;
        let seconds = now.saturating_sub(*then).as_secs_f64();
        let (last, first) = (last.get(counter)?, first.get(counter)?);
        (seconds > 0.0).then(|| last.saturating_sub(*first) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    /// Look at a process that has received so many packets by port `lan`.
    fn look(pid: u32, received: u64) -> Look {
        let mut look = sample::look();
        look.status.pid = pid;
        look.stats.ports[0].received = received;
        look
    }

    #[test]
    fn a_rate_is_of_the_last_ten_seconds_of_one_process() {
        let received = Counter::Received("lan".to_owned());
        let mut history = History::default();
        assert_eq!(history.rate(&received), None);
        history.add(&look(1, 1_000), Duration::from_secs(1));
        assert_eq!(history.rate(&received), None);
        history.add(&look(1, 1_500), Duration::from_secs(2));
        assert_eq!(history.rate(&received), Some(500.0));
        for second in 3..=12 {
            history.add(&look(1, 1_500 + 100 * (second - 2)), Duration::from_secs(second));
        }
        assert_eq!(history.rate(&received), Some(100.0));
        assert_eq!(history.samples.len(), 11);
        // After a restart, counters begin anew.
        history.add(&look(2, 10), Duration::from_secs(13));
        assert_eq!(history.rate(&received), None);
        history.add(&look(2, 30), Duration::from_secs(14));
        assert_eq!(history.rate(&received), Some(20.0));
        assert_eq!(history.rate(&Counter::Received("nobody".to_owned())), None);
    }
}
