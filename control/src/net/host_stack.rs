//! The appliance's own packets: ARP and neighbour discovery for its addresses and its VIPs, echo replies, and the
//! MAC addresses of the neighbours that packets are delivered to.
//!
//! Pure: frames that the data plane passed on go into [`HostStack::handle`], the frames that the appliance sends come
//! out of [`HostStack::transmit`], and time is an argument.
//!
//! ```text
//!  passed frames --> handle --+--> answers -------> queue --> transmit
//!                             |                       ^
//!                             +--> neighbours --------+-- questions, announcements (poll)
//!                                      |
//!                                      +--> events: a next hop is known, has changed, is lost
//! ```
//!
//! smoltcp's wire formats read and write the bytes; what is said is decided here and not by smoltcp's `Interface`. That
//! has room for eight addresses, where an appliance may have a thousand VIPs; answers for each of them alike, where the
//! operator decides; learns every host that asks, where a stranger must not fill a table; and keeps what it learned to
//! itself, where delivery needs it. It suits what needs TCP: packets to an address of the appliance itself are
//! [`FrameKind::OtherOwn`], for the caller to hand on.
//!
//! Frames are of the link whose port and VLAN tag they have, and are answered under that tag; a second tag, or a tag of
//! no link, is counted as [`FrameKind::UnknownVlan`]. Answers go to the MAC address that asked, so none waits for a
//! neighbour to be resolved. The port must let in, beside its own MAC address and broadcasts, the multicast of IPv6.
//!
//! Deliberately absent: fragments are not put together, so an echo request in fragments stays unanswered; nobody is
//! asked whether an address is free before it is used, but claims of other hosts to it are counted, and answered by an
//! announcement, once in ten seconds (RFC 5227, section 2.4); router
//! advertisements and redirects change nothing, for gateways are configured; queries of MLDv1 stay unanswered.

mod answered_addresses;
mod asker_buckets;
mod counters;
mod defence;
mod egress;
mod link;
mod neighbours;
mod outgoing;
mod received;
mod token_bucket;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use guideway_dataplane::address::{Address, Prefix};
use guideway_dataplane::egress::PortId;
use guideway_dataplane::wire::ethernet::MacAddress;

pub use answered_addresses::{Answers, NotAnswered, Vip};
pub use counters::{Counters, FrameKind};
pub use link::{HostAddress, Link, LinkId, NextHop, VlanId};
pub use neighbours::{MAX_NEIGHBOURS, NeighbourEvent, RefusedClaims, TooManyNeighbours};
pub use outgoing::{MAX_QUEUED_BYTES, Outgoing};

use answered_addresses::{AnsweredAddresses, Due, Role};
use asker_buckets::AskerBuckets;
use defence::Defence;
use link::Links;
use neighbours::{Heard, Neighbours};
use outgoing::Queue;
use received::{Echo, Envelope, Message, Resolution, Unreadable};
use token_bucket::TokenBucket;

/// The frames that the host stack sends in a second, by sort; a tenth of that in a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Echo replies to one asker, by its MAC address.
    pub echo_replies_per_sec: u32,
    /// Answers to ARP requests and neighbour solicitations of one asker, and answers to group queries of all.
    pub answers_per_sec: u32,
    /// Questions to neighbours and announcements. Those beyond the rate are sent later.
    pub questions_per_sec: u32,
}

impl Default for Rates {
    fn default() -> Self {
        Self { echo_replies_per_sec: 1_000, answers_per_sec: 1_000, questions_per_sec: 1_000 }
    }
}

/// The claim of another host to an address that the appliance answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The link on which the claim was heard.
    pub link: LinkId,
    /// The address that is claimed.
    pub address: Address,
    /// The address again, or the prefix of the VIP that holds it.
    pub held: Prefix,
    /// The MAC address of the other host.
    pub mac: MacAddress,
    /// Time at which the claim was heard.
    pub at: Duration,
}

/// The appliance as a host on its links.
#[derive(Debug)]
pub struct HostStack {
    links: Links,
    addresses: AnsweredAddresses,
    neighbours: Neighbours,
    queue: Queue,
    counters: Counters,
    last_conflict: Option<Conflict>,
    defence: Defence,
    echo_replies: AskerBuckets,
    answers: AskerBuckets,
    group_answers: TokenBucket,
    questions: TokenBucket,
}

