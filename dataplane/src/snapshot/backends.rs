//! The backends of a snapshot by their handles: whole, and as plain packets of tracked connections see them.

use super::Backend;
use crate::backend::{BackendHandle, Generation};
use crate::conntrack::ValidState;
use crate::delivery::PlainDelivery;
use crate::time::Tick;

/// Backends by [`BackendHandle`].
#[derive(Debug, Default)]
pub struct Backends {
    /// None for a handle that nothing uses now.
    all: Box<[Option<Backend>]>,
    plain: Box<[PlainBackend]>,
}

/// Backend as plain packets see it whose connection has a valid entry: all that they need, side by side.
//
// Two lines that the processor fetches together; a tunnel over IPv4 needs little more than the first.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
pub(crate) struct PlainBackend {
    pub(crate) valid: ValidState,
    /// Time from which on the backend's entries are void.
    pub(crate) drain_deadline: Tick,
    pub(crate) delivery: PlainDelivery,
}

const _: () = assert!(size_of::<PlainBackend>() == 128);

impl Backends {
    /// Backend of this handle, unless nothing uses the handle now.
    #[inline]
    pub fn get(&self, handle: BackendHandle) -> Option<&Backend> {
        self.all.get(handle.0 as usize)?.as_ref()
    }

    /// Backend of this handle as plain packets see it. Of a handle that nothing uses now, one without entries.
    #[inline(always)]
    pub(crate) fn plain(&self, handle: BackendHandle) -> Option<&PlainBackend> {
        self.plain.get(handle.0 as usize)
    }

    /// Backends of all handles that something uses.
    pub fn iter(&self) -> impl Iterator<Item = &Backend> {
        self.all.iter().flatten()
    }

    /// Number of handles.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// True if there are no handles.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl From<Vec<Option<Backend>>> for Backends {
    fn from(all: Vec<Option<Backend>>) -> Self {
        let plain = |(handle, backend): (u32, &Option<Backend>)| match backend {
            Some(backend) => PlainBackend {
                valid: ValidState::new(
                    BackendHandle(handle),
                    backend.generation,
                    backend.persistent_generation,
                ),
                drain_deadline: backend.drain_deadline,
                delivery: PlainDelivery::of(&backend.delivery),
            },
            // Its deadline is over, whatever the time.
            None => PlainBackend {
                valid: ValidState::new(BackendHandle(handle), Generation(0), Generation(0)),
                drain_deadline: Tick(0),
                delivery: PlainDelivery::GENERAL,
            },
        };
        Self { plain: (0..).zip(&all).map(plain).collect(), all: all.into() }
    }
}
