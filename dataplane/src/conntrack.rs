//! Connection tracking: which backend a connection's packets have been going to.

mod aging;
mod entry;
mod place;
mod table;

pub use aging::{LONGEST_PASS_SECONDS, SweepCursor};
pub use entry::Entry;
pub use table::{ConntrackTable, Found, TableTooLarge};

/// The tracking hash of a packet: all that the table knows a connection by.
///
/// 64 bits of a hash over the tracking tuple and its service, under a key that clients can't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrackingKey(pub u64);

/// What an entry is worth to those who need a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Valid, and used in both directions of time: it never gives way.
    Live,
    /// Valid, but its client has only asked for a connection: it gives way where nothing is void.
    HalfOpen,
    /// Expired, or void for any other reason: it gives way to anything.
    Void,
}

/// What became of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It has a place that was empty.
    New,
    /// It has the place of the key's own former entry.
    Replaced,
    /// It has the place of another key's void entry.
    EvictedVoid,
    /// It has the place of another key's half-open entry.
    EvictedHalfOpen,
    /// The key has this entry instead, from another worker that was first: the packet goes where it says.
    Lost(Entry),
    /// There is no room: the packet goes by its selection hash, without an entry.
    Full,
}
