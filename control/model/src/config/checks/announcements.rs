//! Announcements: none tells what another tells, and a BIRD protocol stands for one address or prefix.

use std::collections::{BTreeSet, HashMap};

use crate::config::announcement::{Announcement, Hook};
use crate::config::forwarding_rule::ForwardingRule;
use crate::config::names::Scope;
use crate::config::report::{Report, Span};
use crate::config::written::field::elements;
use crate::config::written::vip_range::VipRange;

/// VIP of a network: the addresses, and the network's index.
type Vip = (VipRange, usize);

/// Reports announcements that tell the same as another, BIRD protocols that stand for more than one VIP, and VIPs that are told
/// of in the same words for two networks.
pub(super) fn check(
    scope: &Scope<'_>,
    announcements: &[Option<Announcement>],
    rules: &[Option<ForwardingRule>],
    report: &mut Report,
) {
    let mut told: HashMap<(&Hook, Option<VipRange>), &Span> = HashMap::new();
    for (file, announcement) in elements(&scope.file.announcement).iter().zip(announcements) {
        let (Some(file), Some(announcement)) = (file.get(), announcement) else { continue };
        let named = announcement.rules.iter().filter_map(|rule| rules[*rule].as_ref());
        let vips: BTreeSet<Vip> = named.map(|rule| (rule.vip, rule.network)).collect();
        let hook = &announcement.hook;
        if let Some([(vip, first), (_, second)]) =
            vips.iter().collect::<Vec<_>>().windows(2).find_map(|pair| match pair {
                [one, other] if one.0 == other.0 => Some([**one, **other]),
                _ => None,
            })
        {
            let (first, second) = (scope.networks.name(first), scope.networks.name(second));
            report.error(
                file.name.span(),
                format!("`{vip}` is told of for the networks `{first}` and `{second}` alike"),
                "give each network an announcement of its own, with its `forwarding_rules`, and its own BIRD protocol or \
                 a command of other words",
            );
            continue;
        }
        let vips: BTreeSet<VipRange> = vips.into_iter().map(|(vip, _)| vip).collect();
        let marks: Vec<Option<VipRange>> = match hook {
            Hook::Bird { protocol, .. } => {
                if let (Some(first), Some(last)) = (vips.first(), vips.last())
                    && first != last
                {
                    report.error(
                        file.name.span(),
                        format!("`{protocol}` would stand for both {first} and {last}"),
                        "BIRD turns a protocol on or off whole: give each address an announcement of its own",
                    );
                }
                vec![None]
            }
            Hook::Command(_) => vips.into_iter().map(Some).collect(),
        };
        for mark in marks {
            if let Some(first) = told.insert((hook, mark), file.name.span()) {
                report.error_beside(
                    file.name.span(),
                    "two announcements tell the same in the same way",
                    "leave it to one of them: they would contradict each other",
                    [(first, "the first".to_owned())],
                );
                break;
            }
        }
    }
}
