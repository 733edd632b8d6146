//! Admission to the conntrack table, as an operator may narrow it: which SYNs start a connection anew, and how many
//! connections may begin in a second, in all and of one source.
//!
//! Without settings, every packet that selects a backend makes an entry, and every SYN starts its connection anew.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;

use crate::address::{Address, Prefix};
use crate::ingress::NetworkId;
use crate::source_meter::{SourceKey, SourceMeter};
use crate::time::Tick;

/// Settings of admission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// True if a SYN on an established entry that was used lately goes to the entry's backend, which answers by RFC 5961,
    /// instead of starting the connection anew.
    pub protect_established: bool,
    /// Limits on connections that begin; none where there is no limit, which costs a packet one test for all of them.
    pub limits: Option<Limits>,
}

/// Limits on the connections that begin at one worker in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Limit on the entries that a worker makes; connections beyond it are forwarded without.
    pub per_worker: Option<NonZeroU32>,
    /// Limit on the connections of one source; packets beyond it are dropped.
    pub per_source: Option<SourceLimit>,
}

/// Limit on the connections that one source prefix begins at a worker in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLimit {
    /// Number of connections.
    pub per_sec: NonZeroU32,
    /// Length of the prefixes that are counted as one source, in IPv4.
    pub ipv4_prefix_length: u8,
    /// Length of the prefixes that are counted as one source, in IPv6.
    pub ipv6_prefix_length: u8,
}

impl Limits {
    /// Limits, if there is any.
    #[must_use]
    pub fn new(per_worker: Option<NonZeroU32>, per_source: Option<SourceLimit>) -> Option<Self> {
        (per_worker.is_some() || per_source.is_some()).then_some(Self { per_worker, per_source })
    }
}

impl SourceLimit {
    /// Prefix that an address is counted under.
    pub(crate) fn prefix_of(&self, source: Address) -> Prefix {
        let length = if source.is_ipv4() { self.ipv4_prefix_length } else { self.ipv6_prefix_length };
        Prefix::new(source, length)
    }
}

/// Seconds for which an established entry without a packet is protected from SYNs. A host that has lost its connection, and
/// opens one like it, is held up for no longer where the backend has lost it too.
pub const PROTECTED_SECONDS: u32 = 30;

/// Sender of a packet without a valid entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    /// Network that the packet came in.
    pub(crate) network: NetworkId,
    /// Source address of the packet.
    pub(crate) address: Address,
    /// True if the packet is of a TCP connection that has begun before.
    pub(crate) goes_on: bool,
}

/// Result of asking for admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// The connection may have an entry, and counts for its source once it has one, where it is of one that is limited.
    WithEntry(Option<SourceKey>),
    /// The connection is forwarded without an entry.
    WithoutEntry,
    /// The packet is dropped.
    Refused,
}

/// State of one worker's admission, which is used where there are limits.
#[derive(Debug, Default)]
pub(crate) struct Admissions {
    /// Entries made in the latest second.
    pub(crate) made: Cell<EntriesMade>,
    /// Connections that sources have begun.
    sources: RefCell<SourceMeter>,
    /// True if the latest packet of the general way was refused, and no verdict has told it yet.
    refused: Cell<bool>,
}

impl Admissions {
    /// True if a source has begun as many connections as it may.
    pub(crate) fn is_exhausted(&self, limit: SourceLimit, key: SourceKey, now: Tick) -> bool {
        self.sources.borrow().begun(key, now) >= limit.per_sec.get()
    }

    /// Counts a connection for its source.
    pub(crate) fn count(&self, key: SourceKey, now: Tick) {
        self.sources.borrow_mut().count(key, now);
    }

    /// Notes that the packet is refused.
    pub(crate) fn refuse(&self) {
        self.refused.set(true);
    }

    /// True if the packet at hand, which got no backend, was refused.
    #[cold]
    #[inline(never)]
    pub(crate) fn has_refused(&self) -> bool {
        self.refused.take()
    }
}

/// Entries that one worker has made in the latest second: a token bucket that is filled with each second, and holds as many as
/// one has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EntriesMade {
    second: Tick,
    entries: u32,
}

impl EntriesMade {
    /// Takes one entry out of `limit` for the second `now`; `None` if none is left.
    pub(crate) fn take(self, now: Tick, limit: NonZeroU32) -> Option<Self> {
        let before = if self.second == now { self.entries } else { 0 };
        (before < limit.get()).then_some(Self { second: now, entries: before + 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_as_many_entries_as_the_limit_says() {
        let limit = NonZeroU32::new(3).expect("not zero");
        let mut made = EntriesMade::default();
        for second in [0, 0, 1, 7] {
            let mut taken = 0;
            while let Some(after) = made.take(Tick(second), limit) {
                made = after;
                taken += 1;
            }
            assert!(taken == 3 || second == 0 && taken == 0, "{taken} in second {second}");
        }
    }

    #[test]
    fn a_source_is_the_prefix_of_its_family() {
        let limit = SourceLimit { per_sec: NonZeroU32::MIN, ipv4_prefix_length: 24, ipv6_prefix_length: 56 };
        for (source, prefix) in
            [("192.0.2.77", "192.0.2.0/24"), ("2001:db8:c:9ff::77", "2001:db8:c:900::/56")]
        {
            let source = source.parse::<std::net::IpAddr>().expect("an address").into();
            assert_eq!(limit.prefix_of(source).to_string(), prefix);
        }
    }
}
