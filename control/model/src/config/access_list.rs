//! Access lists: sources that a forwarding rule admits, and those that it denies.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::limits::MAX_ACCESS_LIST_ENTRIES;
use super::report::{Report, Span};
use super::written::choice::AccessAction;
use super::written::field::{Field, elements};
use super::written::file::AccessListFile;
use super::written::lengths::limit;
use super::written::value::ClientRange;

/// Sources that forwarding rules admit, and those that they deny: the longest prefix that holds a source decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessList {
    /// Name of the list, unique among access lists.
    pub name: String,
    /// Prefixes of both families, each with true if its sources are admitted; shared by configurations that have them in
    /// common.
    pub entries: Arc<BTreeMap<IpNet, bool>>,
    /// True if sources in none of the prefixes are admitted.
    pub admits_others: bool,
}

impl AccessList {
    pub(super) fn parse(file: &AccessListFile, report: &mut Report) -> Option<Self> {
        let (allow, deny) = (elements(&file.allow), elements(&file.deny));
        let mut within = limit("prefixes of `allow`", allow, MAX_ACCESS_LIST_ENTRIES, report);
        within &= limit("prefixes of `deny`", deny, MAX_ACCESS_LIST_ENTRIES, report);
        if !within {
            return None;
        }
        let (mut entries, mut spans) = (BTreeMap::new(), BTreeMap::<IpNet, &Span>::new());
        for (fields, admits) in [(allow, true), (deny, false)] {
            for field in fields {
                let Some(ClientRange(range)) = field.copied() else { continue };
                // A prefix that feeds name twice is no mistake; one that is allowed and denied is.
                if entries.insert(range, admits).is_some_and(|before| before != admits) {
                    let first = spans.get(&range).map(|span| (*span, "allowed here".to_owned()));
                    let message = format!("`{range}` is both allowed and denied");
                    report.error_beside(
                        field.span(),
                        message,
                        "leave it in one of `allow` and `deny`",
                        first,
                    );
                }
                spans.insert(range, field.span());
            }
        }
        let is_read = |fields: &[Field<ClientRange>]| fields.iter().all(|field| field.get().is_some());
        Some(Self {
            name: file.name.get()?.0.clone(),
            entries: Arc::new(entries),
            admits_others: file.default_action.copied()?.0 == AccessAction::Allow,
        })
        .filter(|_| is_read(allow) && is_read(deny))
    }

    /// Longest prefix that holds a source; none where no prefix does, and the default decides.
    pub fn longest(&self, source: IpAddr) -> Option<(IpNet, bool)> {
        let longest = if source.is_ipv4() { 32 } else { 128 };
        (0..=longest).rev().find_map(|length| {
            let prefix = IpNet::new(source, length).ok()?.trunc();
            self.entries.get(&prefix).map(|admits| (prefix, *admits))
        })
    }
}
