//! Gate before a device: closed while the control thread takes the device away from the workers that poll it.
//!
//! ```text
//! control: close ──▶ odd number ─────────────────────▶ is_quiet: every user has that number ──▶ touches the device ──▶ open
//! user:    polls, looks at the number before each poll ──▶ acknowledges it, polls no more ─────────────────────▶ polls
//! ```
//!
//! A user pays for a look at a word that hardly ever changes. Closings are numbered, so that a late acknowledgement of one
//! is not taken for that of the next.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, Ordering};

/// Gate that one thread closes and opens, and that each user looks at before it touches what is behind.
#[derive(Debug)]
pub struct Gate {
    /// Number of times that the gate was closed or opened: odd while it is closed.
    turns: AtomicU32,
    /// Latest closing that each user has acknowledged, by the turn.
    acknowledged: Box<[AtomicU32]>,
}

impl Gate {
    /// Makes an open gate for so many users.
    pub fn new(users: usize) -> Self {
        Self { turns: AtomicU32::new(0), acknowledged: (0..users).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Returns true if this user may touch what is behind the gate, until it looks again; else acknowledges that it does not.
    #[inline]
    pub fn lets_in(&self, user: usize) -> bool {
        // Acquire: pairs with the Release in `open`; who is let in sees what the control thread has done meanwhile.
        let turn = self.turns.load(Ordering::Acquire);
        if turn.is_multiple_of(2) {
            return true;
        }
        self.acknowledge(user, turn);
        false
    }

    #[cold]
    fn acknowledge(&self, user: usize, turn: u32) {
        // Release: pairs with the Acquire in `is_quiet`; what the user did before is over.
        self.acknowledged[user].store(turn, Ordering::Release);
    }

    /// Closes the gate; only the control thread does, and nothing if it is closed.
    pub fn close(&self) {
        // Relaxed: only this thread writes it, and a user who sees the number learns nothing else from it.
        let turn = self.turns.load(Ordering::Relaxed);
        if turn.is_multiple_of(2) {
            self.turns.store(turn.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// True if the gate is closed and no user touches what is behind, nor will until it is opened.
    pub fn is_quiet(&self) -> bool {
        // Relaxed: only this thread writes it.
        let turn = self.turns.load(Ordering::Relaxed);
        // Acquire: pairs with the Release in `acknowledge`.
        let acknowledged = |user: &AtomicU32| user.load(Ordering::Acquire) == turn;
        !turn.is_multiple_of(2) && self.acknowledged.iter().all(acknowledged)
    }

    /// Opens the gate; only the control thread does, and nothing if it is open.
    pub fn open(&self) {
        let turn = self.turns.load(Ordering::Relaxed);
        if !turn.is_multiple_of(2) {
            // Release: pairs with the Acquire in `lets_in`.
            self.turns.store(turn.wrapping_add(1), Ordering::Release);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_closed_gate_is_quiet_once_every_user_has_looked_at_it() {
        let gate = Gate::new(2);
        assert!(gate.lets_in(0) && gate.lets_in(1) && !gate.is_quiet());
        gate.close();
        gate.close();
        assert!(!gate.is_quiet());
        assert!(!gate.lets_in(0));
        assert!(!gate.is_quiet(), "the other user may be behind it yet");
        assert!(!gate.lets_in(1));
        assert!(gate.is_quiet());
        gate.open();
        gate.open();
        assert!(gate.lets_in(0) && gate.lets_in(1) && !gate.is_quiet());
        gate.close();
        assert!(!gate.is_quiet(), "what was acknowledged is the closing before");
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use loom::sync::Arc;
    use loom::thread;

    use super::*;

    /// Device as its two sides mark it, without an order of their own: 1 while a side is at it.
    struct Device {
        used: AtomicU32,
        reset: AtomicU32,
    }

    #[test]
    fn nobody_is_behind_a_quiet_gate() {
        loom::model(|| {
            let device = Device { used: AtomicU32::new(0), reset: AtomicU32::new(0) };
            let shared = Arc::new((Gate::new(1), device));
            let user = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (gate, device) = &*shared;
                    for _ in 0..3 {
                        if gate.lets_in(0) {
                            device.used.store(1, Ordering::Relaxed);
                            assert_eq!(device.reset.load(Ordering::Relaxed), 0);
                            device.used.store(0, Ordering::Relaxed);
                        }
                    }
                })
            };
            let (gate, device) = &*shared;
            for _ in 0..2 {
                gate.close();
                if gate.is_quiet() {
                    device.reset.store(1, Ordering::Relaxed);
                    assert_eq!(device.used.load(Ordering::Relaxed), 0);
                    device.reset.store(0, Ordering::Relaxed);
                }
                gate.open();
            }
            user.join().unwrap();
        });
    }
}
