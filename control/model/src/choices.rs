//! Choices of backends: lookup tables with their subsets, each made once for all services that choose alike.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use guideway_dataplane::maglev::{LookupTable, Weighted};
use guideway_dataplane::seed::Seed;
use guideway_dataplane::subsets::Subsets;

/// Everything that a choice of backends depends on.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ingredients {
    pub(crate) seed: Seed,
    pub(crate) subset_size: Option<NonZeroU16>,
    /// Name and weight of each eligible backend, by name.
    pub(crate) backends: Vec<(String, u16)>,
}

/// Lookup table and the subsets of its backends.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    pub(crate) ingredients: Arc<Ingredients>,
    pub(crate) table: LookupTable,
    pub(crate) subsets: Option<Subsets>,
}

/// Choices that services use, and a few that they have used: services of one group often choose among the same backends,
/// and lose and regain one together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    known: HashMap<Arc<Ingredients>, Choice>,
    /// Number of choices at which those that nobody uses are forgotten.
    full_at: usize,
}

/// Choices that are kept at least, used or not.
const KEPT: usize = 16;

impl Choices {
    /// Choice that is made of these ingredients.
    pub(crate) fn get(&mut self, ingredients: Ingredients) -> Choice {
        if let Some(known) = self.known.get(&ingredients) {
            return known.clone();
        }
        if self.known.len() >= self.full_at.max(KEPT) {
            // Two references are the map's own: the key, and the choice's.
            self.known.retain(|ingredients, _| Arc::strong_count(ingredients) > 2);
            // So that each look at all of them is paid for by as many new ones.
            self.full_at = 2 * self.known.len();
        }
        let choice = Choice::new(Arc::new(ingredients));
        self.known.insert(Arc::clone(&choice.ingredients), choice.clone());
        choice
    }

    /// Number of choices that are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Takes in choices that were made elsewhere; they are kept until they have had a chance to be used.
    pub(crate) fn adopt(&mut self, others: Self) {
        // Duplicates are dropped first, as they count as uses of those that are known.
        let is_new = |(ingredients, _): &(Arc<Ingredients>, Choice)| !self.known.contains_key(ingredients);
        let new: Vec<_> = others.known.into_iter().filter(is_new).collect();
        // Choices of the configurations before are forgotten here, as whoever takes this one over makes no more.
        if self.known.len() > KEPT {
            self.known.retain(|ingredients, _| Arc::strong_count(ingredients) > 2);
        }
        self.known.extend(new);
        self.full_at = 2 * self.known.len();
    }
}

impl Choice {
    fn new(ingredients: Arc<Ingredients>) -> Self {
        let Ingredients { seed, subset_size, backends } = &*ingredients;
        let weighted: Vec<Weighted<'_>> =
            backends.iter().map(|(name, weight)| Weighted { name, weight: *weight }).collect();
        let table = LookupTable::build(seed, &weighted);
        let subsets = subset_size.and_then(|size| Subsets::build(seed, &table, size));
        Self { ingredients, table, subsets }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingredients(backends: &[&str]) -> Ingredients {
        let backends = backends.iter().map(|name| ((*name).to_owned(), 1)).collect();
        Ingredients { seed: Seed::DEFAULT, subset_size: None, backends }
    }

    #[test]
    fn choices_that_nobody_uses_are_forgotten_and_those_in_use_are_not() {
        let mut choices = Choices::default();
        let used: Vec<Choice> =
            (0..KEPT).map(|number| choices.get(ingredients(&[&format!("used-{number}")]))).collect();
        for number in 0..10 * KEPT {
            choices.get(ingredients(&[&format!("other-{number}")]));
            assert!(choices.known.len() <= 2 * KEPT, "{number}");
        }
        // Choices that come from elsewhere make room as well.
        for number in 0..10 * KEPT {
            let mut others = Choices::default();
            others.get(ingredients(&[&format!("prepared-{number}")]));
            choices.adopt(others);
            assert!(choices.known.len() <= 4 * KEPT, "{number}: {}", choices.known.len());
        }
        for choice in &used {
            let (name, _) = &choice.ingredients.backends[0];
            let again = choices.get(ingredients(&[name]));
            assert!(Arc::ptr_eq(&again.ingredients, &choice.ingredients), "{name}");
        }
    }
}
