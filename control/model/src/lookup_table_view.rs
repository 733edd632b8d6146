//! The lookup tables of the services, with the names of the backends in their slots.

use std::num::NonZeroU16;

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::maglev::LookupTable;
use guideway_dataplane::seed::Seed;
use guideway_dataplane::snapshot::Eligible;
use guideway_dataplane::subsets::Subsets;

/// Everything that a lookup table and the list of its backends depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ingredients {
    pub(crate) seed: Seed,
    pub(crate) subset_size: Option<NonZeroU16>,
    /// Name, weight and handle of each eligible backend, by name.
    pub(crate) backends: Vec<(String, u16, BackendHandle)>,
}

/// Lookup table of one service, with the names of its backends.
#[derive(Clone, Copy, Debug)]
pub struct NamedTable<'a> {
    service: &'a str,
    ingredients: &'a Ingredients,
    eligible: &'a Eligible,
}

/// Part of a lookup table that belongs to one eligible backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// Name of the backend.
    pub backend: &'a str,
    /// Weight of the backend; 1 where the service is not weighted.
    pub weight: u16,
    /// Number of slots that name the backend.
    pub slots: u32,
    /// Number of subsets that the backend is in; none where there are no subsets.
    pub subsets: Option<u32>,
}

impl<'a> NamedTable<'a> {
    pub(crate) fn new(service: &'a str, ingredients: &'a Ingredients, eligible: &'a Eligible) -> Self {
        Self { service, ingredients, eligible }
    }

    /// Name of the service.
    pub fn service(&self) -> &'a str {
        self.service
    }

    /// Lookup table as the workers read it.
    pub fn table(&self) -> &'a LookupTable {
        &self.eligible.table
    }

    /// Digest that tells choices of backends apart: equal where appliances choose alike.
    pub fn digest(&self) -> u64 {
        self.eligible.digest()
    }

    /// Number of backends that each client is to meet at most, as configured; none where it meets all.
    pub fn subset_size(&self) -> Option<NonZeroU16> {
        self.ingredients.subset_size
    }

    /// Subsets as the workers read them; none where every client meets all eligible backends.
    pub fn subsets(&self) -> Option<&'a Subsets> {
        self.eligible.subsets.as_deref()
    }

    /// Names of the backends in the subset of a class, by seat.
    ///
    /// # Panics
    /// If there are no subsets, or no such class.
    pub fn subset(&self, class: usize) -> impl Iterator<Item = &'a str> {
        let subsets = self.subsets().expect("a class is one of subsets");
        let backends = &self.ingredients.backends;
        subsets.of_class(class).iter().map(|index| &*backends[usize::from(*index)].0)
    }

    /// Shares of all eligible backends, by name.
    pub fn shares(&self) -> impl Iterator<Item = Share<'a>> {
        let slots = self.eligible.table.shares();
        let memberships = self.subsets().map(|subsets| {
            let mut memberships = vec![0; slots.len()];
            subsets.iter().flatten().for_each(|index| memberships[usize::from(*index)] += 1);
            memberships
        });
        let backends = self.ingredients.backends.iter();
        backends.zip(slots).enumerate().map(move |(index, ((backend, weight, _), slots))| {
            let subsets = memberships.as_ref().map(|memberships| memberships[index]);
            Share { backend, weight: *weight, slots, subsets }
        })
    }

    /// Name of the backend in a slot.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn backend_at(&self, slot: usize) -> &'a str {
        &self.ingredients.backends[usize::from(self.eligible.table.at(slot))].0
    }
}
