//! Backend handles: which are in use, and the generations that outlive their users.

use std::collections::{BTreeMap, HashMap};

use guideway_dataplane::backend::{BackendHandle, Generation};
use guideway_dataplane::seed::Seed;

/// Stock of backend handles, with the generations of each.
///
/// A handle that is given back carries its generations on to its next user, moved on by one, so that no entry of the
/// old user is ever taken for one of the new. A backend that comes back gets the handle that it had, if that is free:
/// fragments may still follow it there. So handles rest until `RESTING` are free; then others get the one that was
/// given back first: the longer it rests, the fewer of its entries are left.
#[derive(Clone, Debug, Default)]
pub struct BackendHandles {
    generations: Vec<Generations>,
    /// Identities of the handles' users, the last ones where they are free.
    identities: Vec<u64>,
    /// Free handles, in the order in which they were given back.
    free: BTreeMap<u64, BackendHandle>,
    /// Keys of `free`, by the identity of the last user.
    resting: HashMap<u64, u64>,
    given_back: u64,
}

/// Number of free handles beyond which one gets another user.
const RESTING: usize = 256;

/// Name of a backend of a service as a number: the same in every snapshot.
pub fn identity(service: &str, backend: &str) -> u64 {
    // Any fixed key will do: nobody gains by two names of one number.
    Seed::DEFAULT.hash_name(service, backend)
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
    /// Takes a handle that nobody uses for the backend of this identity.
    ///
    /// # Panics
    /// Where all [`BackendHandle::LIMIT`] are in use, twice what a configuration may hold.
    pub fn take(&mut self, identity: u64) -> BackendHandle {
        let own = self.resting.get(&identity).and_then(|turn| self.free.remove(turn));
        let is_scarce = self.free.len() >= RESTING || self.len() >= BackendHandle::LIMIT as usize;
        let free = own.or_else(|| if is_scarce { Some(self.free.pop_first()?.1) } else { None });
        let Some(handle) = free else {
            let handle = BackendHandle(self.generations.len() as u32);
            assert!(handle.0 < BackendHandle::LIMIT, "every backend handle is in use");
            self.generations.push(Generations::default());
            self.identities.push(identity);
            return handle;
        };
        let before = std::mem::replace(&mut self.identities[handle.0 as usize], identity);
        self.resting.remove(&before);
        handle
    }

    /// Returns a handle to the stock; its entries are void.
    pub fn give_back(&mut self, handle: BackendHandle) {
        self.void_all(handle);
        self.free.insert(self.given_back, handle);
        self.resting.insert(self.identity(handle), self.given_back);
        self.given_back += 1;
    }

    /// Identity of the backend that uses a handle.
    pub fn identity(&self, handle: BackendHandle) -> u64 {
        self.identities[handle.0 as usize]
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
        let all: Vec<_> = (0..RESTING as u64 + 1).map(|identity| handles.take(identity)).collect();
        let (first, second) = (all[0], all[1]);
        assert_ne!(first, second);
        let before = handles.generations(first);
        all.iter().for_each(|handle| handles.give_back(*handle));
        assert_eq!(handles.take(1_000), first, "the one that rested longest");
        assert_eq!(handles.identity(first), 1_000);
        let after = handles.generations(first);
        assert_ne!(before.ordinary, after.ordinary);
        assert_ne!(before.persistent, after.persistent);
        assert_eq!(handles.take(1_001), second);
        let third = handles.take(1_002);
        assert!(!all.contains(&third), "the others rest");
        assert_eq!((handles.in_use(), handles.len()), (3, RESTING + 2));
    }

    #[test]
    fn a_backend_that_comes_back_gets_its_own_handle_while_nobody_else_has_it() {
        let mut handles = BackendHandles::default();
        let all: Vec<_> = (0..RESTING as u64 + 2).map(|identity| handles.take(identity)).collect();
        all.iter().for_each(|handle| handles.give_back(*handle));
        assert_eq!(handles.in_use(), 0);
        assert_eq!(handles.take(2), all[2]);
        assert_eq!(handles.take(1_000), all[0], "a stranger's");
        assert_eq!(handles.take(0), all[1], "its own is taken");
        handles.give_back(all[2]);
        handles.give_back(all[0]);
        assert_eq!((handles.take(2), handles.take(1_000), handles.take(3)), (all[2], all[0], all[3]));
        assert_eq!(handles.len(), RESTING + 2);
    }

    #[test]
    fn a_health_loss_leaves_the_persistent_generation() {
        let mut handles = BackendHandles::default();
        let handle = handles.take(1);
        let before = handles.generations(handle);
        handles.void_ordinary(handle);
        assert_ne!(before.ordinary, handles.generations(handle).ordinary);
        assert_eq!(before.persistent, handles.generations(handle).persistent);
    }
}