impl HostStack {
    /// A host on `links`, each of which is named by its index, with `vips`. The host says nothing unasked until
    /// [`HostStack::announce_all`].
    pub fn new(links: Vec<Link>, vips: &[Vip], rates: Rates) -> Self {
        let links = Links(links);
        Self {
            addresses: AnsweredAddresses::new(&links, vips),
            links,
            neighbours: Neighbours::new(),
            queue: Queue::default(),
            counters: Counters::default(),
            last_conflict: None,
            defence: Defence::default(),
            echo_replies: AskerBuckets::new(rates.echo_replies_per_sec),
            answers: AskerBuckets::new(rates.answers_per_sec),
            group_answers: TokenBucket::new(rates.answers_per_sec),
            questions: TokenBucket::new(rates.questions_per_sec),
        }
    }

    /// Replaces the appliance's own addresses and gateways on its links, and the VIPs; neighbours stay as they are known.
    ///
    /// A VIP that stays goes on as it was announced; an address that is the appliance's own is no VIP.
    ///
    /// # Panics
    /// If there are not as many links as before.
    pub fn set_links(&mut self, links: Vec<Link>, vips: &[Vip]) {
        assert_eq!(links.len(), self.links.0.len(), "links are named by their index");
        self.links = Links(links);
        self.addresses.replace(&self.links, vips);
    }

    /// The VIPs, each with `true` where it was announced and is not withdrawn.
    pub fn vips(&self) -> impl Iterator<Item = (Vip, bool)> {
        self.addresses.vips()
    }

    /// Announces every address that the appliance answers for now, three times, as on the start.
    pub fn announce_all(&mut self, now: Duration) {
        self.addresses.announce_held(now);
    }

    /// Begins to answer for an address, or for the prefix of a VIP, and announces it three times, as on a takeover: each
    /// address of a prefix of at most 16, of a larger one the first.
    ///
    /// # Errors
    /// [`NotAnswered`] where `held` is none of the appliance's, or a VIP that it never answers for.
    pub fn announce(&mut self, held: impl Into<Prefix>, now: Duration) -> Result<(), NotAnswered> {
        self.addresses.announce(held.into(), now)
    }

    /// Repeats the announcement of each address that the appliance answers for, at this interval from now on, evenly spread
    /// and 50 a second at most; never without an interval. Of a port that sends nothing else, as one that takes clients'
    /// packets for backends elsewhere, switches would forget the MAC address.
    ///
    /// A VIP on no link is repeated only on links without an own address: elsewhere, routers have it by that address.
    pub fn repeat_announcements(&mut self, every: Option<Duration>, now: Duration) {
        self.addresses.repeat(every, now);
    }

    /// Stops the announcements of an address or a prefix, and the answers for a VIP that is answered for when announced.
    pub fn withdraw(&mut self, held: impl Into<Prefix>) {
        self.addresses.withdraw(held.into());
    }

    /// The neighbour whose MAC address a packet to `destination` needs: the destination itself where it is on a link,
    /// else a gateway. `None` where there is no way to it.
    pub fn next_hop(&self, destination: Address) -> Option<NextHop> {
        self.links.next_hop(destination)
    }

    /// Resolves a neighbour, and keeps its MAC address fresh until it is forgotten; events tell of it.
    ///
    /// # Errors
    /// [`TooManyNeighbours`] where [`MAX_NEIGHBOURS`] are watched already.
    ///
    /// # Panics
    /// If the link is of another host stack.
    pub fn resolve(&mut self, next_hop: NextHop, now: Duration) -> Result<(), TooManyNeighbours> {
        assert!(usize::from(next_hop.link.0) < self.links.0.len(), "{next_hop:?} is on no link");
        self.neighbours.watch(next_hop, now)
    }

    /// Asks a neighbour at once if it is still where it was: what was sent to it has failed. Nothing is asked where its word is
    /// waited for, or has just come.
    pub fn doubt(&mut self, next_hop: NextHop, now: Duration) {
        self.neighbours.doubt(next_hop, now);
    }

    /// Notes that frames were lost on their way here before this moment. A neighbour's silence proves nothing meanwhile: it keeps
    /// its MAC address, and is asked again.
    pub fn note_lost_frames(&mut self, now: Duration) {
        self.neighbours.note_lost_frames(now);
    }

    /// True if a claim to a neighbour's address waits for the word of the known MAC address.
    pub fn has_claimed_neighbours(&self) -> bool {
        self.neighbours.has_claimed()
    }

    /// Stops resolving a neighbour.
    pub fn forget(&mut self, next_hop: NextHop) {
        self.neighbours.forget(next_hop);
    }

    /// The MAC address of a neighbour that is being resolved, where it is known.
    pub fn mac(&self, next_hop: NextHop) -> Option<MacAddress> {
        self.neighbours.mac(next_hop)
    }

