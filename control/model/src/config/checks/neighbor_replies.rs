//! Neighbour replies: the rules of one address, or of one prefix, agree on them.

use std::collections::HashMap;

use crate::config::report::Report;
use crate::config::written::field::Field;
use crate::config::written::file::ForwardingRuleFile;
use crate::config::written::vip_range::VipRange;

/// Reports rules that share an address and disagree on the answers for it.
pub(super) fn check(rules: &[Field<ForwardingRuleFile>], report: &mut Report) {
    let mut first_of: HashMap<VipRange, &ForwardingRuleFile> = HashMap::new();
    for rule in rules.iter().filter_map(Field::get) {
        let Some(vip) = rule.ip_address.copied() else { continue };
        let first = *first_of.entry(vip).or_insert(rule);
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
