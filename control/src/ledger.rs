//! What went through each rule and to each backend since the start, by name, whatever was reloaded meanwhile.
//!
//! Workers count by number, and what a number means changes with a reload. So each numbering has tallies of its own,
//! and a page here that knows the names. A page is closed, its sums carried over, when no snapshot uses its tallies any
//! more: until then a worker may still be counting there.

use std::collections::BTreeMap;
use std::sync::Arc;

use guideway_dataplane::tally::{Tallies, Volume};

use crate::directory::Directory;

/// Volumes by name, since the start.
#[derive(Debug, Default)]
pub struct Ledger {
    pages: Vec<Page>,
    carried: Volumes,
}

/// The tallies of one numbering, and its names.
#[derive(Debug)]
struct Page {
    directory: Arc<Directory>,
    tallies: Arc<Tallies>,
}

/// Volumes by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    /// By rule: all packets that belong to it, whatever became of them.
    pub rules: BTreeMap<Arc<str>, Volume>,
    /// By service: those of its rules, the removed ones too.
    pub services: BTreeMap<Arc<str>, Volume>,
    /// By service and backend: the packets that went there.
    pub backends: BTreeMap<(Arc<str>, Arc<str>), Volume>,
}

impl Ledger {
    /// Opens a page, which is counted on from the next snapshot on; returns its tallies.
    ///
    /// Names that the directory does not know are forgotten once their last page is closed.
    pub fn open(&mut self, directory: Arc<Directory>, workers: usize) -> Arc<Tallies> {
        self.close_unused();
        let tallies = Arc::new(Tallies::new(workers, directory.rule_count(), directory.handle_count()));
        self.pages.push(Page { directory, tallies: Arc::clone(&tallies) });
        tallies
    }

    /// Carries over the sums of the pages whose snapshots are gone.
    pub fn close_unused(&mut self) {
        let carried = &mut self.carried;
        let Some(current) = self.pages.pop() else { return };
        self.pages.retain(|page| {
            // The ledger's own is the last reference, and nobody can make another one.
            let is_used = Arc::strong_count(&page.tallies) > 1;
            if !is_used {
                page.add_to(carried);
            }
            is_used
        });
        if self.pages.is_empty() {
            carried.keep_known(&current.directory);
        }
        self.pages.push(current);
    }

    /// The volumes up to now.
    pub fn volumes(&self) -> Volumes {
        let mut volumes = self.carried.clone();
        self.pages.iter().for_each(|page| page.add_to(&mut volumes));
        volumes
    }
}

impl Page {
    fn add_to(&self, volumes: &mut Volumes) {
        for (id, rule, service) in self.directory.rules() {
            let volume = self.tallies.rule(id);
            volumes.rules.entry(Arc::clone(rule)).or_default().add(volume);
            volumes.services.entry(Arc::clone(service)).or_default().add(volume);
        }
        for (handle, service, backend) in self.directory.backends() {
            let name = (Arc::clone(service), Arc::clone(backend));
            volumes.backends.entry(name).or_default().add(self.tallies.backend(handle));
        }
    }
}

impl Volumes {
    fn keep_known(&mut self, directory: &Directory) {
        let known: std::collections::HashSet<_> = directory.rules().map(|(_, rule, _)| rule).collect();
        self.rules.retain(|rule, _| known.contains(rule));
        let known: std::collections::HashSet<_> = directory.service_names().collect();
        self.services.retain(|service, _| known.contains(service));
        let known: std::collections::HashSet<_> =
            directory.backends().map(|(_, service, backend)| (service, backend)).collect();
        self.backends.retain(|(service, backend), _| known.contains(&(service, backend)));
    }
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::forwarding_rule::RuleId;

    use super::*;
    use crate::sample::sample;
    use crate::service::Services;

    fn directory(endpoints: &str) -> Arc<Directory> {
        let group = format!("[[backend_group]]\nname = \"group\"\nendpoints = [{endpoints}]");
        let config = sample("", "backends = [{ group = \"group\" }]", &group);
        let mut services = Services::default();
        services.configure(&config, std::time::Duration::ZERO, true);
        Arc::new(Directory::new(&config, &services))
    }

    const A: &str = "{ name = \"a\", ip_address = \"10.1.0.1\" }";
    const B: &str = "{ name = \"b\", ip_address = \"10.1.0.2\" }";

    /// Counts a packet of 100 bytes for the first rule and the backend of this name.
    fn count(directory: &Directory, tallies: &Tallies, backend: &str) {
        let own = tallies.worker(0).unwrap();
        own.count_rule(RuleId(0), Volume { packets: 1, bytes: 100 });
        let (handle, ..) = directory.backends().find(|(_, _, name)| &***name == backend).unwrap();
        own.count_backend(handle, 100);
    }

    fn packets(ledger: &Ledger) -> (u64, Vec<(String, u64)>) {
        let volumes = ledger.volumes();
        let backends = volumes.backends.iter().map(|((_, name), volume)| (name.to_string(), volume.packets));
        (volumes.services.values().map(|volume| volume.packets).sum(), backends.collect())
    }

    #[test]
    fn a_reload_loses_no_count_though_workers_count_on_in_the_old_numbering() {
        let mut ledger = Ledger::default();
        let [first, second] = [directory(&format!("{A}, {B}")), directory(&format!("{B}, {A}"))];
        let old = ledger.open(Arc::clone(&first), 1);
        count(&first, &old, "b");
        let new = ledger.open(Arc::clone(&second), 1);
        count(&first, &old, "b");
        count(&second, &new, "a");
        let expected = (3, vec![("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(packets(&ledger), expected);
        drop(old);
        ledger.close_unused();
        assert_eq!(ledger.pages.len(), 1);
        assert_eq!(packets(&ledger), expected);
    }

    #[test]
    fn a_removed_backend_is_forgotten_and_its_services_sum_stays() {
        let mut ledger = Ledger::default();
        let [first, second] = [directory(&format!("{A}, {B}")), directory(A)];
        let old = ledger.open(Arc::clone(&first), 1);
        count(&first, &old, "b");
        drop(old);
        let _new = ledger.open(second, 1);
        ledger.close_unused();
        assert_eq!(packets(&ledger), (1, vec![("a".to_owned(), 0)]));
    }
}
