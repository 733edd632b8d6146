//! First words of item docs: read alone, in an editor's tooltip, they must say what the item is.

use crate::source::Source;

/// Words that point at a subject instead of naming it.
const BANNED: &str = include_str!("../banned_first_words.txt");

/// Item docs of the product whose first word points at something, or that are empty.
pub(crate) fn fragments(source: &Source) -> Vec<String> {
    if !source.is_product() {
        return Vec::new();
    }
    let lines = || source.text.lines().map(str::trim_start);
    let before = std::iter::once("").chain(lines());
    let firsts = before.zip(lines()).enumerate().filter(|(_, (before, _))| !before.starts_with("///"));
    let docs = firsts.filter_map(|(index, (_, line))| Some((index + 1, line.strip_prefix("///")?)));
    let fragments = docs.filter(|(_, text)| !stands_alone(text));
    fragments.map(|(line, text)| format!("{}:{line}:{text}", source.path)).collect()
}

/// True if a text is not empty, and its first word may begin a sentence that is read alone.
fn stands_alone(text: &str) -> bool {
    let first = text.split(|letter: char| !letter.is_alphanumeric()).find(|word| !word.is_empty());
    first.is_some_and(|first| BANNED.lines().all(|banned| banned != first))
}
