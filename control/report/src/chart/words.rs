//! Widths of texts, and lines of them that fit.

/// Width of a character, about, in the page's font of 13 units: that of a wide one, as fonts differ.
const CHARACTER: f64 = 7.5;

/// Width of a text.
pub(super) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// Breaks a text between words, and words where they are longer than a line, so that no line is wider than `width`.
pub(super) fn wrapped(text: &str, width: f64) -> Vec<String> {
    let most = ((width / CHARACTER) as usize).max(1);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        while !rest.is_empty() {
            let line = lines.last_mut().expect("there is a line");
            let used = line.chars().count();
            let gap = usize::from(used > 0);
            if used + gap + rest.len() <= most {
                line.extend((gap > 0).then_some(' '));
                line.extend(rest.drain(..));
            } else if used > 0 {
                lines.push(String::new());
            } else {
                line.extend(rest.drain(..most));
                lines.push(String::new());
            }
        }
    }
    lines.retain(|line| !line.is_empty());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_in_words_that_are_too_long() {
        let width = 10.0 * CHARACTER;
        assert_eq!(wrapped("one two three", width), ["one two", "three"]);
        assert_eq!(wrapped("0123456789abc de", width), ["0123456789", "abc de"]);
        assert_eq!(wrapped("0123456789", width), ["0123456789"]);
        assert!(wrapped(" ", width).is_empty());
        for line in wrapped("a sentence of several words, some long_as_an_identifier", width) {
            assert!(text_width(&line) <= width, "{line}");
        }
    }
}
