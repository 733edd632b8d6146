//! Announcements: none tells what another tells, and a BIRD protocol stands for one address or prefix.

use std::collections::{BTreeSet, HashMap};

use crate::config::announcement::{Announcement, Hook};
use crate::config::forwarding_rule::ForwardingRule;
use crate::config::report::{Report, Span};
use crate::config::written::field::elements;
use crate::config::written::file::ConfigFile;
use crate::config::written::vip_range::VipRange;

/// VIP of a network: the network's index, and the addresses.
type Vip = (usize, VipRange);

/// Reports announcements that tell the same as another, and BIRD protocols that stand for more than one VIP.
pub(super) fn check(
    file: &ConfigFile,
    announcements: &[Option<Announcement>],
    rules: &[Option<ForwardingRule>],
    report: &mut Report,
) {
    let mut told: HashMap<(&Hook, Option<Vip>), &Span> = HashMap::new();
    for (file, announcement) in elements(&file.announcement).iter().zip(announcements) {
        let (Some(file), Some(announcement)) = (file.get(), announcement) else { continue };
        let named = announcement.rules.iter().filter_map(|rule| rules[*rule].as_ref());
        let vips: BTreeSet<Vip> = named.map(|rule| (rule.network, rule.vip)).collect();
        let hook = &announcement.hook;
        let marks: Vec<Option<Vip>> = match hook {
            Hook::Bird { protocol, .. } => {
                if let (Some(first), Some(last)) = (vips.first(), vips.last())
                    && first != last
                {
                    let both = match (first.1, last.1) {
                        (first, last) if first == last => format!("{first} in two networks"),
                        (first, last) => format!("both {first} and {last}"),
                    };
                    report.error(
                        file.name.span(),
                        format!("`{protocol}` would stand for {both}"),
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
