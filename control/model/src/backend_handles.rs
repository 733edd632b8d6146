//! Backend handles: which are in use, and the generations that outlive their users.

use std::collections::VecDeque;

use guideway_dataplane::backend::{BackendHandle, Generation};

/// Stock of backend handles, with the generations of each.
///
/// A handle that is given back carries its generations on to its next user, moved on by one, so that no entry of the
/// old user is ever taken for one of the new. The handle that was given back first is used again first: the longer
/// it rests, the fewer of its entries are left.
#[derive(Debug, Default)]
pub struct BackendHandles {
    generations: Vec<Generations>,
    free: VecDeque<BackendHandle>,
}

/// Generations of a handle, by which its conntrack entries are valid or void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    /// Generation of ordinary entries: moves on with every event that voids any entry, health losses too.
    pub ordinary: Generation,
    /// Generation of entries that persist on unhealthy backends: moves on with the events that void even these.
    pub persistent: Generation,
}

impl BackendHandles {
    /// Takes a handle that nobody uses.
    ///
    /// # Panics
    /// Where all [`BackendHandle::LIMIT`] are in use, twice what a configuration may hold.
    pub fn take(&mut self) -> BackendHandle {
        self.free.pop_front().unwrap_or_else(|| {
            let handle = BackendHandle(self.generations.len() as u32);
            assert!(handle.0 < BackendHandle::LIMIT, "every backend handle is in use");
            self.generations.push(Generations::default());
            handle
        })
    }

    /// Returns a handle to the stock; its entries are void.
    pub fn give_back(&mut self, handle: BackendHandle) {
        self.void_all(handle);
        self.free.push_back(handle);
    }

    /// Voids the entries that do not persist on unhealthy backends.
    pub fn void_ordinary(&mut self, handle: BackendHandle) {
        let generations = &mut self.generations[handle.0 as usize];
        generations.ordinary = generations.ordinary.next();
    }

    /// Voids every entry.
    pub fn void_all(&mut self, handle: BackendHandle) {
        self.void_ordinary(handle);
        let generations = &mut self.generations[handle.0 as usize];
        generations.persistent = generations.persistent.next();
    }

    /// Generations of a handle.
    pub fn generations(&self, handle: BackendHandle) -> Generations {
        self.generations[handle.0 as usize]
    }

    /// Number of handles in use.
    pub fn in_use(&self) -> usize {
        self.generations.len() - self.free.len()
    }

    /// Number of handles ever given out: one past the largest.
    pub fn len(&self) -> usize {
        self.generations.len()
    }

    /// True if no handle was ever given out.
    pub fn is_empty(&self) -> bool {
        self.generations.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_given_back_comes_again_under_other_generations() {
        let mut handles = BackendHandles::default();
        let (first, second) = (handles.take(), handles.take());
        assert_ne!(first, second);
        let before = handles.generations(first);
        handles.give_back(first);
        handles.give_back(second);
        assert_eq!(handles.take(), first, "the one that rested longest");
        let after = handles.generations(first);
        assert_ne!(before.ordinary, after.ordinary);
        assert_ne!(before.persistent, after.persistent);
    }

    #[test]
    fn a_health_loss_leaves_the_persistent_generation() {
        let mut handles = BackendHandles::default();
        let handle = handles.take();
        let before = handles.generations(handle);
        handles.void_ordinary(handle);
        assert_ne!(before.ordinary, handles.generations(handle).ordinary);
        assert_eq!(before.persistent, handles.generations(handle).persistent);
    }
}
