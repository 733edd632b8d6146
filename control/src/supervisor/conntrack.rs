//! Looks into the conntrack table for an operator.
//!
//! A table of millions of entries takes a while to read. A thread of its own does that, one at a time, so that neither
//! the workers nor the control thread notice.

use std::sync::Arc;

use guideway_dataplane::conntrack::{Entry, Standing, TrackingKey};
use guideway_dataplane::forwarding_rule::RuleMatch;
use guideway_dataplane::snapshot::Snapshot;
use guideway_dataplane::time::Tick;

use super::{Ports, Supervisor};
use crate::admin::Reply;
use crate::admin::view::{ConntrackEntry, ConntrackList, ConntrackLookup};
use crate::directory::Directory;
use crate::explain;
use crate::flow_text::FlowText;
use crate::service::UnknownName;

impl<P: Ports> Supervisor<P> {
    /// Has the table read, and replies when that is done.
    pub(super) fn list_conntrack(
        &self,
        service: Option<String>,
        backend: Option<String>,
        limit: usize,
        reply: Reply<ConntrackList>,
    ) {
        if let Some(service) = service.as_deref().filter(|name| self.appliance.services().get(name).is_none())
        {
            return drop(reply.send(Err(UnknownName::Service(service.to_owned()).into())));
        }
        let (feed, table) = (self.appliance.feed(), Arc::clone(&self.shared.table));
        let (directory, now) = (Arc::clone(self.appliance.directory()), self.shared.clock.now());
        let read = move || {
            let mut subscriber = feed.subscribe();
            let snapshot = subscriber.repin();
            let mut list = ConntrackList { matching: 0, entries: Vec::new() };
            for (key, entry) in table.entries() {
                let Some(shown) = show(key, &entry, &directory, snapshot, now) else { continue };
                let wanted = service.as_ref().is_none_or(|name| *name == shown.service)
                    && backend.as_ref().is_none_or(|name| *name == shown.backend);
                list.matching += u64::from(wanted);
                if wanted && list.entries.len() < limit {
                    list.entries.push(shown);
                }
            }
            drop(reply.send(Ok(list)));
        };
        // A thread that cannot be had drops the reply, and whoever asked is told that there is none.
        if let Err(error) = std::thread::Builder::new().name("conntrack-list".to_owned()).spawn(read) {
            tracing::error!("cannot read the conntrack table: {error}");
        }
    }

    /// What a packet of this flow would find.
    pub(super) fn look_up_flow(&self, text: FlowText) -> ConntrackLookup {
        let mut subscriber = self.appliance.feed().subscribe();
        let snapshot = subscriber.repin();
        let directory = self.appliance.directory();
        let mut lookup = ConntrackLookup {
            flow: text.to_string(),
            forwarding_rule: None,
            service: None,
            tracked: false,
            tuple: None,
            entry: None,
        };
        let RuleMatch::Rule(rule, id) = snapshot.rules.lookup(&text.0) else { return lookup };
        lookup.forwarding_rule = Some(directory.rule(rule).to_owned());
        lookup.service = Some(directory.service(id).to_string());
        let service = snapshot.service(id);
        let treatment = service.policy.treatment(text.0.protocol);
        lookup.tracked = treatment.tracked;
        if !lookup.tracked {
            return lookup;
        }
        let tuple = treatment.tracking_tuple(&text.0);
        lookup.tuple = Some(explain::describe(tuple).to_owned());
        let key = self.shared.hasher.key(service.key, tuple, &text.0);
        let found = self.shared.table.lookup(key).map(|found| found.entry());
        let now = self.shared.clock.now();
        lookup.entry = found.and_then(|entry| show(key, &entry, directory, snapshot, now));
        lookup
    }
}

/// A valid entry in words.
fn show(
    key: TrackingKey,
    entry: &Entry,
    directory: &Directory,
    snapshot: &Snapshot,
    now: Tick,
) -> Option<ConntrackEntry> {
    if snapshot.standing(entry, now) == Standing::Void {
        return None;
    }
    let (service, backend) = directory.service_and_backend(entry.backend)?;
    Some(ConntrackEntry {
        key: format!("{:016x}", key.0),
        service: service.to_string(),
        backend: backend.to_string(),
        idle_sec: entry.idle(now),
        half_open: entry.half_open,
        persists: entry.persists,
    })
}
