//! Mentions of other files in the text of a configuration file, for whoever is to read them.

use std::collections::BTreeSet;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nesting;

/// Keys that name files.
const KEYS: [&str; 4] = ["include", "seed_file", "token_file", "endpoints_file"];

/// Files that one file of a configuration names, as their paths are written there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mentions {
    /// Patterns of the files that the configuration goes on in.
    pub include: Vec<String>,
    /// File that holds the seed.
    pub seed_file: Option<String>,
    /// File that holds the token of the metrics' listener.
    pub token_file: Option<String>,
    /// Files of endpoints, each once.
    pub endpoints_files: BTreeSet<String>,
}

impl Mentions {
    /// Finds the mentions in a text; none in one that is not TOML, which the parser reports.
    pub fn of(text: &str) -> Self {
        // Most configurations name no other file, and need not be parsed twice.
        if !KEYS.iter().any(|key| text.contains(key)) {
            return Self::default();
        }
        if nesting::excess(text).is_some() {
            return Self::default();
        }
        let Ok(document) = DeTable::parse(text) else { return Self::default() };
        let document = document.get_ref();
        let include = document.get("include").and_then(|include| include.get_ref().as_array());
        let groups = document.get("backend_group").and_then(|groups| groups.get_ref().as_array()).into_iter();
        let patterns = include.into_iter().flat_map(|include| include.iter());
        Self {
            include: patterns.filter_map(|pattern| Some(pattern.get_ref().as_str()?.to_owned())).collect(),
            endpoints_files: groups
                .flat_map(|groups| groups.iter())
                .filter_map(|group| path(group, "endpoints_file"))
                .collect(),
            seed_file: document.get("fleet").and_then(|fleet| path(fleet, "seed_file")),
            token_file: document.get("metrics").and_then(|metrics| path(metrics, "token_file")),
        }
    }
}

/// Path that a key of a table names.
fn path(table: &Spanned<DeValue<'_>>, key: &str) -> Option<String> {
    Some(table.get_ref().as_table()?.get(key)?.get_ref().as_str()?.to_owned())
}
