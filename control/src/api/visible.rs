//! Text for a terminal, of which nothing steers the terminal: names, answers and errors may come from anybody.

use std::borrow::Cow;
use std::fmt::Write;

/// Text in which control characters, and those that turn the direction of writing, are shown as what they are.
///
/// Line breaks and tabulators stay, as tables and errors are made of lines.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(character));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

/// Text in one line, with control characters shown as what they are: a cell of a table.
pub fn plain(text: &str) -> String {
    visible(text).replace(['\n', '\t'], " ")
}

fn steers(character: char) -> bool {
    let turns =
        matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (character.is_control() && !matches!(character, '\n' | '\t'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal_and_text_stays_as_it_is() {
        let text = "web-1 · größer, 東京\n\tnext";
        assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        assert_eq!(
            visible("a\u{1b}[31mred\u{7}\r\u{9b}2J\u{202e}x"),
            r"a\u{1b}[31mred\u{7}\u{d}\u{9b}2J\u{202e}x"
        );
    }

    #[test]
    fn a_cell_is_one_line_that_a_terminal_does_not_obey() {
        assert_eq!(plain("web-1 äß 网"), "web-1 äß 网");
        assert_eq!(plain("a\n\tb\x1b[2J\u{202e}c"), r"a  b\u{1b}[2J\u{202e}c");
    }
}
