//! Choices of backends by the selection hash, and how many of them were independent of each other.
//!
//! Connections that hash alike go to the same backend: all of a client under `CLIENT_IP`, or the packets of a flow that is
//! not tracked. A service's share of 1,000 connections by ten clients is known no better than one of ten connections. With
//! m connections of a hash, the variance of a share p is p (1 - p) times the sum of m squared by the square of their sum,
//! which is that of (sum of m) squared by (sum of m squared) connections that are independent: Kish's effective size of
//! a sample.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use guideway_dataplane::affinity::AffinityPolicy;
use guideway_dataplane::flow::Flow;

use super::sample::{MOST_SAMPLED, Sample};

/// Choices of one service's backends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceChoices {
    /// Number of independent choices that the choices tell as much as.
    pub independent: f64,
    /// Number of hashes that were seen, an estimate beyond [`MOST_SAMPLED`].
    pub hashes: u64,
}

#[derive(Debug)]
pub(super) struct Choices {
    services: HashMap<Arc<str>, u32>,
    /// Service of each hash, and the number of choices by it.
    hashes: Sample<(u32, u64)>,
}

impl Default for Choices {
    fn default() -> Self {
        Self { services: HashMap::new(), hashes: Sample::with_room(MOST_SAMPLED) }
    }
}

impl Choices {
    pub(super) fn add(&mut self, service: &Arc<str>, policy: &AffinityPolicy, flow: &Flow) {
        let count = self.services.len() as u32;
        let service = match self.services.get(service) {
            Some(service) => *service,
            None => *self.services.entry(Arc::clone(service)).or_insert(count),
        };
        // A packet that comes by a route is hashed with its ends in order; for one that comes to a VIP, nothing else changes.
        let flow = policy.routed(flow);
        let mut hasher = DefaultHasher::new();
        service.hash(&mut hasher);
        policy.selection_tuple(&flow).bytes(&flow).as_slice().hash(&mut hasher);
        self.count(service, hasher.finish());
    }

    fn count(&mut self, service: u32, hash: u64) {
        match self.hashes.find(hash) {
            Some((_, choices)) => *choices += 1,
            None => self.hashes.insert(hash, (service, 1)),
        }
    }

    pub(super) fn of(&self, service: &str) -> Option<ServiceChoices> {
        let service = *self.services.get(service)?;
        let counts =
            self.hashes.values().filter(|(of, _)| *of == service).map(|(_, choices)| *choices as f64);
        let (hashes, sum, squares) = counts.fold((0_u64, 0.0, 0.0), |(hashes, sum, squares), choices| {
            (hashes + 1, sum + choices, squares + choices * choices)
        });
        let per_key = self.hashes.per_key();
        let independent = if squares > 0.0 { sum * sum / squares * per_key as f64 } else { 0.0 };
        Some(ServiceChoices { independent, hashes: hashes * per_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(counts: &[u64]) -> ServiceChoices {
        let mut choices = Choices::default();
        choices.services.insert("web".into(), 0);
        for (hash, count) in (0..).zip(counts) {
            (0..*count).for_each(|_| choices.count(0, hash));
        }
        choices.of("web").expect("it is known")
    }

    #[test]
    fn as_many_choices_are_independent_as_differ_where_all_are_alike() {
        assert_eq!(choices(&[1; 100]), ServiceChoices { independent: 100.0, hashes: 100 });
        assert_eq!(choices(&[10; 10]), ServiceChoices { independent: 10.0, hashes: 10 });
    }

    #[test]
    fn one_client_with_most_connections_leaves_little_to_conclude() {
        // (90 + 10)^2 / (90^2 + 10)
        let ServiceChoices { independent, hashes } = choices(&[90, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
        assert!((independent - 10_000.0 / 8_110.0).abs() < 1e-9, "{independent}");
        assert_eq!(hashes, 11);
        assert_eq!(choices(&[]).independent, 0.0);
    }
}
