//! The backends of a snapshot by their handles: whole, and as plain packets of tracked connections see them.
//!
//! Snapshots share the pages that backends lie in: a change costs the pages that it touches, however many backends there are.

use std::fmt;
use std::sync::Arc;

use super::Backend;
use crate::backend::{BackendHandle, Generation};
use crate::conntrack::ValidState;
use crate::delivery::PlainDelivery;
use crate::time::Tick;

/// Number of handles in a page: a power of two. A change copies pages as large as these, and counts one reference to each of
/// the others: 4,096 of them for a million handles.
const PAGE: usize = 256;

/// Backends by [`BackendHandle`]. A clone shares all pages until either is changed.
#[derive(Clone, Default)]
pub struct Backends {
    pages: Box<[Arc<Page>]>,
    len: usize,
}

/// Backends of neighbouring handles.
#[derive(Clone)]
struct Page {
    plain: [PlainBackend; PAGE],
    /// None for a handle that nothing uses now.
    all: Box<[Option<Backend>; PAGE]>,
}

/// Backends as plain packets see them, by their handles.
//
// Taken once a burst: behind the words of connections, which are read with an acquire, all else would be read anew.
#[derive(Clone, Copy)]
pub(crate) struct PlainBackends<'s>(&'s [Arc<Page>]);

impl<'s> PlainBackends<'s> {
    /// Backend of this handle. Of a handle that nothing uses now, one without entries.
    #[inline(always)]
    pub(crate) fn get(self, handle: BackendHandle) -> Option<&'s PlainBackend> {
        let index = handle.0 as usize;
        Some(&self.0.get(index / PAGE)?.plain[index % PAGE])
    }
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
    /// Backends of so many handles, none of which is used.
    pub fn unused(len: usize) -> Self {
        let page = |first: usize| {
            let plain = std::array::from_fn(|index| PlainBackend::new((first * PAGE + index) as u32, None));
            Arc::new(Page { plain, all: Box::new([const { None }; PAGE]) })
        };
        Self { pages: (0..len.div_ceil(PAGE)).map(page).collect(), len }
    }

    /// Replaces the backend of this handle.
    ///
    /// # Panics
    /// If there is no such handle.
    pub fn set(&mut self, handle: BackendHandle, backend: Option<Backend>) {
        let index = handle.0 as usize;
        assert!(index < self.len, "there is no handle {index}");
        let page = Arc::make_mut(&mut self.pages[index / PAGE]);
        page.plain[index % PAGE] = PlainBackend::new(handle.0, backend.as_ref());
        page.all[index % PAGE] = backend;
    }

    /// Backend of this handle, unless nothing uses the handle now.
    #[inline]
    pub fn get(&self, handle: BackendHandle) -> Option<&Backend> {
        let index = handle.0 as usize;
        self.pages.get(index / PAGE)?.all[index % PAGE].as_ref()
    }

    /// Backends as plain packets see them.
    pub(crate) fn plain(&self) -> PlainBackends<'_> {
        PlainBackends(&self.pages)
    }

    /// Backends of all handles that something uses.
    pub fn iter(&self) -> impl Iterator<Item = &Backend> {
        self.pages.iter().flat_map(|page| page.all.iter().flatten())
    }

    /// Number of handles.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are no handles.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl From<Vec<Option<Backend>>> for Backends {
    fn from(all: Vec<Option<Backend>>) -> Self {
        let mut backends = Self::unused(all.len());
        for (handle, backend) in (0..).zip(all) {
            backends.set(BackendHandle(handle), backend);
        }
        backends
    }
}

/// Writes the backends that are used.
impl fmt::Debug for Backends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handles = (0..self.len as u32).map(BackendHandle);
        f.debug_map().entries(handles.filter_map(|handle| Some((handle, self.get(handle)?)))).finish()
    }
}

impl PlainBackend {
    fn new(handle: u32, backend: Option<&Backend>) -> Self {
        match backend {
            Some(backend) => Self {
                valid: ValidState::new(
                    BackendHandle(handle),
                    backend.generation,
                    backend.persistent_generation,
                ),
                drain_deadline: backend.drain_deadline,
                delivery: PlainDelivery::of(&backend.delivery),
            },
            // A deadline that is over, whatever the time, lets no entry be valid.
            None => Self {
                valid: ValidState::new(BackendHandle(handle), Generation(0), Generation(0)),
                drain_deadline: Tick(0),
                delivery: PlainDelivery::GENERAL,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::Delivery;
    use crate::egress::Egress;
    use crate::wire::ethernet::MacAddress;

    fn backend(identity: u64) -> Option<Backend> {
        let delivery = Delivery::l2(Egress::to(MacAddress::default()), 1500);
        Some(Backend { identity, ..Backend::healthy(delivery) })
    }

    #[test]
    fn a_change_remakes_its_own_page_and_leaves_clones_as_they_were() {
        const LEN: usize = 3 * PAGE + 8;
        const CHANGED: u32 = PAGE as u32 + 6;
        let before = Backends::from((0..LEN as u64).map(backend).collect::<Vec<_>>());
        let mut after = before.clone();
        after.set(BackendHandle(CHANGED), backend(1_000_000));
        after.set(BackendHandle(CHANGED + 1), None);
        let identity =
            |backends: &Backends, handle| backends.get(BackendHandle(handle)).map(|backend| backend.identity);
        let changed = u64::from(CHANGED);
        assert_eq!((identity(&before, CHANGED), identity(&after, CHANGED)), (Some(changed), Some(1_000_000)));
        assert_eq!(
            (identity(&before, CHANGED + 1), identity(&after, CHANGED + 1)),
            (Some(changed + 1), None)
        );
        let end = LEN as u32;
        assert_eq!((identity(&after, end - 1), identity(&after, end)), (Some(LEN as u64 - 1), None));
        assert_eq!((before.iter().count(), after.iter().count(), after.len()), (LEN, LEN - 1, LEN));
        let shared = before.pages.iter().zip(&after.pages).map(|(one, other)| Arc::ptr_eq(one, other));
        assert_eq!(shared.collect::<Vec<_>>(), [true, false, true, true]);
    }
}
