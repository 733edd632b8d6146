//! Traffic of the last seconds, by name: source of all rates.
//!
//! The control thread takes a sample about once a second, of what has been counted since the one before. Samples bear the
//! time at which they were taken, so that a late one makes no wrong rate. An object has memory for its samples, 176 bytes,
//! from its first packet on, and gives it back once the last eleven samples are zero: backends without traffic cost none.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::traffic_counters::Traffic;

use crate::names::Names;

/// Samples that a rate is taken over: ten seconds, at one a second.
pub const RATED: usize = 10;

/// Samples that are kept: those of a rate, and the one before, whose time it begins at.
const KEPT: usize = RATED + 1;

/// Time between two samples.
pub const PERIOD: Duration = Duration::from_secs(1);

/// Traffic a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Packets a second.
    pub packets: f64,
    /// Bytes of their frames a second.
    pub bytes: f64,
    /// New connections a second.
    pub new_connections: f64,
}

/// Traffic of the last seconds, by name.
#[derive(Debug, Default)]
pub struct RecentTraffic {
    /// Samples that have been taken.
    taken: u64,
    /// Times at which they were taken, each in its slot.
    times: Vec<Duration>,
    whole: Series,
    rules: HashMap<Arc<str>, Series>,
    services: HashMap<Arc<str>, Series>,
    backends: HashMap<(Arc<str>, Arc<str>), Series>,
}

/// Traffic of one object, sample by sample.
#[derive(Debug, Default)]
struct Series {
    /// Samples, each in its slot; none while all are zero.
    samples: Option<Box<[Sample; KEPT]>>,
    /// Number of the last sample that is not zero.
    latest: u64,
}

/// Traffic between two times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sample {
    /// Bytes of the frames.
    bytes: u64,
    /// Number of packets.
    packets: u32,
    /// Connections that have begun.
    new_connections: u32,
}

impl Series {
    fn add(&mut self, number: u64, delta: Traffic) {
        let samples = self.samples.get_or_insert_with(|| Box::new([Sample::default(); KEPT]));
        let sample = &mut samples[slot(number)];
        sample.bytes += delta.volume.bytes;
        let sum = |count: u32, more: u64| count.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        sample.packets = sum(sample.packets, delta.volume.packets);
        sample.new_connections = sum(sample.new_connections, delta.new_connections);
        self.latest = number;
    }

    /// Makes room for the sample of this number, which is zero so far.
    fn begin(&mut self, number: u64) {
        if number >= self.latest + KEPT as u64 {
            self.samples = None;
        }
        if let Some(samples) = &mut self.samples {
            samples[slot(number)] = Sample::default();
        }
    }

    fn at(&self, number: u64) -> Sample {
        self.samples.as_ref().map_or(Sample::default(), |samples| samples[slot(number)])
    }
}

fn slot(number: u64) -> usize {
    (number % KEPT as u64) as usize
}

