//! The lookup tables of the services, with the names of the backends in their slots.

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::maglev::LookupTable;
use guideway_dataplane::seed::Seed;
use guideway_dataplane::snapshot::Eligible;

/// Everything that a lookup table and the list of its backends depend on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ingredients {
    pub(crate) seed: Seed,
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

    /// Shares of all eligible backends, by name.
    pub fn shares(&self) -> impl Iterator<Item = Share<'a>> {
        let slots = self.eligible.table.shares();
        let backends = self.ingredients.backends.iter();
        backends.zip(slots).map(|((backend, weight, _), slots)| Share { backend, weight: *weight, slots })
    }

    /// Name of the backend in a slot.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn backend_at(&self, slot: usize) -> &'a str {
        &self.ingredients.backends[usize::from(self.eligible.table.at(slot))].0
    }
}
