//! Admission to the conntrack table, as an operator may narrow it: which SYNs start a connection anew, and how many
//! connections may begin in a second.
//!
//! Without settings, every packet that selects a backend makes an entry, and every SYN starts its connection anew.

use std::num::NonZeroU32;

use crate::time::Tick;

/// Settings of admission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admission {
    /// True if a SYN on an established entry that was used lately goes to the entry's backend, which answers by RFC 5961,
    /// instead of starting the connection anew.
    pub protect_established: bool,
    /// Limit on the entries that a worker makes in a second; none where there is no limit.
    pub new_connections_per_sec: Option<NonZeroU32>,
}

/// Seconds for which an established entry without a packet is protected from SYNs. A host that has lost its connection, and
/// opens one like it, is held up for no longer where the backend has lost it too.
pub const PROTECTED_SECONDS: u32 = 30;

/// Entries that one worker has made in the latest second: a token bucket that is filled with each second, and holds as many as
/// one has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Admitted {
    second: Tick,
    entries: u32,
}

impl Admitted {
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
        let mut admitted = Admitted::default();
        for second in [0, 0, 1, 7] {
            let mut taken = 0;
            while let Some(after) = admitted.take(Tick(second), limit) {
                admitted = after;
                taken += 1;
            }
            assert!(taken == 3 || second == 0 && taken == 0, "{taken} in second {second}");
        }
    }
}