impl RecentTraffic {
    /// True if a sample is due at `now`.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        self.taken == 0 || now >= self.times[slot(self.taken - 1)] + PERIOD
    }

    /// Begins a sample at `now`, to which [`Self::add_rule`] and [`Self::add_backend`] add.
    pub(crate) fn begin(&mut self, now: Duration) {
        let number = self.taken;
        self.taken += 1;
        // The first ones get their slots in order.
        match self.times.get_mut(slot(number)) {
            Some(time) => *time = now,
            None => self.times.push(now),
        }
        self.whole.begin(number);
        self.rules.values_mut().chain(self.services.values_mut()).for_each(|series| series.begin(number));
        self.backends.values_mut().for_each(|series| series.begin(number));
    }

    /// Adds traffic of a rule to the latest sample.
    pub(crate) fn add_rule(&mut self, rule: &Arc<str>, service: &Arc<str>, delta: Traffic) {
        if let Some(number) = self.taken.checked_sub(1)
            && delta != Traffic::default()
        {
            self.whole.add(number, delta);
            series(&mut self.rules, rule).add(number, delta);
            series(&mut self.services, service).add(number, delta);
        }
    }

    /// Adds traffic to a backend to the latest sample.
    pub(crate) fn add_backend(&mut self, service: &Arc<str>, backend: &Arc<str>, delta: Traffic) {
        if let Some(number) = self.taken.checked_sub(1)
            && delta != Traffic::default()
        {
            series(&mut self.backends, &(Arc::clone(service), Arc::clone(backend))).add(number, delta);
        }
    }

    /// Forgets what has none of these names.
    pub(crate) fn keep_known(&mut self, names: &Names) {
        let known: HashSet<_> = names.rules().map(|(_, rule, _)| rule).collect();
        self.rules.retain(|rule, _| known.contains(rule));
        let known: HashSet<_> = names.service_names().collect();
        self.services.retain(|service, _| known.contains(service));
        let known: HashSet<_> = names.backends().map(|(_, service, backend)| (service, backend)).collect();
        self.backends.retain(|(service, backend), _| known.contains(&(service, backend)));
    }

    /// Rates of the packets that belong to any rule.
    pub fn whole(&self) -> Rates {
        self.rates(Some(&self.whole))
    }

    /// Rates of the packets that belong to a rule.
    pub fn rule(&self, rule: &str) -> Rates {
        self.rates(self.rules.get(rule))
    }

    /// Rates of the packets that belong to the rules of a service.
    pub fn service(&self, service: &str) -> Rates {
        self.rates(self.services.get(service))
    }

    /// Rates of the packets that go to a backend.
    pub fn backend(&self, service: &str, backend: &str) -> Rates {
        self.rates(self.backends.get(&(service.into(), backend.into())))
    }

    /// Packets of a backend in each sample that is kept, the earliest first.
    #[cfg(test)]
    pub(crate) fn packets_of_backend(&self, service: &str, backend: &str) -> Vec<u32> {
        self.packets_of(self.backends.get(&(service.into(), backend.into())))
    }

    #[cfg(test)]
    fn packets_of(&self, series: Option<&Series>) -> Vec<u32> {
        let numbers = self.taken.saturating_sub(KEPT as u64)..self.taken;
        numbers.map(|number| series.map_or(0, |series| series.at(number).packets)).collect()
    }

    /// Rates over the latest samples; zero before the second one.
    fn rates(&self, series: Option<&Series>) -> Rates {
        let (Some(series), Some(latest)) = (series, self.taken.checked_sub(1)) else {
            return Rates::default();
        };
        // The first sample says nothing of the time before it.
        let before = latest.saturating_sub(RATED as u64);
        let time = self.times[slot(latest)].saturating_sub(self.times[slot(before)]).as_secs_f64();
        if time == 0.0 {
            return Rates::default();
        }
        let mut rates = Rates::default();
        for sample in (before + 1..=latest).map(|number| series.at(number)) {
            rates.packets += f64::from(sample.packets) / time;
            rates.bytes += sample.bytes as f64 / time;
            rates.new_connections += f64::from(sample.new_connections) / time;
        }
        rates
    }
}

fn series<'a, N: Clone + Eq + Hash>(all: &'a mut HashMap<N, Series>, name: &N) -> &'a mut Series {
    // Nearly always it is there, and its name needs no copy.
    if !all.contains_key(name) {
        all.insert(name.clone(), Series::default());
    }
    all.get_mut(name).expect("it is there")
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::traffic_counters::Volume;

    use super::*;

    fn traffic(packets: u64) -> Traffic {
        Traffic { volume: Volume { packets, bytes: 100 * packets }, new_connections: packets / 2 }
    }

    /// Recent traffic after samples a second, each of so many packets of one rule.
    fn after(packets: &[u64]) -> RecentTraffic {
        let mut recent = RecentTraffic::default();
        for (second, packets) in packets.iter().enumerate() {
            let now = Duration::from_secs(second as u64);
            assert!(recent.is_due(now));
            recent.begin(now);
            assert!(!recent.is_due(now + Duration::from_millis(999)));
            recent.add_rule(&"rule".into(), &"service".into(), traffic(*packets));
        }
        recent
    }

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let mut packets = vec![1_000; 5];
        assert_eq!(after(&packets[..1]).whole(), Rates::default(), "a single sample has no time");
        assert!((after(&packets).rule("rule").packets - 1_000.0).abs() < 1e-9);
        packets.extend([20; 10]);
        let recent = after(&packets);
        for rates in [recent.rule("rule"), recent.service("service"), recent.whole()] {
            let Rates { packets, bytes, new_connections } = rates;
            assert!((packets - 20.0).abs() + (bytes - 2_000.0).abs() + (new_connections - 10.0).abs() < 1e-9);
        }
        assert_eq!(recent.rule("another"), Rates::default());
    }

    #[test]
    fn a_late_sample_is_one_of_a_longer_time() {
        let mut recent = after(&[0, 100]);
        recent.begin(Duration::from_secs(11));
        recent.add_rule(&"rule".into(), &"service".into(), traffic(1_000));
        assert!((recent.whole().packets - 100.0).abs() < 1e-9);
    }

    #[test]
    fn as_much_as_a_rate_needs_is_kept_and_no_memory_while_nothing_comes() {
        let mut packets: Vec<u64> = (1..=400).collect();
        let recent = after(&packets);
        let kept = recent.packets_of(recent.services.get("service"));
        assert_eq!(kept, (390..=400).collect::<Vec<u32>>());
        packets.extend([0; KEPT - 1]);
        assert!(after(&packets).services["service"].samples.is_some());
        packets.push(0);
        assert!(after(&packets).services["service"].samples.is_none());
        assert!(after(&[0, 0]).services.is_empty());
    }
}
