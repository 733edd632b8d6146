//! Slots of a server: how many connections each kind of client may have at once, and the queue of those that find none.
//!
//! A client takes a slot that is for everybody, or one that is kept for clients of its standing. Nobody else's idle
//! connections can therefore keep out an operator. Whoever has no right at all has a few slots apart, and no queue.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Visitor;

/// Longest wait of a connection for a slot.
pub(super) const WAIT_TIME: Duration = Duration::from_secs(30);

/// Standing of a client, by which it takes slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// No right at all: the client is told so in one of a few slots, and waits for none.
    Stranger,
    /// Client that takes slots of everybody.
    Anybody,
    /// Client that may look, and has slots of its own beside those of everybody.
    Reader,
    /// Client that may change something; its own slots are not the readers'.
    Writer,
    /// Owner of the process, or root, whose slots nobody else takes.
    Owner,
}

/// Numbers of connections at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    /// Connections of whoever has a right.
    pub(crate) everybody: usize,
    /// Connections of strangers, who take none of the others.
    pub(crate) strangers: usize,
    /// Further connections of readers, of writers and of owners each.
    pub(crate) kept: usize,
    /// Connections of one address, or of one IPv6 network of 64 bits, waiting ones too.
    pub(crate) of_one_source: usize,
    /// Connections of this machine's loopback, waiting ones too: all its users, and clients behind a proxy, are one source.
    pub(crate) of_machine: usize,
}

/// Slots that are left.
pub(super) struct Slots {
    everybody: Arc<Semaphore>,
    /// Slots and queue of each standing, in its order.
    own: [Own; 5],
    /// Sources with a token, of which each of their connections has a copy.
    sources: HashMap<IpAddr, Arc<()>>,
    of_one_source: usize,
    of_machine: usize,
}

/// Slots that clients of one standing alone may take, and the length of their queue.
#[derive(Clone)]
struct Own {
    slots: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

/// Slot of a connection, free again once it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
    _source: Option<Arc<()>>,
}

/// Client that has connected and waits for a slot.
pub(super) struct Waiting<S, P> {
    visitor: Visitor<S, P>,
    source: Option<Arc<()>>,
    everybody: Option<Arc<Semaphore>>,
    own: Arc<Semaphore>,
    _queued: OwnedSemaphorePermit,
}

/// Outcome of a client's connection.
pub(super) enum Admission<S, P> {
    /// A slot is free, and nobody waits for it.
    Admitted(Visitor<S, P>, Slot),
    /// The client waits until there is one.
    Waits(Waiting<S, P>),
    /// Connection too many: it is closed, so that it takes no descriptor.
    Refused,
}

impl Slots {
    pub(super) fn new(shares: Shares) -> Self {
        let own = |slots, queue| Own {
            slots: Arc::new(Semaphore::new(slots)),
            queue: Arc::new(Semaphore::new(queue)),
        };
        let kept = || own(shares.kept, shares.everybody);
        Self {
            everybody: Arc::new(Semaphore::new(shares.everybody)),
            own: [own(shares.strangers, 0), own(0, shares.everybody), kept(), kept(), kept()],
            sources: HashMap::new(),
            of_one_source: shares.of_one_source,
            of_machine: shares.of_machine,
        }
    }

    /// Gives a client a slot, or a number in the queue.
    pub(super) fn admit<S, P>(&mut self, visitor: Visitor<S, P>) -> Admission<S, P> {
        let Ok(source) = self.token(visitor.source) else { return Admission::Refused };
        let Own { slots, queue } = self.own[visitor.standing as usize].clone();
        let everybody = (visitor.standing != Standing::Stranger).then(|| Arc::clone(&self.everybody));
        let pools = everybody.iter().chain([&slots]);
        let free = pools.cloned().find_map(|pool| pool.try_acquire_owned().ok());
        match (free, queue.try_acquire_owned()) {
            (Some(permit), _) => Admission::Admitted(visitor, Slot { _permit: permit, _source: source }),
            (None, Ok(queued)) => {
                Admission::Waits(Waiting { visitor, source, everybody, own: slots, _queued: queued })
            }
            (None, Err(_)) => Admission::Refused,
        }
    }

    /// Token of a source, where clients have one; an error if the source has connections enough.
    fn token(&mut self, source: Option<IpAddr>) -> Result<Option<Arc<()>>, ()> {
        let Some(source) = source.map(network) else { return Ok(None) };
        // No more sources are kept than there are connections.
        self.sources.retain(|_, token| Arc::strong_count(token) > 1);
        let token = self.sources.entry(source).or_default();
        let bound = if source == MACHINE { self.of_machine } else { self.of_one_source };
        if Arc::strong_count(token) > bound { Err(()) } else { Ok(Some(Arc::clone(token))) }
    }
}

impl<S, P> Waiting<S, P> {
    /// Waits for a slot; none where that takes too long.
    pub(super) async fn admitted(self) -> Option<(Visitor<S, P>, Slot)> {
        let Self { visitor, source, everybody, own, _queued } = self;
        let of_everybody = async {
            match everybody {
                Some(everybody) => everybody.acquire_owned().await,
                None => std::future::pending().await,
            }
        };
        let permit = async {
            tokio::select! {
                biased;
                permit = of_everybody => permit,
                permit = own.acquire_owned() => permit,
            }
        };
        let permit = timeout(WAIT_TIME, permit).await.ok()?.expect("nobody closes a semaphore");
        Some((visitor, Slot { _permit: permit, _source: source }))
    }
}

/// Address by which clients of loopback are counted, which have many.
const MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Address by which clients are counted: whoever has one of IPv6 has a network of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        address if address.is_loopback() => MACHINE,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address => address,
    }
}
