//! Events of neighbours: another MAC address of one that matters, and claims to its address that were refused.
//!
//! Machines on a link can cause these, millions of times: an event is worth its room while it is rare. So no more than so many
//! name a neighbour within a time, and a number stands for the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use guideway_dataplane::ingress::NetworkId;

use super::event_log::Note;
use crate::api::view::EventKind;
use crate::net::host_stack::{NextHop, RefusedClaims};
use crate::run::appliance::{Appliance, NeighbourChange, NeighbourUsers};

/// Time within which neighbours are named.
const WINDOW: Duration = Duration::from_secs(10);

/// Neighbours that are named within that time.
const NAMED: u64 = 20;

/// Time between two events of claims to one neighbour's address.
const REFUSED_EVERY: Duration = Duration::from_secs(60);

/// Watch of the neighbours.
#[derive(Debug, Default)]
pub(super) struct NeighbourWatch {
    changes: Window,
    refusals: Window,
    /// Latest event of claims to each neighbour's address, and the refusals since.
    refused: BTreeMap<(NetworkId, NextHop), Told>,
}

/// Events of one kind within a time.
#[derive(Debug, Default)]
struct Window {
    began: Option<Duration>,
    events: u64,
}

#[derive(Debug)]
struct Told {
    at: Duration,
    untold: Option<RefusedClaims>,
}

impl Window {
    /// True if one more event may name its neighbour.
    fn admits(&mut self, now: Duration) -> bool {
        self.began.get_or_insert(now);
        self.events += 1;
        self.events <= NAMED
    }

    /// Events that were not told in a time that is over.
    fn left_out(&mut self, now: Duration) -> Option<u64> {
        if now < self.began? + WINDOW {
            return None;
        }
        self.began = None;
        let left_out = std::mem::take(&mut self.events).saturating_sub(NAMED);
        (left_out > 0).then_some(left_out)
    }
}

impl NeighbourWatch {
    /// Looks at what has happened since the last look.
    pub(super) fn look(&mut self, appliance: &mut Appliance, now: Duration) -> Vec<Note> {
        let mut notes = self.summaries(now);
        let mut changes = appliance.take_neighbour_changes();
        changes.retain(|_| self.changes.admits(now));
        let mut refusals = self.due_refusals(appliance.take_refused_claims(), now);
        refusals.retain(|_| self.refusals.admits(now));
        if changes.is_empty() && refusals.is_empty() {
            return notes;
        }
        let changed_ones = changes.iter().map(|(network, next_hop, _)| (*network, *next_hop));
        let claimed_ones = refusals.iter().map(|(network, next_hop, _)| (*network, *next_hop));
        let users = appliance.users_of(&changed_ones.chain(claimed_ones).collect::<BTreeSet<_>>());
        let name = |network| appliance.state().network_name(network);
        notes.extend(changes.into_iter().map(|(network, next_hop, change)| {
            let users = &users[&(network, next_hop)];
            let text = changed(next_hop, users, change);
            note(EventKind::NeighborChanged, users, text).in_network(name(network))
        }));
        notes.extend(refusals.into_iter().map(|(network, next_hop, claims)| {
            let users = &users[&(network, next_hop)];
            let text = refused(next_hop, users, claims);
            note(EventKind::NeighborClaimRefused, users, text).in_network(name(network))
        }));
        notes
    }

    /// Events that stand for those that were not told.
    fn summaries(&mut self, now: Duration) -> Vec<Note> {
        let seconds = WINDOW.as_secs();
        let changes = self.changes.left_out(now).map(|count| {
            let text = format!("{count} more neighbours have other MAC addresses than {seconds} s ago");
            Note::new(EventKind::NeighborChanged, text)
        });
        let refusals = self.refusals.left_out(now).map(|count| {
            let text = format!("claims to the addresses of {count} more neighbours are refused");
            Note::new(EventKind::NeighborClaimRefused, text)
        });
        changes.into_iter().chain(refusals).collect()
    }

    /// Takes in refusals, and returns those of neighbours of which nothing was told for a while.
    fn due_refusals(
        &mut self,
        refused: Vec<(NetworkId, NextHop, RefusedClaims)>,
        now: Duration,
    ) -> Vec<(NetworkId, NextHop, RefusedClaims)> {
        let mut due = Vec::new();
        for (network, next_hop, claims) in refused {
            match self.refused.get_mut(&(network, next_hop)) {
                Some(told) => {
                    let before = told.untold.map_or(0, |untold| untold.count);
                    told.untold = Some(RefusedClaims { count: before + claims.count, ..claims });
                }
                None => {
                    self.refused.insert((network, next_hop), Told { at: now, untold: None });
                    due.push((network, next_hop, claims));
                }
            }
        }
        // Forgotten where nothing was refused for so long: the table is no larger than the neighbours of that time.
        self.refused.retain(|(network, next_hop), told| {
            if now < told.at + REFUSED_EVERY {
                return true;
            }
            told.at = now;
            let untold = told.untold.take();
            due.extend(untold.map(|claims| (*network, *next_hop, claims)));
            untold.is_some()
        });
        due
    }
}

