//! Limits on brackets, which hold before a text is parsed: a parser's time and memory grow with their depth and number.

use super::limits::MAX_BACKENDS;

/// Largest number of brackets in a text: two for each of as many backends as there may be. Every one may be a table, which
/// takes more than a kilobyte while the text is parsed.
const MAX_BRACKETS: usize = 2 * MAX_BACKENDS;

/// Largest number of brackets that are open at once: a right configuration has five.
const MAX_DEPTH: usize = 64;

/// Error of a text: a bracket too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// More brackets are open at this byte than may be.
    Depth(usize),
    /// More brackets open up to this byte than may in a text.
    Number(usize),
}

/// First bracket that is one too many; [`None`] in a text that keeps within the limits.
///
/// Brackets in strings and comments do not count. A string that is not ended ends with its line here, and the parser tells of it.
pub(super) fn excess(text: &str) -> Option<Excess> {
    let bytes = text.as_bytes();
    let (mut depth, mut opened, mut at) = (0_usize, 0_usize, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'[' | b'{' if depth == MAX_DEPTH => return Some(Excess::Depth(at)),
            b'[' | b'{' if opened == MAX_BRACKETS => return Some(Excess::Number(at)),
            b'[' | b'{' => (depth, opened) = (depth + 1, opened + 1),
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'#' => at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at),
            b'"' | b'\'' => at = end_of_string(bytes, at),
            _ => {}
        }
        at += 1;
    }
    None
}

impl Excess {
    /// Byte of the bracket.
    pub(super) fn at(self) -> usize {
        match self {
            Self::Depth(at) | Self::Number(at) => at,
        }
    }

    /// Error, and its remedy.
    pub(super) fn message(self) -> (String, &'static str) {
        match self {
            Self::Depth(_) => (
                format!("more than {MAX_DEPTH} brackets are open here, which are the most"),
                "close the brackets that are open before it",
            ),
            Self::Number(_) => (
                format!("more than {MAX_BRACKETS} lists and tables up to here, which are the most in a file"),
                "split the configuration over several appliances",
            ),
        }
    }
}

/// Last byte of the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let escapes = quote == b'"';
    let is_long = bytes.get(start..start + 3) == Some(&[quote; 3]);
    let mut at = start + if is_long { 3 } else { 1 };
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if escapes => at += 1,
            b'\n' if !is_long => return at,
            byte if *byte == quote => {
                if !is_long {
                    return at;
                }
                if bytes.get(at..at + 3) == Some(&[quote; 3]) {
                    return at + 2;
                }
            }
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_outside_of_strings_and_comments_alone() {
        let many = "[".repeat(MAX_DEPTH + 1);
        assert_eq!(excess(&many), Some(Excess::Depth(MAX_DEPTH)));
        assert_eq!(excess(&many[1..]), None);
        assert_eq!(excess(&"{".repeat(MAX_DEPTH + 1)), Some(Excess::Depth(MAX_DEPTH)));
        assert_eq!(excess(&"[a]\nb = [{}]\n".repeat(1_000)), None, "each is closed");
        for text in [
            format!("a = \"{many}\"\n"),
            format!("a = '{many}'\n"),
            format!("a = \"\"\"\n{many}\" \n\"\"\"\n"),
            format!("a = '''\n{many}'\n'''\n"),
            format!("# {many}\n"),
            format!("a = \"\\\"{many}\"\n"),
        ] {
            assert_eq!(excess(&text), None, "{text}");
            let after = format!("{text}{many}");
            assert_eq!(excess(&after), Some(Excess::Depth(after.len() - 1)), "{text}");
        }
        assert_eq!(
            excess(&format!("a = \"\n{many}")),
            Some(Excess::Depth(6 + MAX_DEPTH)),
            "a string ends with its line"
        );
        assert_eq!(excess("a = \"\\"), None);
    }

    #[test]
    fn brackets_are_counted() {
        let many = "[]".repeat(MAX_BRACKETS);
        assert_eq!(excess(&many), None);
        assert_eq!(excess(&format!("{many}{{")), Some(Excess::Number(many.len())));
    }
}
