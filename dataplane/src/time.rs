//! The data plane's clock: whole seconds, handed in with every burst.

/// One second of the engine's clock, counted from its start; the conntrack table keeps time in these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u32);

impl Tick {
    /// A time that no clock reaches: the deadline of what never ends.
    pub const NEVER: Self = Self(u32::MAX);

    /// The tick that holds this many nanoseconds since the clock's start.
    pub fn from_nanos(nanos: u64) -> Self {
        Self(u32::try_from(nanos / 1_000_000_000).unwrap_or(u32::MAX - 1))
    }

    /// The tick `seconds` later; it saturates below [`Tick::NEVER`].
    #[must_use]
    pub fn after(self, seconds: u32) -> Self {
        Self(self.0.saturating_add(seconds).min(u32::MAX - 1))
    }
}
