//! Packets and bytes of each rule, service and backend since the start, by name, whatever was reloaded meanwhile.
//!
//! Workers count by number, and what a number means changes with a reload. So each numbering has traffic_counters of its own,
//! and a page here that knows the names. A page is closed, its sums carried over, when no snapshot uses its traffic_counters any
//! more: until then a worker may still be counting there.

use std::collections::BTreeMap;
use std::sync::Arc;

use guideway_dataplane::traffic_counters::{TrafficCounters, Volume};

use crate::names::Names;

/// Totals by name, since the start.
#[derive(Debug, Default)]
pub struct TrafficTotals {
    pages: Vec<Page>,
    carried: Volumes,
}

/// Counters of one numbering, and its names.
#[derive(Debug)]
struct Page {
    names: Arc<Names>,
    traffic_counters: Arc<TrafficCounters>,
}

/// Volumes by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    /// Packets that belong to each rule, whatever became of them.
    pub rules: BTreeMap<Arc<str>, Volume>,
    /// Packets that belong to the rules of each service, the removed ones too.
    pub services: BTreeMap<Arc<str>, Volume>,
    /// Packets that went to each backend, by the names of its service and its own.
    pub backends: BTreeMap<(Arc<str>, Arc<str>), Volume>,
}

impl TrafficTotals {
    /// Opens a page for another numbering, and returns its counters for the snapshots from the next one on.
    ///
    /// Names that the names does not know are forgotten once their last page is closed.
    pub(crate) fn open(&mut self, names: Arc<Names>, workers: usize) -> Arc<TrafficCounters> {
        self.close_unused();
        let traffic_counters =
            Arc::new(TrafficCounters::new(workers, names.rule_count(), names.handle_count()));
        self.pages.push(Page { names, traffic_counters: Arc::clone(&traffic_counters) });
        traffic_counters
    }

    /// Closes the pages whose snapshots are gone, and carries their sums over.
    pub(crate) fn close_unused(&mut self) {
        // Asked ten times a second, with next to nothing to do.
        if self.pages.len() <= 1 {
            return;
        }
        let carried = &mut self.carried;
        let Some(current) = self.pages.pop() else { return };
        self.pages.retain(|page| {
            // The totals's own is the last reference, and nobody can make another one.
            let is_used = Arc::strong_count(&page.traffic_counters) > 1;
            if !is_used {
                page.add_to(carried);
            }
            is_used
        });
        if self.pages.is_empty() {
            carried.keep_known(&current.names);
        }
        self.pages.push(current);
    }

    /// Volumes up to now.
    pub fn volumes(&self) -> Volumes {
        let mut volumes = self.carried.clone();
        self.pages.iter().for_each(|page| page.add_to(&mut volumes));
        volumes
    }
}

impl Page {
    fn add_to(&self, volumes: &mut Volumes) {
        for (id, rule, service) in self.names.rules() {
            let volume = self.traffic_counters.rule(id);
            volumes.rules.entry(Arc::clone(rule)).or_default().add(volume);
            volumes.services.entry(Arc::clone(service)).or_default().add(volume);
        }
        for (handle, service, backend) in self.names.backends() {
            let name = (Arc::clone(service), Arc::clone(backend));
            volumes.backends.entry(name).or_default().add(self.traffic_counters.backend(handle));
        }
    }
}

impl Volumes {
    fn keep_known(&mut self, names: &Names) {
        let known: std::collections::HashSet<_> = names.rules().map(|(_, rule, _)| rule).collect();
        self.rules.retain(|rule, _| known.contains(rule));
        let known: std::collections::HashSet<_> = names.service_names().collect();
        self.services.retain(|service, _| known.contains(service));
        let known: std::collections::HashSet<_> =
            names.backends().map(|(_, service, backend)| (service, backend)).collect();
        self.backends.retain(|(service, backend), _| known.contains(&(service, backend)));
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
        services.configure(&config, std::time::Duration::ZERO, true);
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
    }

    fn packets(totals: &TrafficTotals) -> (u64, Vec<(String, u64)>) {
        let volumes = totals.volumes();
        let backends = volumes.backends.iter().map(|((_, name), volume)| (name.to_string(), volume.packets));
        (volumes.services.values().map(|volume| volume.packets).sum(), backends.collect())
    }

    #[test]
    fn a_reload_loses_no_count_though_workers_count_on_in_the_old_numbering() {
        let mut totals = TrafficTotals::default();
        let [first, second] = [names(&format!("{A}, {B}")), names(&format!("{B}, {A}"))];
        let old = totals.open(Arc::clone(&first), 1);
        count(&first, &old, "b");
        let new = totals.open(Arc::clone(&second), 1);
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
    fn a_removed_backend_is_forgotten_and_its_services_sum_stays() {
        let mut totals = TrafficTotals::default();
        let [first, second] = [names(&format!("{A}, {B}")), names(A)];
        let old = totals.open(Arc::clone(&first), 1);
        count(&first, &old, "b");
        drop(old);
        let _new = totals.open(second, 1);
        totals.close_unused();
        assert_eq!(packets(&totals), (1, vec![("a".to_owned(), 0)]));
    }
}
