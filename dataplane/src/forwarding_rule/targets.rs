//! Rules by their ids, of all networks of a snapshot: the services behind them, and the names that outlive a reload.

use crate::access_list::AccessListId;

use super::{ForwardingRule, RuleId, RuleIdentity, ServiceId};

/// Rules by their ids, of all networks of a snapshot.
#[derive(Debug, Default)]
pub struct Targets {
    by_id: Box<[Target]>,
    /// Rules by their identity, in order.
    identities: Box<[(RuleIdentity, RuleId)]>,
}

/// Service behind a rule, and what else matters of a rule that has been found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) service: ServiceId,
    pub(super) region_only: bool,
    access_list: Option<AccessListId>,
    identity: RuleIdentity,
}

impl Targets {
    /// Targets of `rules`, whose indices are their ids, and for now their identities.
    pub fn new(rules: &[ForwardingRule]) -> Self {
        let target = |(index, rule): (u64, &ForwardingRule)| Target {
            service: rule.service,
            region_only: rule.region_only,
            access_list: rule.access_list,
            identity: RuleIdentity(index),
        };
        Self {
            by_id: (0..).zip(rules).map(target).collect(),
            identities: (0..rules.len()).map(|id| (RuleIdentity(id as u64), RuleId(id as u16))).collect(),
        }
    }

    /// Gives the rules, in the order of their ids, their identities; without, these are the ids.
    #[must_use]
    pub fn with_identities(mut self, identities: impl IntoIterator<Item = RuleIdentity>) -> Self {
        for (target, identity) in self.by_id.iter_mut().zip(identities) {
            target.identity = identity;
        }
        self.identities = (0..).zip(&self.by_id).map(|(id, target)| (target.identity, RuleId(id))).collect();
        self.identities.sort_unstable();
        self
    }

    /// Target of a rule.
    pub(super) fn get(&self, rule: RuleId) -> Target {
        self.by_id[usize::from(rule.0)]
    }

    /// Access list of a rule.
    #[inline]
    pub fn access_list(&self, rule: RuleId) -> Option<AccessListId> {
        self.get(rule).access_list
    }

    /// Identity of a rule.
    pub fn identity(&self, rule: RuleId) -> RuleIdentity {
        self.get(rule).identity
    }

    /// Rule of this identity and its service, if there is one.
    pub fn identified(&self, identity: RuleIdentity) -> Option<(RuleId, ServiceId)> {
        let index = self.identities.binary_search_by_key(&identity, |(identity, _)| *identity).ok()?;
        let (_, rule) = self.identities[index];
        Some((rule, self.get(rule).service))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::forwarding_rule::{RulePorts, RuleProtocol};

    #[test]
    fn a_rule_is_found_by_its_identity_whatever_its_number_is_now() {
        let rule = |vip, service| {
            let vip = Address::v4([203, 0, 113, vip]);
            ForwardingRule::new(vip, RuleProtocol::L3Default, RulePorts::All, ServiceId(service))
        };
        let targets = |services: &[u16], identities: [u64; 2]| {
            let rules: Vec<_> = (10..).zip(services).map(|(vip, service)| rule(vip, *service)).collect();
            Targets::new(&rules).with_identities(identities.map(RuleIdentity))
        };
        let (before, after) = (targets(&[3, 4], [77, 55]), targets(&[3, 4], [55, 66]));
        assert_eq!(before.identified(RuleIdentity(55)), Some((RuleId(1), ServiceId(4))));
        assert_eq!(after.identified(before.identity(RuleId(1))), Some((RuleId(0), ServiceId(3))));
        assert_eq!(after.identified(before.identity(RuleId(0))), None);
    }
}
