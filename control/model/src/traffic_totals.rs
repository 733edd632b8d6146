//! Packets, bytes and new connections of each rule, service and backend since the start, by name, whatever was reloaded meanwhile.
//!
//! Workers count by number, and what a number means changes with a reload. So each numbering has traffic_counters of its own,
//! and a page here that knows the names. A page is closed, its sums carried over, when no snapshot uses its traffic_counters any
//! more: until then a worker may still be counting there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use guideway_dataplane::conntrack::Census;
use guideway_dataplane::traffic_counters::{Access, Traffic, TrafficCounters, Volume};

use crate::names::Names;
use crate::recent_traffic::RecentTraffic;

/// Totals by name, since the start.
#[derive(Debug, Default)]
pub struct TrafficTotals {
    pages: Vec<Page>,
    carried: Totals,
    recent: RecentTraffic,
}

/// Counters of one numbering, and its names.
#[derive(Debug)]
struct Page {
    names: Arc<Names>,
    traffic_counters: Arc<TrafficCounters>,
    /// Counts of the latest sample, by number.
    sampled_rules: Vec<Traffic>,
    sampled_backends: Vec<Traffic>,
}

/// Traffic by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Traffic of each rule: packets that belong to it, whatever became of them.
    pub rules: BTreeMap<Arc<str>, Traffic>,
    /// Traffic of the rules of each service, the removed ones too.
    pub services: BTreeMap<Arc<str>, Traffic>,
    /// Traffic to each backend, by the names of its service and its own.
    pub backends: BTreeMap<(Arc<str>, Arc<str>), Traffic>,
    /// Packets that each access list has judged.
    pub access_lists: BTreeMap<Arc<str>, Access>,
}

impl TrafficTotals {
    /// Opens a page for another numbering, and returns its counters for the snapshots from the next one on.
    ///
    /// Names that the names does not know are forgotten once their last page is closed.
    pub(crate) fn open(&mut self, names: Arc<Names>, census: &Census) -> Arc<TrafficCounters> {
        self.close_unused();
        let traffic_counters = Arc::new(TrafficCounters::new(
            census,
            names.rule_count(),
            names.handle_count(),
            names.access_lists().len(),
        ));
        self.pages.push(Page {
            sampled_rules: vec![Traffic::default(); names.rule_count()],
            sampled_backends: vec![Traffic::default(); names.handle_count()],
            names,
            traffic_counters: Arc::clone(&traffic_counters),
        });
        traffic_counters
    }

    /// Closes the pages whose snapshots are gone, and carries their sums over.
    pub(crate) fn close_unused(&mut self) {
        // Asked ten times a second, with next to nothing to do.
        if self.pages.len() <= 1 {
            return;
        }
        let (carried, recent) = (&mut self.carried, &mut self.recent);
        let Some(current) = self.pages.pop() else { return };
        self.pages.retain_mut(|page| {
            // The totals's own is the last reference, and nobody can make another one.
            let is_used = Arc::strong_count(&page.traffic_counters) > 1;
            if !is_used {
                page.sample_to(recent);
                page.add_to(carried);
            }
            is_used
        });
        if self.pages.is_empty() {
            carried.keep_known(&current.names);
            recent.keep_known(&current.names);
        }
        self.pages.push(current);
    }

    /// Totals up to now.
    pub fn totals(&self) -> Totals {
        let mut totals = self.carried.clone();
        self.pages.iter().for_each(|page| page.add_to(&mut totals));
        totals
    }

    /// Takes a sample for [`Self::recent`], if one is due at `now`.
    pub(crate) fn sample(&mut self, now: Duration) {
        if self.recent.is_due(now) {
            self.recent.begin(now);
            self.pages.iter_mut().for_each(|page| page.sample_to(&mut self.recent));
        }
    }

    /// Traffic of the last minutes.
    pub fn recent(&self) -> &RecentTraffic {
        &self.recent
    }
}

impl Page {
    fn add_to(&self, totals: &mut Totals) {
        for (id, rule, service) in self.names.rules() {
            let traffic = self.traffic_counters.rule(id);
            totals.rules.entry(Arc::clone(rule)).or_default().add(traffic);
            totals.services.entry(Arc::clone(service)).or_default().add(traffic);
        }
        for (handle, service, backend) in self.names.backends() {
            let name = (Arc::clone(service), Arc::clone(backend));
            totals.backends.entry(name).or_default().add(self.traffic_counters.backend(handle));
        }
        for (id, list) in self.names.access_lists() {
            let judged = self.traffic_counters.access_list(id);
            totals.access_lists.entry(Arc::clone(list)).or_default().add(judged);
        }
    }

    /// Adds what was counted since the latest sample to it.
    fn sample_to(&mut self, recent: &mut RecentTraffic) {
        let Self { names, traffic_counters, sampled_rules, sampled_backends } = self;
        for (id, rule, service) in names.rules() {
            let delta = since(&mut sampled_rules[usize::from(id.0)], traffic_counters.rule(id));
            recent.add_rule(rule, service, delta);
        }
        for (handle, service, backend) in names.backends() {
            let delta = since(&mut sampled_backends[handle.0 as usize], traffic_counters.backend(handle));
            recent.add_backend(service, backend, delta);
        }
    }
}

