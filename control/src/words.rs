//! Words of BIRD, of programs and of probed servers as errors and the status have them: of bounded length, and without anything that steers a
//! terminal or ends a line of the log. They are made so here, where they come in, so that nobody behind has to.

/// Longest words that are shown, in bytes.
const MAX_SHOWN: usize = 1_024;

/// Words as they are shown: letters that are not printed stand there as numbers, and what is too long ends in `…`.
pub(crate) fn shown(said: &str) -> String {
    let mut text = String::new();
    for letter in said.chars() {
        let before = text.len();
        match letter {
            // Only these have another escape than a number, line breaks and the like aside.
            '"' | '\'' | '\\' => text.push(letter),
            _ => text.extend(letter.escape_debug()),
        }
        if text.len() > MAX_SHOWN {
            text.truncate(before);
            return text + "…";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_as_they_are_said_where_they_are_printed() {
        let said = r#"8003 No protocols match "vip_web"; größer, 東京 \ it's"#;
        assert_eq!(shown(said), said);
    }

    #[test]
    fn nothing_steers_a_terminal_or_ends_a_line() {
        let said = "a\u{1b}]0;x\u{7}\r\n\0\u{9b}2J\u{202e}\u{200f}\u{2066}\u{2028}b\tc";
        assert_eq!(shown(said), r"a\u{1b}]0;x\u{7}\r\n\0\u{9b}2J\u{202e}\u{200f}\u{2066}\u{2028}b\tc");
    }

    #[test]
    fn long_words_are_cut_behind_a_whole_letter() {
        let longest = "x".repeat(MAX_SHOWN);
        assert_eq!(shown(&longest), longest);
        assert_eq!(shown(&format!("{longest}y")), format!("{longest}…"));
        for letter in ["\u{1b}", "東"] {
            let text = shown(&letter.repeat(70_000));
            assert!((MAX_SHOWN - 6..=MAX_SHOWN + "…".len()).contains(&text.len()), "{}", text.len());
            assert!(text.ends_with(&format!("{}…", shown(letter))));
        }
    }
}
