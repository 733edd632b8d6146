//! Neighbour replies: the rules of one address, or of one prefix, in one network agree on them.

use std::collections::HashMap;

use crate::config::names::Scope;
use crate::config::report::Report;
use crate::config::written::field::{Field, elements};
use crate::config::written::file::ForwardingRuleFile;
use crate::config::written::vip_range::VipRange;

/// Reports rules that share an address and disagree on the answers for it.
pub(super) fn check(scope: &Scope<'_>, report: &mut Report) {
    let mut first_of: HashMap<(usize, VipRange), &ForwardingRuleFile> = HashMap::new();
    for rule in elements(&scope.file.forwarding_rule).iter().filter_map(Field::get) {
        let Some(vip) = rule.ip_address.copied() else { continue };
        let Some(network) = scope.networks.find(&rule.network) else { continue };
        let first = *first_of.entry((network, vip)).or_insert(rule);
        let (Some(here), Some(there)) = (rule.neighbor_replies(), first.neighbor_replies()) else { continue };
        if here.0 != there.0 {
            let span = |rule: &ForwardingRuleFile| {
                rule.neighbor_replies.as_ref().map_or(rule.ip_address.span(), Field::span).clone()
            };
            report.error_beside(
                &span(rule),
                format!("two rules of `{vip}` disagree on `neighbor_replies`"),
                "write the same value into every rule of an address",
                [(&span(first), "the first".to_owned())],
            );
        }
    }
}