/// Traffic since `before`, which becomes that of now.
fn since(before: &mut Traffic, now: Traffic) -> Traffic {
    let Traffic { volume, new_connections } = std::mem::replace(before, now);
    Traffic {
        volume: Volume {
            packets: now.volume.packets - volume.packets,
            bytes: now.volume.bytes - volume.bytes,
        },
        new_connections: now.new_connections - new_connections,
    }
}

impl Totals {
    fn keep_known(&mut self, names: &Names) {
        let known: std::collections::HashSet<_> = names.rules().map(|(_, rule, _)| rule).collect();
        self.rules.retain(|rule, _| known.contains(rule));
        let known: std::collections::HashSet<_> = names.service_names().collect();
        self.services.retain(|service, _| known.contains(service));
        let known: std::collections::HashSet<_> =
            names.backends().map(|(_, service, backend)| (service, backend)).collect();
        self.backends.retain(|(service, backend), _| known.contains(&(service, backend)));
        let known: std::collections::HashSet<_> = names.access_lists().map(|(_, list)| list).collect();
        self.access_lists.retain(|list, _| known.contains(list));
    }
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::forwarding_rule::RuleId;
    use guideway_dataplane::traffic_counters::Tally;

    use super::*;
    use crate::sample::sample;
    use crate::service::Services;

    fn names(endpoints: &str) -> Arc<Names> {
        let group = format!("[[backend_group]]\nname = \"group\"\nendpoints = [{endpoints}]");
        let config = sample("", "backends = [{ group = \"group\" }]", &group);
        let mut services = Services::default();
        services.configure(&config, Duration::ZERO, true);
        Arc::new(Names::new(&config, &services))
    }

    const A: &str = "{ name = \"a\", ip_address = \"10.1.0.1\" }";
    const B: &str = "{ name = \"b\", ip_address = \"10.1.0.2\" }";

    /// Counts a packet of 100 bytes for the first rule and the backend of this name.
    fn count(names: &Names, traffic_counters: &TrafficCounters, backend: &str) {
        let tally = Tally::new(traffic_counters.worker(0));
        tally.receive(RuleId(0), 100);
        let (handle, ..) = names.backends().find(|(_, _, name)| &***name == backend).unwrap();
        tally.send(handle, 100);
        traffic_counters.worker(0).unwrap().begin(RuleId(0), handle);
    }

    fn packets(totals: &TrafficTotals) -> (u64, Vec<(String, u64)>) {
        let totals = totals.totals();
        let packets = |traffic: &Traffic| {
            assert_eq!(traffic.volume.packets, traffic.new_connections);
            traffic.volume.packets
        };
        let backends =
            totals.backends.iter().map(|((_, name), traffic)| (name.to_string(), packets(traffic)));
        (totals.services.values().map(packets).sum(), backends.collect())
    }

    #[test]
    fn a_reload_loses_no_count_though_workers_count_on_in_the_old_numbering() {
        let mut totals = TrafficTotals::default();
        let [first, second] = [names(&format!("{A}, {B}")), names(&format!("{B}, {A}"))];
        let old = totals.open(Arc::clone(&first), &Census::new(1, 0));
        count(&first, &old, "b");
        let new = totals.open(Arc::clone(&second), &Census::new(1, 0));
        count(&first, &old, "b");
        count(&second, &new, "a");
        let expected = (3, vec![("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(packets(&totals), expected);
        drop(old);
        totals.close_unused();
        assert_eq!(totals.pages.len(), 1);
        assert_eq!(packets(&totals), expected);
    }

    #[test]
    fn samples_miss_nothing_that_is_counted_around_a_reload() {
        let mut totals = TrafficTotals::default();
        let [first, second] = [names(&format!("{A}, {B}")), names(B)];
        let old = totals.open(Arc::clone(&first), &Census::new(1, 0));
        totals.sample(Duration::ZERO);
        count(&first, &old, "b");
        totals.sample(Duration::from_millis(500));
        totals.sample(Duration::from_secs(1));
        count(&first, &old, "b");
        let new = totals.open(Arc::clone(&second), &Census::new(1, 0));
        count(&second, &new, "b");
        totals.sample(Duration::from_secs(2));
        count(&first, &old, "b");
        count(&first, &old, "a");
        drop(old);
        totals.close_unused();
        count(&second, &new, "b");
        totals.sample(Duration::from_secs(3));
        assert_eq!(totals.recent().packets_of_backend("svc", "b"), [0, 1, 3, 1]);
        assert!((totals.recent().backend("svc", "b").packets - 5.0 / 3.0).abs() < 1e-9);
        assert!((totals.recent().whole().new_connections - 2.0).abs() < 1e-9);
        assert_eq!(totals.recent().backend("svc", "a").packets, 0.0, "it is gone");
    }

    #[test]
    fn a_removed_backend_is_forgotten_and_its_services_sum_stays() {
        let mut totals = TrafficTotals::default();
        let [first, second] = [names(&format!("{A}, {B}")), names(A)];
        let old = totals.open(Arc::clone(&first), &Census::new(1, 0));
        count(&first, &old, "b");
        drop(old);
        let _new = totals.open(second, &Census::new(1, 0));
        totals.close_unused();
        assert_eq!(packets(&totals), (1, vec![("a".to_owned(), 0)]));
    }
}
