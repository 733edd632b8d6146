//! First words of documentation: read alone, in a tooltip, they must say what the item is.

use crate::source::Source;

/// First words that point at something which a tooltip does not show.
const POINTING: [&str; 26] = [
    "What", "It", "Its", "That", "This", "These", "Those", "How", "Whether", "Who", "Whom", "Whose", "Why",
    "Where", "When", "Since", "Of", "They", "Their", "He", "She", "And", "Or", "But", "So", "Which",
];

/// Documentation of public items whose first word points at something.
pub(crate) fn fragments(source: &Source) -> Vec<String> {
    if !source.is_product() {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut is_public = false;
    let mut first: Option<(usize, &str)> = None;
    for (index, line) in source.text.lines().enumerate() {
        let code = line.trim_start();
        if line == "#[cfg(test)]" {
            break;
        }
        if let Some(text) = code.strip_prefix("/// ") {
            first.get_or_insert((index, text));
            continue;
        }
        if code.starts_with("#[") || code.starts_with("///") || code.starts_with(")]") {
            continue;
        }
        // An item that begins a line decides for its fields, variants and methods.
        if line.starts_with(|letter: char| letter.is_ascii_lowercase()) {
            is_public = line.starts_with("pub enum ") || line.starts_with("pub trait ");
        }
        let is_shown =
            code.starts_with("pub ") || (is_public && line.starts_with("    ") && !line.starts_with("     "));
        if let Some((documented, text)) = first.take()
            && is_shown
            && POINTING.contains(&text.split([' ', ',', ';', ':', '.', '\'']).next().unwrap_or_default())
        {
            found.push(format!("{}:{}: {text}", source.path, documented + 1));
        }
    }
    found
}
