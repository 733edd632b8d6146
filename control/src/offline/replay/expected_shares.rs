//! Shares that backends were to expect: the mean over all choices of the parts of the hash space that they had at the time, by
//! weight and health.

use std::collections::BTreeMap;
use std::sync::Arc;

use guideway_model::forwarding_state::ForwardingState;

/// Service and backend.
type Key = (Arc<str>, Arc<str>);

/// Shares to expect, of the choices that were made.
#[derive(Debug, Default)]
pub(super) struct ExpectedShares {
    /// Parts of the hash space since the last change.
    parts: BTreeMap<Key, f64>,
    /// Choices since then, by service.
    choices: BTreeMap<Arc<str>, u64>,
    /// Choices before it, by service.
    earlier_choices: BTreeMap<Arc<str>, u64>,
    /// Choices before it that each backend was to expect.
    expected: BTreeMap<Key, f64>,
}

impl ExpectedShares {
    /// Takes in the state that decides from now on.
    pub(super) fn published(&mut self, state: &ForwardingState) {
        self.close();
        for table in state.lookup_tables() {
            let service: Arc<str> = table.service().into();
            for share in table.shares() {
                let part = f64::from(share.slots) / table.table().len() as f64;
                self.parts.insert((Arc::clone(&service), share.backend.into()), part);
            }
        }
    }

    /// Takes in the choice of a backend of a service.
    pub(super) fn chosen(&mut self, service: &Arc<str>) {
        match self.choices.get_mut(service) {
            Some(choices) => *choices += 1,
            None => drop(self.choices.insert(Arc::clone(service), 1)),
        }
    }

    /// Shares of all backends that ever had one, once all choices are made: of a service without choices, those at the end.
    pub(super) fn conclude(&mut self) -> BTreeMap<Key, f64> {
        let last = self.parts.clone();
        self.close();
        let choices = |service: &Arc<str>| self.earlier_choices.get(service).copied().unwrap_or(0);
        let unchosen = last.into_iter().filter(|((service, _), _)| choices(service) == 0);
        let mean = |(key, expected): (&Key, &f64)| (key.clone(), expected / choices(&key.0).max(1) as f64);
        self.expected.iter().map(mean).chain(unchosen).collect()
    }

    /// Adds up what the backends were to expect of the choices since the last change.
    fn close(&mut self) {
        for ((service, backend), part) in std::mem::take(&mut self.parts) {
            let choices = self.choices.get(&service).copied().unwrap_or(0);
            if choices > 0 {
                *self.expected.entry((service, backend)).or_default() += choices as f64 * part;
            }
        }
        for (service, choices) in std::mem::take(&mut self.choices) {
            *self.earlier_choices.entry(service).or_default() += choices;
        }
    }
}
