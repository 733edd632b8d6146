//! The data plane's clock: whole seconds, handed in with every burst.

/// Second of the engine's clock, counted from its start; the conntrack table keeps time in these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u32);

impl Tick {
    /// Time that no clock reaches: the deadline of what never ends.
    pub const NEVER: Self = Self(u32::MAX);

    /// Tick this many whole seconds after the clock's start; it saturates below [`Tick::NEVER`].
    pub fn from_secs(seconds: u64) -> Self {
        Self(u32::try_from(seconds).unwrap_or(u32::MAX).min(u32::MAX - 1))
    }
}
