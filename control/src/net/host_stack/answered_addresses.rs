//! The addresses that the appliance answers for, which are its own and its VIPs, and their announcements.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use guideway_dataplane::address::Address;

use super::link::{LinkId, Links};
use super::neighbours::RETRANSMIT;
use super::received::solicited_node;
use crate::net::schedule::Schedule;

/// The announcements of an address, one second apart: MAX_NEIGHBOR_ADVERTISEMENT of RFC 4861, section 10, and one
/// more than ANNOUNCE_NUM of RFC 5227, section 1.1.
const ANNOUNCEMENTS: u8 = 3;

/// Shortest time from one repeated announcement to the next, of whatever addresses: 50 broadcasts a second at most.
const REPETITION_GAP: Duration = Duration::from_millis(20);

/// The condition under which the appliance answers ARP and neighbour solicitations for a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Never answers: the VIP is routed to the appliance's own address.
    Never,
    /// Answers from an announcement to a withdrawal: of the appliances that share the VIP, one holds it at a time.
    WhenAnnounced,
    /// Always answers: the VIP is on a link, and of this appliance alone.
    Always,
}

/// A VIP, and the condition under which its neighbours get an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The address.
    pub address: Address,
    /// The condition under which the appliance answers for the address.
    pub answers: Answers,
}

/// The error of an announcement of an address that the appliance never answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnswered(pub Address);

impl std::fmt::Display for NotAnswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the appliance does not answer for {}", self.0)
    }
}

impl std::error::Error for NotAnswered {}

/// The role of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// An address of the appliance itself.
    Host,
    /// A VIP.
    Vip,
}

#[derive(Debug)]
struct Entry {
    role: Role,
    links: Vec<LinkId>,
    /// Links on which the announcement is repeated.
    repeated_on: Vec<LinkId>,
    answers: Answers,
    announced: bool,
    announcements_left: u8,
}

impl Entry {
    /// True if the appliance answers for the address now.
    fn holds(&self) -> bool {
        match self.answers {
            Answers::Never => false,
            Answers::WhenAnnounced => self.announced,
            Answers::Always => true,
        }
    }

    /// True if the announcement of the address is repeated now.
    fn is_repeated(&self) -> bool {
        self.holds() && !self.repeated_on.is_empty()
    }
}

/// Announcement that is due.
#[derive(Debug)]
pub(super) struct Due<'a> {
    pub(super) address: Address,
    pub(super) links: &'a [LinkId],
    /// True if nothing has happened to the address: it is told again, so that switches do not forget.
    pub(super) is_repeated: bool,
}

/// Repetition of announcements: one address after the other, in their order, evenly over an interval.
#[derive(Debug)]
struct Repetition {
    every: Duration,
    next: Duration,
    latest: Option<Address>,
}

/// The table of the addresses that the appliance answers for.
#[derive(Debug)]
pub(super) struct AnsweredAddresses {
    entries: BTreeMap<Address, Entry>,
    /// The next announcement of each address.
    schedule: Schedule<Address>,
    repetition: Option<Repetition>,
}

impl AnsweredAddresses {
    pub(super) fn new(links: &Links, vips: &[Vip]) -> Self {
        let mut addresses = Self { entries: BTreeMap::new(), schedule: Schedule::new(), repetition: None };
        addresses.replace(links, vips);
        addresses
    }

    /// Replaces all addresses; a VIP that stays goes on as it was announced. An address of the appliance itself is no
    /// VIP.
    pub(super) fn replace(&mut self, links: &Links, vips: &[Vip]) {
        let old = std::mem::take(&mut self.entries);
        for (id, link) in links.iter() {
            for host in &link.addresses {
                // A link-local address may be that of several links.
                let entry = self.entries.entry(host.address).or_insert_with(|| Entry {
                    role: Role::Host,
                    links: Vec::new(),
                    repeated_on: Vec::new(),
                    answers: Answers::Always,
                    announced: false,
                    announcements_left: 0,
                });
                entry.links.push(id);
                entry.repeated_on.push(id);
            }
        }
        for vip in vips {
            let (announced, announcements_left) =
                old.get(&vip.address).map_or((false, 0), |old| (old.announced, old.announcements_left));
            let (links, repeated_on) = match links.holding(vip.address) {
                Some(id) => (vec![id], vec![id]),
                // Where no link's prefix holds the VIP, a host that asks for it has a route that says it is here. Others
                // have a route to an address of the appliance: only where it has none must they hear of the VIP again.
                None => {
                    let without_address = links.iter().filter(|(_, link)| link.addresses.is_empty());
                    (links.iter().map(|(id, _)| id).collect(), without_address.map(|(id, _)| id).collect())
                }
            };
            self.entries.entry(vip.address).or_insert(Entry {
                role: Role::Vip,
                links,
                repeated_on,
                answers: vip.answers,
                announced,
                announcements_left,
            });
        }
        for address in old.into_keys().filter(|address| !self.entries.get(address).is_some_and(Entry::holds))
        {
            self.schedule.cancel(address);
        }
    }

