//! Dice of a seed: all that is drawn in a simulation comes from here.

use std::time::Duration;

use fastrand::Rng;

/// Generator of one seed.
#[derive(Clone, Debug)]
pub struct Dice(Rng);

impl Dice {
    /// Dice of a seed, for one purpose: those of another purpose fall otherwise.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mixed = purpose.bytes().fold(seed ^ 0x9e37_79b9_7f4a_7c15, |mixed, byte| {
            (mixed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
        });
        Self(Rng::with_seed(mixed))
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.0.f64() < probability
    }

    /// Number below `end`, which is 1 or more.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end)
    }

    /// Time between two others, both included.
    pub fn time(&mut self, from_ms: u64, to_ms: u64) -> Duration {
        Duration::from_millis(self.0.u64(from_ms..=to_ms))
    }

    /// Number of any size.
    pub fn number(&mut self) -> u64 {
        self.0.u64(..)
    }

    /// Member of a list, drawn; none of an empty one.
    pub fn pick<'t, T>(&mut self, of: &'t [T]) -> Option<&'t T> {
        (!of.is_empty()).then(|| &of[self.below(of.len())])
    }

    /// Shuffles a list.
    pub fn shuffle<T>(&mut self, of: &mut [T]) {
        self.0.shuffle(of);
    }
}
