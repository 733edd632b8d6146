//! The addresses that the appliance answers for, which are its own, its VIPs and those of VIPs' prefixes, and their
//! announcements.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use guideway_dataplane::address::{Address, Prefix};

use super::link::{LinkId, Links};
use super::neighbours::RETRANSMIT;
use super::received::solicited_node;
use crate::net::schedule::Schedule;

/// The announcements of an address, one second apart: MAX_NEIGHBOR_ADVERTISEMENT of RFC 4861, section 10, and one
/// more than ANNOUNCE_NUM of RFC 5227, section 1.1.
const ANNOUNCEMENTS: u8 = 3;

/// The most addresses of a prefix that are all announced, and in whose groups the appliance listens. Of a longer list,
/// the first alone is: routers are to have a route for such a prefix, which needs no announcement, and a flood of them
/// would help nobody.
const MAX_TOLD: u128 = 16;

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
    /// The address, or all addresses of the prefix.
    pub addresses: Prefix,
    /// The condition under which the appliance answers for them.
    pub answers: Answers,
}

/// The error of an announcement of an address, or of a prefix, that the appliance never answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnswered(pub Prefix);

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

/// An address of the appliance, a VIP, or the prefix of a VIP: who answers for it, and where.
#[derive(Debug)]
struct Held {
    role: Role,
    links: Vec<LinkId>,
    /// Links on which the announcement is repeated.
    repeated_on: Vec<LinkId>,
    answers: Answers,
    announced: bool,
}

impl Held {
    /// True if the appliance answers for the addresses now.
    fn is_answered_for(&self) -> bool {
        match self.answers {
            Answers::Never => false,
            Answers::WhenAnnounced => self.announced,
            Answers::Always => true,
        }
    }

    /// True if the announcement of the addresses is repeated now.
    fn is_repeated(&self) -> bool {
        self.is_answered_for() && !self.repeated_on.is_empty()
    }
}

/// Address that is announced, and in whose group the appliance listens.
#[derive(Debug)]
struct Told {
    /// Holder of the address.
    of: Prefix,
    announcements_left: u8,
}

/// Addresses of the appliance and of VIPs, by the length of their prefixes, longest first.
#[derive(Debug, Default)]
struct Holders(BTreeMap<Reverse<u8>, BTreeMap<Address, Held>>);

impl Holders {
    fn get(&self, prefix: Prefix) -> Option<&Held> {
        self.0.get(&Reverse(prefix.bits()))?.get(&prefix.network())
    }

    fn get_mut(&mut self, prefix: Prefix) -> Option<&mut Held> {
        self.0.get_mut(&Reverse(prefix.bits()))?.get_mut(&prefix.network())
    }

    fn entry(&mut self, prefix: Prefix) -> Entry<'_, Address, Held> {
        self.0.entry(Reverse(prefix.bits())).or_default().entry(prefix.network())
    }

    /// Longest prefix that holds `address`.
    fn holding(&self, address: Address) -> Option<(Prefix, &Held)> {
        self.0.iter().find_map(|(Reverse(bits), held)| {
            let prefix = address.in_prefix(*bits)?;
            held.get(&prefix.network()).map(|held| (prefix, held))
        })
    }

    fn iter(&self) -> impl Iterator<Item = (Prefix, &Held)> {
        self.0.iter().flat_map(|(Reverse(bits), held)| {
            held.iter().filter_map(|(network, held)| Some((network.in_prefix(*bits)?, held)))
        })
    }
}

/// Addresses of a holder that are announced: all of a short prefix, else the first alone.
fn announced_of(prefix: Prefix) -> impl Iterator<Item = Address> {
    let host_bits = 128 - u32::from(prefix.bits());
    let count = 1_u128.checked_shl(host_bits).filter(|count| *count <= MAX_TOLD).unwrap_or(1);
    (0..count).map(move |host| prefix.with_host(host))
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
    holders: Holders,
    told: BTreeMap<Address, Told>,
    /// The next announcement of each address.
    schedule: Schedule<Address>,
    repetition: Option<Repetition>,
}

impl AnsweredAddresses {
    pub(super) fn new(links: &Links, vips: &[Vip]) -> Self {
        let (holders, told) = (Holders::default(), BTreeMap::new());
        let mut addresses = Self { holders, told, schedule: Schedule::new(), repetition: None };
        addresses.replace(links, vips);
        addresses
    }

    /// Replaces all addresses; a VIP that stays goes on as it was announced. An address of the appliance itself is no
    /// VIP.
    pub(super) fn replace(&mut self, links: &Links, vips: &[Vip]) {
        let old = std::mem::take(&mut self.holders);
        for (id, link) in links.iter() {
            for host in &link.addresses {
                // A link-local address may be that of several links.
                let held = self.holders.entry(host.address.into()).or_insert_with(|| Held {
                    role: Role::Host,
                    links: Vec::new(),
                    repeated_on: Vec::new(),
                    answers: Answers::Always,
                    announced: false,
                });
                held.links.push(id);
                held.repeated_on.push(id);
            }
        }
        for vip in vips {
            let (links, repeated_on) = match links.holding(vip.addresses.network()) {
                Some(id) => (vec![id], vec![id]),
                // Where no link's prefix holds the VIP, a host that asks for it has a route that says it is here. Others
                // have a route to an address of the appliance: only where it has none must they hear of the VIP again.
                None => {
                    let without_address = links.iter().filter(|(_, link)| link.addresses.is_empty());
                    (links.iter().map(|(id, _)| id).collect(), without_address.map(|(id, _)| id).collect())
                }
            };
            let announced = old.get(vip.addresses).is_some_and(|old| old.announced);
            let vip_held = Held { role: Role::Vip, links, repeated_on, answers: vip.answers, announced };
            self.holders.entry(vip.addresses).or_insert(vip_held);
        }
        let old_told = std::mem::take(&mut self.told);
        // The longest prefix first, to which an address belongs that several hold.
        for (prefix, _) in self.holders.iter() {
            for address in announced_of(prefix) {
                let left = old_told.get(&address).filter(|old| old.of == prefix);
                let announcements_left = left.map_or(0, |old| old.announcements_left);
                self.told.entry(address).or_insert(Told { of: prefix, announcements_left });
            }
        }
        let mut gone = old_told;
        gone.retain(|address, old| {
            let now = self.told.get(address).filter(|now| now.of == old.of);
            !now.is_some_and(|now| self.holders.get(now.of).is_some_and(Held::is_answered_for))
        });
        for address in gone.into_keys() {
            self.schedule.cancel(address);
        }
    }

