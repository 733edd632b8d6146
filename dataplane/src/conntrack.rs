//! Connection tracking: which backend a connection's packets have been going to.
//!
//! A connection must stay on its backend while the set of backends changes around it, so somebody has to remember
//! where it went. Three things make that hard at line rate:
//!
//! - **Any worker may get any packet.** A NIC spreads packets by their 5-tuple; a connection may be tracked by its
//!   2-tuple, and a fragment has no ports at all. A table for each worker would send one client to several backends.
//! - **Every packet asks, and few change anything.** A lock, even an uncontended one, writes to memory that all cores
//!   share, once a packet.
//! - **Anybody may fill it.** A flood of SYNs makes entries as fast as it makes packets. The table can't grow.
//!
//! Hence one [`ConntrackTable`] that all workers share, of a fixed size, in which each pair of buckets is a shard of its
//! own; lookups that neither wait nor write; and insertions that never wait for another worker.
//!
//! # Layout
//!
//! A slot holds one entry in two 64-bit words; a bucket is four slots, one cache line; two buckets make a pair.
//!
//! ```text
//!  0       8       16                      64                     128
//! ┌───────┬───────┬─────┬─────┬─────┬ ─ ─ ┬─────┬─────┬─────┬─────┐
//! │ ident │ state │  …  │  …  │  …  │     │     │     │     │     │
//! └───────┴───────┴─────┴─────┴─────┴ ─ ─ ┴─────┴─────┴─────┴─────┘
//!  one slot: 16 bytes
//!  the home bucket of even keys ───────────│── that of odd keys ───│
//!
//!  state:  63      61     59         58           41        20      18         17     0
//!         │ phase │ turn │ persists │ generation │ backend │ stage │ overflow │ seen │
//!
//!  ident = key XOR (state without stage, overflow, seen and the lower bit of phase)
//! ```
//!
//! The upper bit of phase is that of an entry, so a slot that was emptied no longer bears the name of its key.
//!
//! The key's upper bits choose the pair, its lowest bit the home bucket, which is searched first; the other bucket of
//! the pair is where an entry goes when the home is full. So a key has eight slots and an entry never moves.
//! The memory is mapped, and asks for huge pages (`conntrack/memory.rs`).
//!
//! While an entry lies in the other bucket, at least one slot of its home bucket has the *overflow* bit. Where none has
//! it, a lookup that finds nothing in the home bucket is done, and an insertion that finds an empty slot there as well:
//! both have read one cache line. The bit belongs to the bucket, not to the slot's entry: it stays when the slot changes
//! hands, unless its new holder sees that it is no longer needed, and sweeps take it from empty slots. One that stays
//! beneath a live entry for longer than it is needed costs the bucket's misses a second line, and nothing else. In a table
//! that connections pass through at random for long, 18 % of the buckets have it where a third of the slots is valid, 8 %
//! where it is a quarter; freshly filled to a third, 1 %.
//!
//! # Capacity
//!
//! A table for *n* entries has 3*n*/2 slots: 24 bytes an entry. Keys don't spread themselves perfectly, so a few find
//! their eight slots taken before the table is full. With *X* entries that need the slots of a pair, a Poisson number
//! of mean 8 × load, the share that finds no room is `E[max(X − 8, 0)] / E[X]`:
//!
//! | valid entries, of slots | of capacity | bytes an entry | no room |
//! |---|---|---|---|
//! | 1/4 | 37% | 64 | 0.015% |
//! | 1/3 | 50% | 48 | 0.088% |
//! | 1/2 | 75% | 32 | 0.84% |
//! | 2/3 | 100% | 24 | 3.2% |
//! | 3/4 | 112% | 21 | 5.2% |
//!
//! A connection without a slot is not lost: its packets go by their selection hash, as they do in a stateless load
//! balancer, and it tries again with each. Size the table for twice the connections that are expected at once.
//!
//! # Who gives way
//!
//! A new entry gets an empty slot of the home bucket, else that of a void entry there, else an empty one of the other
//! bucket. Where all eight slots are taken, it pushes out the first of these that there is, and of several valid ones
//! that which has been idle for longest:
//!
//! 1. a void entry: expired, or of a backend whose entries are void;
//! 2. a half-open one: SYNs alone have come of its connection;
//! 3. a closed one, of whose connection a FIN or RST has come, or an unconfirmed one, whose packets have all come within a
//!    second: a stray one from the middle of a TCP connection, the first of a UDP flow, a handshake. A packet in a later
//!    second than the one before it confirms it.
//!
//! An established one never gives way. So neither short connections nor floods of SYNs, ACKs, datagrams or whole
//! handshakes with forged sources keep new connections out, however often they repeat a packet within a second. A flood
//! that comes back to each of its connections a second later does. Until somebody needs its slot, a closed or unconfirmed
//! entry is one like any: it is found, refreshed, and ends when it has been idle for too long.
//! The stage of a session that covers several connections isn't closed by the end of one of them.
//!
//! # Identity
//!
//! The 64 bits of a [`TrackingKey`] are all that the table knows of a connection. Two connections have the same key
//! with a probability of 2^-64, and then share an entry; a new connection has the key of one of *n* tracked ones with
//! *n* × 2^-64, which is 10^-12 for 16 million. Clients can't search for such pairs, since the hash is keyed.
//!
//! # How workers share a slot
//!
//! ```text
//!           occupy                       settle
//!   empty ─────────▶ busy ─▶ tentative ─────────▶ settled ⟲ refresh
//!     ▲                │         │                   │ │
//!     │                          │ withdraw          │ │ sweep
//!     └──────────────────────────┴───────────────────┘ │
//!                      ▲                               │
//!                      └───────────────────────────────┘ evict, replace
//! ```
//!
//! Every arrow but the one out of *busy* is a compare-exchange of the state word from the exact value that its worker
//! read and judged. The judgement looks at nothing but that value, so it still holds when the exchange succeeds.
//!
//! **A slot has one writer at a time.** To write the identity word a worker must have exchanged the state for *busy*,
//! and nobody exchanges *busy* for anything; the worker itself ends it by storing the tentative state. So two workers
//! that want the last free slot never mix their words: one of them has it, the other looks again.
//!
//! **A lookup finds an entry of its own key, or none.** It loads the state, then the identity. The store that published
//! the state (Release) comes after the store of its identity, so the load (Acquire) is followed by that identity or a
//! later one. A later one belongs to another holder, and the XOR of one holder's identity and another's state is the
//! key that is sought only by a 64-bit accident: even where key, backend and generation are the same, `turn` differs
//! between successive holders. It comes round after four: for a lookup to be deceived, four workers must take the slot
//! between its two loads, the fourth for the very key that is sought and with the same backend, generation and
//! persistence as the first. What the lookup returns then is where the fourth is about to send its packets.
//!
//! **A settled entry is found by every lookup until it is replaced or evicted.** It never moves, its identity isn't
//! written again, and a refresh exchanges its state for one with the same frozen bits in a single step. If it is in the
//! other bucket, the home bucket says so from before it is settled until it is gone:
//!
//! - Nobody settles it who has not *relied on a bit*: after a sequentially consistent fence that comes after the entry's
//!   publication, its worker reads the bit in a slot that is not busy, or sets it there by an exchange. A worker who
//!   finds no slot for that withdraws the entry. The same holds of a worker that settles it for its owner.
//! - The bit survives every change of its slot, *busy* included, but one: a worker that has made the slot busy may end it
//!   without the bit, if after such a fence it sees no entry in the other bucket that is of the home bucket's keys, or
//!   whose key it can't know yet. Of the two fences one is later. If it is that of the worker who clears, it sees the
//!   entry, or what became of it, and the bit stays. If it is that of the worker who relies, it sees the slot busy, or
//!   what came after, and does not rely on the bit that is cleared. Nobody exchanges *busy*, so the judgement still holds
//!   when the bit goes.
//!
//! So the bit that was relied on stays in its slot for as long as the entry is there, and a lookup that sees no bit has
//! missed no entry. The bit is visible to all who may know of the entry, as it was read before the fence that precedes
//! the exchange that settled it; and whoever sees it cleared sees the entry gone, as the worker that cleared it did.
//!
//! **A refresh never brings an entry back.** It is an exchange from the state that was looked up. A holder in between
//! has changed `turn`; a use in between has changed `seen` or `stage`, or there is nothing left to note. Where nothing but
//! the overflow bit was set in between, the refresh is repeated beneath the bit. Should all 64 bits have come round, then
//! the refresh notes a use of an entry that is like the old one in every bit: no frozen bit of any entry is ever changed
//! by it. The same holds of a sweep: what it empties is in every bit what it judged.
//!
//! **A close is not lost to a refresh.** Where the exchange that notes it fails, its worker looks the key up again, and
//! notes it in the entry that it finds with the same frozen bits. So it fails only with the entry itself. A refresh that
//! fails beside a close leaves the entry closed.
//!
//! **A key never has two settled entries.** Two workers may insert one key at once, and in different slots, since
//! slots come free meanwhile. Each publishes its entry as *tentative*, which lookups pass over; then there is a
//! sequentially consistent fence; then it looks through the key's other slots, those of the other bucket if its own entry
//! is there or a slot of the home bucket has the overflow bit. Of two fences one is later, and the worker behind it sees
//! the other's entry, or what became of it. An entry in the other bucket is no exception: its worker has relied on a bit
//! before this fence, so a later look at the home bucket alone sees the bit, and goes on to the other bucket. It finds
//! the other's entry:
//!
//! - settled: it withdraws its own entry, and the other's has won;
//! - tentative in a higher slot: it withdraws the other's, whose owner's own exchange to *settled* then fails;
//! - tentative in a lower slot: it withdraws its own, and goes on to settle the other's as that one's owner would.
//!
//! Only after such a look is an entry settled. So of two entries of a key the one whose look began later is settled
//! only if the other was withdrawn or had ended before, and never beside it. The argument doesn't ask who looks, which
//! is why a worker can finish another's insertion instead of waiting for it. Both end with the entry that stands:
//! as [`Inserted::New`] or the like for its owner and as [`Inserted::Lost`] for the others. A worker that is
//! interrupted in the middle of an insertion holds up nobody: while its slot is *busy* other keys use the other
//! slots, and its own key's next packet inserts an entry elsewhere, which the interrupted worker will find.
//!
//! The replacement of an entry by the same key's goes the same way, through *busy* and *tentative*, because the key
//! can't be found meanwhile and somebody else may insert it. For some nanoseconds a lookup misses it, its worker
//! selects a backend and tries to insert, and learns the winner there.
//!
//! **An insertion takes a bounded time.** When others have changed its slots under it, it starts over, up to eight
//! times; then it reports [`Inserted::Full`], and the packet goes by its selection hash. The same is the answer to the
//! worker that comes second to the last free slot with the same key, if the first stays *busy* for as long; and to one
//! that finds all slots of the home bucket busy or tentative for as long, since none of them can say that it overflows.
//!
//! **The entries of a backend are counted** by whoever makes or ends one, in counters of its own ([`Census`]).
//!
//! `tests/conntrack_loom` tries these claims under the interleavings that loom finds for two and three workers, with
//! a bound on preemptions; `tests/conntrack_stress.rs` on hardware; `tests/conntrack_model.rs` compares one worker's
//! table with a map.
//!
//! # What is absent
//!
//! No timers: an entry goes when somebody needs its slot or a [sweep](ConntrackTable::sweep) comes by. No backend's
//! list of its entries: a backend's entries are voided by its [`Generation`](crate::backend::Generation), in one step
//! however many there are. No opinion of validity: callers judge, with the snapshot at hand.

