//! Words of commands that an operator is told to type.

/// Word of a command as a root's shell reads it: plain, in single quotes, or for control characters in bash's `$'…'`.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "@%+=:,./-_".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    if !word.contains(char::is_control) {
        return format!("'{}'", word.replace('\'', "'\\''"));
    }
    let escaped = |letter: char| match letter {
        '\'' | '\\' => format!("\\{letter}"),
        _ if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        _ => letter.to_string(),
    };
    format!("$'{}'", word.chars().map(escaped).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_read_more_than_a_word() {
        for (word, shown) in [
            ("/run/guideway/admin.sock", "/run/guideway/admin.sock"),
            ("/run/a b;reboot", "'/run/a b;reboot'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("a\nb'\u{1b}", r"$'a\u000ab\'\u001b'"),
        ] {
            assert_eq!(quoted(word), shown);
        }
    }
}