/// Event of a neighbour; of one backend's, where nobody else needs it.
fn note(kind: EventKind, users: &NeighbourUsers, text: String) -> Note {
    match users.backends.as_slice() {
        [(service, backend)] if !users.is_gateway => Note::of_backend(kind, service, backend, text),
        _ => Note::new(kind, text),
    }
}

fn changed(next_hop: NextHop, users: &NeighbourUsers, change: NeighbourChange) -> String {
    let NeighbourChange { before, now } = change;
    format!("{} ({}) has moved from {before} to {now}", next_hop.address, words(users))
}

fn refused(next_hop: NextHop, users: &NeighbourUsers, claims: RefusedClaims) -> String {
    let (address, who) = (next_hop.address, words(users));
    let RefusedClaims { claimed, known, count } = claims;
    match count {
        1 => format!("{claimed} claims {address} ({who}) in vain: {known} answers"),
        count => format!(
            "{count} claims to {address} ({who}) were in vain, the last of {claimed}: {known} answers"
        ),
    }
}

/// Words for those that need a neighbour.
fn words(users: &NeighbourUsers) -> String {
    let gateway = users.is_gateway.then(|| "gateway".to_owned());
    let backends = users.backends.iter().map(|(service, backend)| format!("backend {backend} of {service}"));
    let named: Vec<String> = gateway.into_iter().chain(backends).collect();
    let more = match users.more {
        0 => String::new(),
        more => format!(" and {more} more backends"),
    };
    if named.is_empty() { "needed no longer".to_owned() } else { format!("{}{more}", named.join(", ")) }
}

#[cfg(test)]
mod tests {
    use guideway_dataplane::address::Address;
    use guideway_dataplane::wire::ethernet::MacAddress;

    use super::*;
    use crate::net::host_stack::LinkId;

    fn next_hop(host: u8) -> NextHop {
        NextHop { link: LinkId(0), address: Address::v4([192, 0, 2, host]) }
    }

    fn claims(count: u64) -> RefusedClaims {
        RefusedClaims {
            claimed: MacAddress([2, 0, 0, 0, 0, 9]),
            known: MacAddress([2, 0, 0, 0, 0, 7]),
            count,
        }
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn claims_to_one_address_are_told_at_once_and_then_once_a_minute_with_their_number() {
        let mut watch = NeighbourWatch::default();
        let told: Vec<(u64, u64)> = (0..200)
            .flat_map(|at| {
                let refused =
                    if at < 150 { vec![(NetworkId(0), next_hop(7), claims(2))] } else { Vec::new() };
                watch.due_refusals(refused, secs(at)).into_iter().map(move |(.., claims)| (at, claims.count))
            })
            .collect();
        assert_eq!(told, [(0, 2), (60, 120), (120, 120), (180, 58)]);
        assert_eq!(watch.due_refusals(Vec::new(), secs(240)), []);
        assert!(watch.refused.is_empty(), "nothing is kept of what is over");
    }

    #[test]
    fn no_more_than_so_many_neighbours_are_named_and_the_rest_is_a_number() {
        let mut window = Window::default();
        assert_eq!((0..4_096).filter(|_| window.admits(secs(5))).count(), NAMED as usize);
        assert_eq!((window.left_out(secs(14)), window.left_out(secs(15))), (None, Some(4_096 - NAMED)));
        assert_eq!((window.admits(secs(16)), window.left_out(secs(40))), (true, None));
    }

    #[test]
    fn an_event_names_those_that_need_the_neighbour() {
        let backend = |number: u32| ("web".to_owned(), format!("b{number}"));
        let users = |is_gateway, backends: u32| NeighbourUsers {
            is_gateway,
            backends: (0..backends.min(3)).map(backend).collect(),
            more: backends.saturating_sub(3) as usize,
        };
        let change = NeighbourChange { before: claims(1).known, now: claims(1).claimed };
        assert_eq!(
            changed(next_hop(7), &users(false, 1), change),
            "192.0.2.7 (backend b0 of web) has moved from 02:00:00:00:00:07 to 02:00:00:00:00:09"
        );
        assert_eq!(
            refused(next_hop(1), &users(true, 5), claims(1)),
            "02:00:00:00:00:09 claims 192.0.2.1 (gateway, backend b0 of web, backend b1 of web, backend b2 of web and 2 \
             more backends) in vain: 02:00:00:00:00:07 answers"
        );
        assert_eq!(
            refused(next_hop(7), &users(false, 0), claims(3)),
            "3 claims to 192.0.2.7 (needed no longer) were in vain, the last of 02:00:00:00:00:09: 02:00:00:00:00:07 \
             answers"
        );
        assert_eq!(note(EventKind::NeighborChanged, &users(false, 1), String::new()).service(), Some("web"));
        assert_eq!(note(EventKind::NeighborChanged, &users(true, 1), String::new()).service(), None);
    }
}
