//! Mentions of other files in the text of a configuration file, for whoever is to read them.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Files that one file of a configuration names, as their paths are written there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// File that holds the seed.
    pub seed_file: Option<String>,
}

impl Mentions {
    /// Finds the mentions in a text; none in one that is not TOML, which the parser reports.
    pub fn of(text: &str) -> Self {
        // Most configurations name no other file, and need not be parsed twice.
        if !text.contains("seed_file") {
            return Self::default();
        }
        let Ok(document) = DeTable::parse(text) else { return Self::default() };
        let fleet = document.get_ref().get("fleet").map(Spanned::get_ref);
        Self { seed_file: fleet.and_then(|fleet| path(fleet, "seed_file")) }
    }
}

/// Path that a key of a table names.
fn path(table: &DeValue<'_>, key: &str) -> Option<String> {
    Some(table.as_table()?.get(key)?.get_ref().as_str()?.to_owned())
}
