//! The addresses that the appliance answers for, its own and its VIPs, and their announcements.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use guideway_dataplane::address::Address;

use super::link::{LinkId, Links};
use super::neighbours::RETRANSMIT;
use super::received::solicited_node;
use super::schedule::Schedule;

/// How often an address is announced, one second apart: MAX_NEIGHBOR_ADVERTISEMENT of RFC 4861, section 10, and one
/// more than ANNOUNCE_NUM of RFC 5227, section 1.1.
const ANNOUNCEMENTS: u8 = 3;

/// Whether the appliance answers ARP and neighbour solicitations for a VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Never: the VIP is routed to the appliance's own address.
    Never,
    /// From an announcement to a withdrawal: of the appliances that share the VIP, one holds it at a time.
    WhenAnnounced,
    /// Always: the VIP is on a link, and of this appliance alone.
    Always,
}

/// A VIP, and how its neighbours find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The address.
    pub address: Address,
    /// Who asks for it gets an answer.
    pub answers: Answers,
}

/// An address cannot be announced, as the appliance never answers for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnswered(pub Address);

impl std::fmt::Display for NotAnswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the appliance does not answer for {}", self.0)
    }
}

impl std::error::Error for NotAnswered {}

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The appliance's own.
    Host,
    /// A VIP.
    Vip,
}

#[derive(Debug)]
struct Owned {
    role: Role,
    links: Vec<LinkId>,
    answers: Answers,
    announced: bool,
    announcements_left: u8,
}

impl Owned {
    fn holds(&self) -> bool {
        match self.answers {
            Answers::Never => false,
            Answers::WhenAnnounced => self.announced,
            Answers::Always => true,
        }
    }
}

/// The appliance's addresses.
#[derive(Debug)]
pub(super) struct OwnAddresses {
    owned: BTreeMap<Address, Owned>,
    schedule: Schedule<Address>,
}

impl OwnAddresses {
    pub(super) fn new(links: &Links, vips: &[Vip]) -> Self {
        let mut own = Self { owned: BTreeMap::new(), schedule: Schedule::new() };
        own.replace(links, vips);
        own
    }

    /// Replaces all addresses; a VIP that stays goes on as it was announced. An address of the appliance itself is no
    /// VIP.
    pub(super) fn replace(&mut self, links: &Links, vips: &[Vip]) {
        let old = std::mem::take(&mut self.owned);
        for (id, link) in links.iter() {
            for host in &link.addresses {
                // A link-local address may be that of several links.
                let owned = self.owned.entry(host.address).or_insert_with(|| Owned {
                    role: Role::Host,
                    links: Vec::new(),
                    answers: Answers::Always,
                    announced: false,
                    announcements_left: 0,
                });
                owned.links.push(id);
            }
        }
        for vip in vips {
            let (announced, announcements_left) =
                old.get(&vip.address).map_or((false, 0), |old| (old.announced, old.announcements_left));
            // Where no link's prefix holds it, whoever asks for it has a route that says it is here.
            let links = links
                .holding(vip.address)
                .map_or_else(|| links.iter().map(|(id, _)| id).collect(), |id| vec![id]);
            self.owned.entry(vip.address).or_insert(Owned {
                role: Role::Vip,
                links,
                answers: vip.answers,
                announced,
                announcements_left,
            });
        }
        for address in old.into_keys().filter(|address| !self.owned.get(address).is_some_and(Owned::holds)) {
            self.schedule.cancel(address);
        }
    }

    /// The VIPs, each with whether it was announced and is not withdrawn.
    pub(super) fn vips(&self) -> impl Iterator<Item = (Vip, bool)> {
        let vips = self.owned.iter().filter(|(_, owned)| owned.role == Role::Vip);
        vips.map(|(address, owned)| (Vip { address: *address, answers: owned.answers }, owned.announced))
    }

    pub(super) fn role(&self, address: Address) -> Option<Role> {
        self.owned.get(&address).map(|owned| owned.role)
    }

    /// Whether the appliance answers for `address` on `link` now; `None` where it is none of its own there.
    pub(super) fn answers(&self, link: LinkId, address: Address) -> Option<bool> {
        let owned = self.owned.get(&address)?;
        owned.links.contains(&link).then(|| owned.holds())
    }

    /// The groups in which the appliance listens for questions on `link`.
    pub(super) fn groups(&self, link: LinkId) -> BTreeSet<Address> {
        let here = |address: &Address, owned: &Owned| {
            !address.is_ipv4() && owned.holds() && owned.links.contains(&link)
        };
        let held = self.owned.iter().filter(|(address, owned)| here(address, owned));
        held.map(|(address, _)| solicited_node(*address)).collect()
    }

    /// Begins to answer for `address`, and to announce it.
    pub(super) fn announce(&mut self, address: Address, now: Duration) -> Result<(), NotAnswered> {
        let owned = self.owned.get_mut(&address).filter(|owned| owned.answers != Answers::Never);
        let owned = owned.ok_or(NotAnswered(address))?;
        owned.announced = true;
        owned.announcements_left = ANNOUNCEMENTS;
        self.schedule.set(address, now);
        Ok(())
    }

    /// Begins to announce all that the appliance answers for always.
    pub(super) fn announce_held(&mut self, now: Duration) {
        for (address, owned) in &mut self.owned {
            if owned.holds() {
                owned.announcements_left = ANNOUNCEMENTS;
                self.schedule.set(*address, now);
            }
        }
    }

    /// Ends announcements; a VIP that is answered for when announced is so no longer.
    pub(super) fn withdraw(&mut self, address: Address) {
        if let Some(owned) = self.owned.get_mut(&address) {
            owned.announced = false;
            self.schedule.cancel(address);
        }
    }

    /// When an announcement is due next.
    pub(super) fn next(&self) -> Option<Duration> {
        self.schedule.next()
    }

    /// An address whose announcement is due at `now`, and the links to announce it on.
    pub(super) fn due(&mut self, now: Duration) -> Option<(Address, &[LinkId])> {
        let address = self.schedule.pop(now)?;
        let owned = self.owned.get_mut(&address)?;
        owned.announcements_left = owned.announcements_left.saturating_sub(1);
        if owned.announcements_left > 0 {
            self.schedule.set(address, now + RETRANSMIT);
        }
        Some((address, &owned.links))
    }
}