    /// The VIPs, each with `true` where it was announced and is not withdrawn.
    pub(super) fn vips(&self) -> impl Iterator<Item = (Vip, bool)> {
        let vips = self.entries.iter().filter(|(_, entry)| entry.role == Role::Vip);
        vips.map(|(address, entry)| (Vip { address: *address, answers: entry.answers }, entry.announced))
    }

    /// The role of an address; `None` where it is none of the appliance's.
    pub(super) fn role(&self, address: Address) -> Option<Role> {
        self.entries.get(&address).map(|entry| entry.role)
    }

    /// True if the appliance answers for `address` on `link` now; `None` where the address is none of its own there.
    pub(super) fn answers(&self, link: LinkId, address: Address) -> Option<bool> {
        let entry = self.entries.get(&address)?;
        entry.links.contains(&link).then(|| entry.holds())
    }

    /// The groups in which the appliance listens for questions on `link`.
    pub(super) fn groups(&self, link: LinkId) -> BTreeSet<Address> {
        let here = |address: &Address, entry: &Entry| {
            !address.is_ipv4() && entry.holds() && entry.links.contains(&link)
        };
        let held = self.entries.iter().filter(|(address, entry)| here(address, entry));
        held.map(|(address, _)| solicited_node(*address)).collect()
    }

    /// Begins to answer for `address`, and to announce it.
    pub(super) fn announce(&mut self, address: Address, now: Duration) -> Result<(), NotAnswered> {
        let entry = self.entries.get_mut(&address).filter(|entry| entry.answers != Answers::Never);
        let entry = entry.ok_or(NotAnswered(address))?;
        entry.announced = true;
        entry.announcements_left = ANNOUNCEMENTS;
        self.schedule.set(address, now);
        Ok(())
    }

    /// Begins to announce all addresses that the appliance answers for now.
    pub(super) fn announce_held(&mut self, now: Duration) {
        for (address, entry) in &mut self.entries {
            if entry.holds() {
                entry.announcements_left = ANNOUNCEMENTS;
                self.schedule.set(*address, now);
            }
        }
    }

    /// Stops the announcements of an address, and the answers for a VIP that is answered for when announced.
    pub(super) fn withdraw(&mut self, address: Address) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.announced = false;
            self.schedule.cancel(address);
        }
    }

    /// Repeats the announcement of each address at this interval from now on; never without one.
    pub(super) fn repeat(&mut self, every: Option<Duration>, now: Duration) {
        if every != self.repetition.as_ref().map(|repetition| repetition.every) {
            let start = |every| Repetition { every, next: now + self.gap(every), latest: None };
            self.repetition = every.map(start);
        }
    }

    /// Time from one repeated announcement to the next, for all addresses to have their turn within the interval.
    fn gap(&self, every: Duration) -> Duration {
        let repeated = self.entries.values().filter(|entry| entry.is_repeated()).count();
        (every / u32::try_from(repeated).unwrap_or(u32::MAX).max(1)).max(REPETITION_GAP)
    }

    /// The time at which an announcement is due next.
    pub(super) fn next(&self) -> Option<Duration> {
        let repeated = self.repetition.as_ref().map(|repetition| repetition.next);
        [self.schedule.next(), repeated].into_iter().flatten().min()
    }

    /// An announcement that is due at `now`.
    pub(super) fn due(&mut self, now: Duration) -> Option<Due<'_>> {
        let Some(address) = self.schedule.pop(now) else { return self.due_again(now) };
        let entry = self.entries.get_mut(&address)?;
        entry.announcements_left = entry.announcements_left.saturating_sub(1);
        if entry.announcements_left > 0 {
            self.schedule.set(address, now + RETRANSMIT);
        }
        Some(Due { address, links: &entry.links, is_repeated: false })
    }

    /// A repeated announcement that is due at `now`: that of the address after the latest one.
    fn due_again(&mut self, now: Duration) -> Option<Due<'_>> {
        let repetition = self.repetition.as_ref().filter(|repetition| repetition.next <= now)?;
        let gap = self.gap(repetition.every);
        let repetition = self.repetition.as_mut()?;
        repetition.next = now + gap;
        let after = repetition.latest.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.entries.range((after, Bound::Unbounded));
        let mut in_turn = later.chain(&self.entries).filter(|(_, entry)| entry.is_repeated());
        let (address, entry) = in_turn.next()?;
        repetition.latest = Some(*address);
        Some(Due { address: *address, links: &entry.repeated_on, is_repeated: true })
    }
}
