//! Plain text for a cell or a line of the screen, in which nothing from outside steers the terminal.

use crate::cli::visible::visible;

/// Text in one line, with control characters shown as what they are.
pub(super) fn plain(text: &str) -> String {
    visible(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_line_that_a_terminal_does_not_obey() {
        assert_eq!(plain("web-1 äß 网"), "web-1 äß 网");
        assert_eq!(plain("a\n\tb\x1b[2J\u{202e}c"), r"a  b\u{1b}[2J\u{202e}c");
    }
}