    /// The changes of neighbours since the last call: at most one event for each.
    pub fn events(&mut self) -> Vec<NeighbourEvent> {
        let events = self.neighbours.events();
        self.counters.neighbour_changes += events.iter().filter(|event| event.is_change()).count() as u64;
        events
    }

    /// Takes the claims to neighbours' addresses that were refused since the last call, by neighbour.
    pub fn take_refused_claims(&mut self) -> BTreeMap<NextHop, RefusedClaims> {
        self.neighbours.take_refused()
    }

    /// The counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The latest claim of another host to an address that the appliance answers for.
    pub fn last_conflict(&self) -> Option<Conflict> {
        self.last_conflict
    }

    /// MAC addresses of the groups that the appliance listens to by this port; none where it has no IPv6 address there.
    pub fn groups(&self, port: PortId) -> Vec<MacAddress> {
        let here = self.links.iter().filter(|(_, link)| link.port == port);
        let mut groups: BTreeSet<_> = here.flat_map(|(id, _)| self.addresses.groups(id)).collect();
        if !groups.is_empty() {
            groups.insert(outgoing::ALL_NODES);
        }
        groups.into_iter().map(outgoing::multicast_mac).collect()
    }

    /// The links.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.0.iter()
    }

    /// The link of a [`NextHop`].
    ///
    /// # Panics
    /// If the link is of another host stack.
    pub fn link(&self, link: LinkId) -> &Link {
        self.links.get(link)
    }

    /// Takes in a frame that came by `port`, answers it where that is due, and returns its kind.
    pub fn handle(&mut self, port: PortId, frame: &[u8], now: Duration) -> FrameKind {
        let kind = self.sort(port, frame, now);
        self.counters.received[kind as usize] += 1;
        kind
    }

    /// Queues the questions and announcements that are due at `now`.
    pub fn poll(&mut self, now: Duration) {
        while self.addresses.next().is_some_and(|due| due <= now) && self.questions.take(now) {
            let Some(Due { address, links, is_repeated }) = self.addresses.due(now) else { continue };
            for link in links {
                let link = self.links.get(*link);
                // Routers and switches ask for groups by themselves, and are told unasked of changes alone.
                if !address.is_ipv4() && !is_repeated {
                    let report = Outgoing::group_report(link, true, &[received::solicited_node(address)]);
                    let counters = &mut self.counters;
                    send(&mut self.queue, report, &mut counters.group_reports, &mut counters.queue_full);
                }
                let frame = Outgoing::announcement(link, address);
                send(&mut self.queue, frame, &mut self.counters.announcements, &mut self.counters.queue_full);
            }
        }
        while self.neighbours.next().is_some_and(|due| due <= now) && self.questions.take(now) {
            let Some(question) = self.neighbours.ask(now) else { continue };
            let NextHop { link, address } = question.next_hop;
            let link = self.links.get(link);
            // A link without an address of the family has nobody to ask from; the neighbour stays unknown.
            let Some(own) = link.source_for(address) else { continue };
            let frame = Outgoing::question(link, question.to, own, address);
            send(&mut self.queue, frame, &mut self.counters.probes, &mut self.counters.queue_full);
        }
    }

    /// The time at which [`HostStack::poll`] has something to do next, if nothing comes in until then.
    pub fn next_poll(&self) -> Option<Duration> {
        let due = [self.addresses.next(), self.neighbours.next()].into_iter().flatten().min()?;
        Some(due.max(self.questions.next()?))
    }

    /// The next frame to send.
    pub fn transmit(&mut self) -> Option<Outgoing> {
        self.queue.pop()
    }

    fn sort(&mut self, port: PortId, frame: &[u8], now: Duration) -> FrameKind {
        let envelope = match Envelope::open(frame) {
            Ok(envelope) => envelope,
            Err(Unreadable::Malformed) => return FrameKind::Malformed,
            Err(Unreadable::ForeignTags) => return FrameKind::UnknownVlan,
        };
        let Some(link) = self.links.of(port, envelope.vlan) else { return FrameKind::UnknownVlan };
        let own = self.links.get(link).mac;
        // Frames that the appliance sent and hears again, by a loop or by another of its ports, tell it nothing.
        if self.links.is_own(envelope.source) {
            return FrameKind::NotForUs;
        }
        // A group has no address to be answered to.
        if envelope.source.is_group() {
            return FrameKind::Malformed;
        }
        let is_to_us = envelope.destination == own;
        if !is_to_us && !envelope.destination.is_group() {
            return FrameKind::NotForUs;
        }
        match envelope.message(own) {
            Err(_) => FrameKind::Malformed,
            Ok(Message::Resolution(resolution)) => self.resolution(link, &resolution, envelope.source, now),
            Ok(Message::GroupQuery(group)) => self.group_query(link, group, now),
            // RFC 1122, section 3.2.2.6, leaves echo requests to groups unanswered, and RFC 1812, section 4.2.3.1,
            // discards what came in a group's frame to a single host.
            _ if !is_to_us => FrameKind::NotForUs,
            Ok(Message::Echo(echo)) => self.echo(link, &echo, envelope.source, now),
            Ok(Message::Packet { source, destination }) => match self.addresses.role(destination) {
                // A VIP's packets may come from a backend, which has it too, and answers a probe from it.
                Some(_) if self.addresses.role(source) == Some(Role::Host) => FrameKind::OwnSource,
                Some(Role::Host) => FrameKind::OtherOwn,
                Some(Role::Vip) => FrameKind::UnservedVip,
                None => FrameKind::NotForUs,
            },
            Ok(Message::Other) => FrameKind::NotForUs,
        }
    }

    fn resolution(
        &mut self,
        link: LinkId,
        resolution: &Resolution,
        source: MacAddress,
        now: Duration,
    ) -> FrameKind {
        let mut is_known = false;
        if let Some((address, claim)) = resolution.claim {
            let mac = claim.mac.unwrap_or(source);
            if self.links.is_own(mac) {
                return FrameKind::NotForUs;
            }
            if let Some((true, held)) = self.addresses.answers(link, address) {
                self.last_conflict = Some(Conflict { link, address, held, mac, at: now });
                self.defend(link, address, now);
                return FrameKind::AddressConflict;
            }
            let heard = self.neighbours.hear(NextHop { link, address }, claim, now);
            self.counters.refused_claims += u64::from(heard == Heard::Refused);
            is_known = heard != Heard::Stranger;
        }
        // With its MAC address it is a claim, and a conflict.
        if let Some(asked) = &resolution.question
            && self.addresses.role(asked.asker) == Some(Role::Host)
        {
            return FrameKind::OwnSource;
        }
        if let Some(asked) = &resolution.question
            && let Some((answers, _)) = self.addresses.answers(link, asked.target)
        {
            is_known = true;
            if !answers {
                self.counters.withheld += 1;
            } else if !self.answers.take(source, now) {
                self.counters.limited += 1;
            } else {
                let answer = Outgoing::answer(self.links.get(link), asked);
                send(&mut self.queue, answer, &mut self.counters.answered, &mut self.counters.queue_full);
            }
        }
        match (is_known, resolution.is_arp) {
            (false, _) => FrameKind::NotForUs,
            (true, true) => FrameKind::Arp,
            (true, false) => FrameKind::Ndp,
        }
    }

    /// Announces an address that another host claims on a link, if it has not just been.
    fn defend(&mut self, link: LinkId, address: Address, now: Duration) {
        if self.defence.is_due(link, address, now) {
            let frame = Outgoing::announcement(self.links.get(link), address);
            send(&mut self.queue, frame, &mut self.counters.defences, &mut self.counters.queue_full);
        }
    }

    fn group_query(&mut self, link: LinkId, group: Option<Address>, now: Duration) -> FrameKind {
        let mut groups: Vec<_> = self.addresses.groups(link).into_iter().collect();
        groups.retain(|own| group.is_none_or(|group| *own == group));
        if groups.is_empty() {
            return FrameKind::NotForUs;
        }
        if self.group_answers.take(now) {
            for groups in groups.chunks(outgoing::MAX_GROUPS) {
                let report = Outgoing::group_report(self.links.get(link), false, groups);
                let counters = &mut self.counters;
                send(&mut self.queue, report, &mut counters.group_reports, &mut counters.queue_full);
            }
        } else {
            self.counters.limited += 1;
        }
        FrameKind::Mld
    }

    fn echo(&mut self, link: LinkId, echo: &Echo<'_>, source: MacAddress, now: Duration) -> FrameKind {
        if self.addresses.role(echo.destination).is_none() {
            return FrameKind::NotForUs;
        }
        // RFC 1812, section 5.3.7: nobody else sends from the appliance's own address.
        if self.addresses.role(echo.source) == Some(Role::Host) {
            return FrameKind::OwnSource;
        }
        if self.echo_replies.take(source, now) {
            let reply = Outgoing::echo_reply(self.links.get(link), source, echo);
            send(&mut self.queue, reply, &mut self.counters.answered, &mut self.counters.queue_full);
        } else {
            self.counters.limited += 1;
        }
        FrameKind::Echo
    }
}

/// Queues a frame, and counts it as sent or as lost.
fn send(queue: &mut Queue, frame: Outgoing, sent: &mut u64, lost: &mut u64) {
    *if queue.push(frame) { sent } else { lost } += 1;
}
