//! Modules with unsafe code: those that allow it, and those that the README lists.

use std::collections::BTreeSet;

use crate::source::{Source, exists};

/// Paths of the product's files that allow unsafe code, and folders of crates that deny it nowhere.
pub(crate) fn allowed(sources: &[Source], manifests: &[Source]) -> BTreeSet<String> {
    let denies = |manifest: &&Source| {
        let denies = manifest.text.contains("unsafe_code = \"deny\"");
        denies || manifest.text.contains("[lints]\nworkspace = true")
    };
    let without = manifests.iter().filter(|manifest| !denies(manifest));
    let mut found: BTreeSet<String> =
        without.map(|manifest| manifest.path.trim_end_matches("/Cargo.toml").to_owned()).collect();
    for source in sources.iter().filter(|source| source.is_product()) {
        // Once, so that this file is not among those that have it.
        let allows =
            ["allow", "expect"].iter().any(|word| source.text.contains(&format!("{word}(unsafe_code")));
        if allows {
            found.insert(source.path.clone());
        }
    }
    found
}

/// Paths in the README's paragraph on unsafe code.
pub(crate) fn listed(readme: &str) -> BTreeSet<String> {
    let start = readme.find("**Unsafe code**").expect("the README speaks of unsafe code");
    let paragraph = readme[start..].split("\n\n").next().unwrap_or_default();
    let words = paragraph.split('`').skip(1).step_by(2).flat_map(expand);
    words.filter(|word| exists(word)).collect()
}

/// The paths that braces stand for: `a/{b,c}.rs` are `a/b.rs` and `a/c.rs`.
pub(crate) fn expand(path: &str) -> Vec<String> {
    let Some((head, rest)) = path.split_once('{') else { return vec![path.to_owned()] };
    let Some((names, tail)) = rest.split_once('}') else { return vec![path.to_owned()] };
    names.split(',').map(|name| format!("{head}{}{tail}", name.trim())).collect()
}