    /// The VIPs, by address, each with `true` where it was announced and is not withdrawn.
    pub(super) fn vips(&self) -> impl Iterator<Item = (Vip, bool)> {
        let vips = self.holders.iter().filter(|(_, held)| held.role == Role::Vip);
        let mut vips: Vec<_> = vips
            .map(|(addresses, held)| (Vip { addresses, answers: held.answers }, held.announced))
            .collect();
        vips.sort_by_key(|(vip, _)| vip.addresses);
        vips.into_iter()
    }

    /// The role of an address; `None` where it is none of the appliance's.
    pub(super) fn role(&self, address: Address) -> Option<Role> {
        self.holders.holding(address).map(|(_, held)| held.role)
    }

    /// True if the appliance answers for `address` on `link` now, and the prefix that holds it; `None` where the address
    /// is none of its own there.
    pub(super) fn answers(&self, link: LinkId, address: Address) -> Option<(bool, Prefix)> {
        let (prefix, held) = self.holders.holding(address)?;
        held.links.contains(&link).then(|| (held.is_answered_for(), prefix))
    }

    /// The groups in which the appliance listens for questions on `link`.
    pub(super) fn groups(&self, link: LinkId) -> BTreeSet<Address> {
        let is_here = |held: &Held| held.is_answered_for() && held.links.contains(&link);
        let ipv6 = self.told.iter().filter(|(address, _)| !address.is_ipv4());
        let here = ipv6.filter(|(_, told)| self.holders.get(told.of).is_some_and(is_here));
        here.map(|(address, _)| solicited_node(*address)).collect()
    }

    /// Begins to answer for an address or a prefix of a VIP, and to announce it.
    pub(super) fn announce(&mut self, held: Prefix, now: Duration) -> Result<(), NotAnswered> {
        let found = self.holders.get_mut(held).filter(|held| held.answers != Answers::Never);
        found.ok_or(NotAnswered(held))?.announced = true;
        self.schedule_announcements(held, now);
        Ok(())
    }

    /// Begins to announce all addresses that the appliance answers for now.
    pub(super) fn announce_held(&mut self, now: Duration) {
        let answered: Vec<_> =
            self.holders.iter().filter(|(_, held)| held.is_answered_for()).map(|(of, _)| of).collect();
        for held in answered {
            self.schedule_announcements(held, now);
        }
    }

    fn schedule_announcements(&mut self, held: Prefix, now: Duration) {
        for address in announced_of(held) {
            if let Some(told) = self.told.get_mut(&address).filter(|told| told.of == held) {
                told.announcements_left = ANNOUNCEMENTS;
                self.schedule.set(address, now);
            }
        }
    }

    /// Stops the announcements of an address or a prefix, and the answers for a VIP that is answered for when announced.
    pub(super) fn withdraw(&mut self, held: Prefix) {
        let Some(found) = self.holders.get_mut(held) else { return };
        found.announced = false;
        for address in announced_of(held) {
            if self.told.get(&address).is_some_and(|told| told.of == held) {
                self.schedule.cancel(address);
            }
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
        let repeated = self.told.values().filter(|told| self.repeats(told)).count();
        (every / u32::try_from(repeated).unwrap_or(u32::MAX).max(1)).max(REPETITION_GAP)
    }

    fn repeats(&self, told: &Told) -> bool {
        self.holders.get(told.of).is_some_and(Held::is_repeated)
    }

    /// The time at which an announcement is due next.
    pub(super) fn next(&self) -> Option<Duration> {
        let repeated = self.repetition.as_ref().map(|repetition| repetition.next);
        [self.schedule.next(), repeated].into_iter().flatten().min()
    }

    /// An announcement that is due at `now`.
    pub(super) fn due(&mut self, now: Duration) -> Option<Due<'_>> {
        let Some(address) = self.schedule.pop(now) else { return self.due_again(now) };
        let told = self.told.get_mut(&address)?;
        told.announcements_left = told.announcements_left.saturating_sub(1);
        if told.announcements_left > 0 {
            self.schedule.set(address, now + RETRANSMIT);
        }
        let held = self.holders.get(told.of)?;
        Some(Due { address, links: &held.links, is_repeated: false })
    }

    /// A repeated announcement that is due at `now`: that of the address after the latest one.
    fn due_again(&mut self, now: Duration) -> Option<Due<'_>> {
        let repetition = self.repetition.as_ref().filter(|repetition| repetition.next <= now)?;
        let (gap, latest) = (self.gap(repetition.every), repetition.latest);
        let later = self.told.range((latest.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded));
        let found = later.chain(&self.told).find(|(_, told)| self.repeats(told));
        let found = found.map(|(address, told)| (*address, told.of));
        let repetition = self.repetition.as_mut()?;
        repetition.next = now + gap;
        let (address, of) = found?;
        repetition.latest = Some(address);
        Some(Due { address, links: &self.holders.get(of)?.repeated_on, is_repeated: true })
    }
}
