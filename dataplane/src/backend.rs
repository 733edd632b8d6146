//! Names of backends in the data plane, and the generations that void their conntrack entries.

/// Number of one (backend service, endpoint) pair, kept for as long as any conntrack entry may name it.
///
/// An index into the snapshot's backends, below [`BackendHandle::LIMIT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendHandle(pub u32);

impl BackendHandle {
    /// Number of handles that a conntrack entry has room to name: 2^21.
    pub const LIMIT: u32 = 1 << 21;
}

/// Number of events that have voided a backend's entries; an entry made under another number is void.
///
/// The number wraps at [`Generation::LIMIT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// One past the largest generation that an entry has room for: 2^17.
    pub const LIMIT: u32 = 1 << 17;

    /// Generation that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self((self.0 + 1) % Self::LIMIT)
    }
}