mod aging;
mod census;
mod entry;
mod found;
mod insertion;
#[cfg(not(loom))]
mod memory;
mod neighbourhood;
mod pair;
mod slot;
mod table;

pub use aging::{IDLE_PASS_SECONDS, LONGEST_PASS_SECONDS, SweepCursor, Sweeps};
pub use census::{Census, WorkerCensus};
pub use entry::{Entry, Stage, ValidState};
pub use found::Found;
pub(crate) use neighbourhood::Home;
pub use table::{ConntrackTable, TableTooLarge};

/// Tracking hash of a packet: all that the table knows a connection by.
///
/// 64 bits of a hash over the tracking tuple and its service, under a key that clients can't know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrackingKey(pub u64);

/// Worth of an entry when somebody needs its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Valid; never gives way.
    Live,
    /// Valid, but the connection was closed; gives way if no slot is empty, void or half-open.
    Closed,
    /// Valid, but the client has only asked for a connection; gives way if no slot is empty or void.
    HalfOpen,
    /// Valid, but all packets have come within a second; gives way as closed ones do.
    Unconfirmed,
    /// Expired, or void for any other reason; gives way to anything.
    Void,
}

/// Result of an insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// Inserted into a slot that was empty.
    New,
    /// Inserted over the key's own former entry.
    Replaced,
    /// Inserted over another key's void entry.
    EvictedVoid,
    /// Inserted over another key's half-open entry.
    EvictedHalfOpen,
    /// Inserted over another key's entry whose connection was closed.
    EvictedClosed,
    /// Inserted over another key's entry, all of whose packets had come within a second.
    EvictedUnconfirmed,
    /// Not inserted: another worker was first, and the packet goes where that one's entry says.
    Lost(Entry),
    /// Not inserted for want of room: the packet goes by its selection hash, without an entry.
    Full,
}
