//! Removes secrets from the text of a configuration: the fleet's seed, however it is written.
//!
//! A value is found by its place in the parsed file, so that inline tables, dotted or quoted keys and texts of several lines
//! make no difference. Comments are not parsed: a comment that assigns the key ends there, and 32 hexadecimal digits are
//! left out wherever they stand.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Keys whose values are left out.
const KEYS: [&str; 1] = ["seed"];

/// Fewest hexadecimal digits in a row that are taken for a seed.
const SEED_DIGITS: usize = 32;

/// Shortest value that is left out of other texts too; a shorter one stands there by chance.
const LONG: usize = 8;

/// Text in place of a value.
const LEFT_OUT: &str = "\"(left out)\"";

/// Text of a configuration without its secrets.
#[derive(Debug)]
pub(super) struct Redacted {
    /// Text that may be shown.
    pub(super) text: String,
    /// Secrets, as other texts may have them.
    values: Vec<String>,
}

impl Redacted {
    /// Leaves out the secrets of a configuration of several files, each included one under its name.
    pub(super) fn of_files<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all = Self { text: String::new(), values: Vec::new() };
        for (index, (name, text)) in files.enumerate() {
            if index > 0 {
                all.text += &format!("\n# included: {name}\n");
            }
            let Self { text, values } = Self::new(text);
            all.text += &text;
            all.values.extend(values);
        }
        all
    }

    /// Leaves out the secrets of a file of a configuration; all of it where it is no TOML, as nobody can tell them from the rest.
    fn new(config: &str) -> Self {
        let Ok(document) = DeTable::parse(config) else {
            let text = "(left out: it is no TOML, and secrets cannot be told from the rest)".to_owned();
            return Self { text, values: Vec::new() };
        };
        let mut found = Found::default();
        found.table(document.get_ref(), false);
        found.spans.sort_by_key(|span| span.start);
        let mut text = String::with_capacity(config.len());
        let mut end = 0;
        for span in found.spans {
            text.push_str(&config[end..span.start]);
            text.push_str(LEFT_OUT);
            end = span.end;
        }
        text.push_str(&config[end..]);
        let lines = text.split_inclusive('\n').map(|line| without_digits(&without_assignment(line)));
        Self { text: lines.collect(), values: found.values }
    }

    /// Leaves the same secrets out of another text.
    pub(super) fn clear(&self, text: &str) -> String {
        let values = self.values.iter().filter(|value| value.len() >= LONG);
        values.fold(text.to_owned(), |text, value| text.replace(value, "(left out)"))
    }
}

/// Secrets that have been found, and where they are.
#[derive(Default)]
struct Found {
    spans: Vec<Range<usize>>,
    values: Vec<String>,
}

impl Found {
    fn table(&mut self, table: &DeTable<'_>, is_secret: bool) {
        for (key, value) in table {
            let is_secret = is_secret || is_key(key.get_ref());
            self.value(value.get_ref(), value.span(), is_secret);
        }
    }

    fn value(&mut self, value: &DeValue<'_>, span: Range<usize>, is_secret: bool) {
        match value {
            DeValue::Table(table) => self.table(table, is_secret),
            DeValue::Array(list) => {
                list.iter().for_each(|one| self.value(one.get_ref(), one.span(), is_secret));
            }
            _ if is_secret => {
                self.spans.push(span);
                self.values.extend(value.as_str().map(str::to_owned));
            }
            _ => {}
        }
    }
}

fn is_key(word: &str) -> bool {
    KEYS.iter().any(|key| key.eq_ignore_ascii_case(word))
}

/// Line that ends where a secret key is assigned to, unless the value is left out already.
fn without_assignment(line: &str) -> String {
    for (at, _) in line.match_indices(['=', ':']) {
        let (before, after) = line.split_at(at + 1);
        let word = before[..at].trim_end_matches(|letter: char| !letter.is_alphanumeric());
        let start = word.rfind(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let word =
            start.map_or(word, |start| word.split_at(start).1.trim_matches(|c: char| !c.is_alphanumeric()));
        if is_key(word) && !after.trim_start().starts_with(LEFT_OUT) {
            let end = if line.ends_with('\n') { "\n" } else { "" };
            return format!("{before} {LEFT_OUT}{end}");
        }
    }
    line.to_owned()
}

/// Line without long rows of hexadecimal digits.
fn without_digits(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(from.len());
        let (digits, after) = from.split_at(end);
        text.push_str(before);
        text.push_str(if digits.len() >= SEED_DIGITS { "(left out)" } else { digits });
        rest = after;
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = "00112233445566778899aabbccddeeff";

    #[test]
    fn a_seed_is_left_out_however_it_is_written() {
        for (written, shown) in [
            ("[fleet]\nseed = \"S\"\nsize = 2\n", "[fleet]\nseed = \"(left out)\"\nsize = 2\n"),
            ("fleet.seed = \"S\" # ours\n", "fleet.seed = \"(left out)\" # ours\n"),
            ("fleet = { size = 2, seed = 'S' }\n", "fleet = { size = 2, seed = \"(left out)\" }\n"),
            ("fleet = { seed = 'S', size = 2 }\n", "fleet = { seed = \"(left out)\", size = 2 }\n"),
            ("[fleet]\nseed = \"\"\"\nS\"\"\"\n", "[fleet]\nseed = \"(left out)\"\n"),
            (
                "[fleet]\nseed = \"\"\"\n0011223344556677\\\n  8899aabbccddeeff\"\"\"\nsize = 2",
                "[fleet]\nseed = \"(left out)\"\nsize = 2",
            ),
            ("[fleet]\n\"seed\" = \"S\"\n", "[fleet]\n\"seed\" = \"(left out)\"\n"),
            ("[fleet]\n\"s\\u0065ed\" = \"S\"\n", "[fleet]\n\"s\\u0065ed\" = \"(left out)\"\n"),
            ("[fleet]\nSEED = \"S\"\n", "[fleet]\nSEED = \"(left out)\"\n"),
            ("seed = \"too short\"\n", "seed = \"(left out)\"\n"),
            ("[fleet]\nseed = [\"S\", 7]\n", "[fleet]\nseed = \"(left out)\"\n"),
            ("#seed = \"S\"\nx = 1\n", "#seed = \"(left out)\"\nx = 1\n"),
            ("# fleet.seed=\"short\"\n", "# fleet.seed= \"(left out)\"\n"),
            ("x = 1 # the seed: \"short\"\n", "x = 1 # the seed: \"(left out)\"\n"),
            ("# it was S before\n", "# it was (left out) before\n"),
            ("name = \"x\" # S\n", "name = \"x\" # (left out)\n"),
            ("seeds = 4 # reseed = 5\n", "seeds = 4 # reseed = 5\n"),
        ] {
            let redacted = Redacted::new(&written.replace('S', SEED).replace(&format!("{SEED}EED"), "SEED"));
            assert_eq!(redacted.text, shown, "{written}");
        }
    }

    #[test]
    fn of_a_file_that_is_no_toml_nothing_is_shown() {
        let redacted = Redacted::new("[fleet]\nseed = \"\"\"\n00112233\n");
        assert!(redacted.text.starts_with("(left out: ") && !redacted.text.contains("0011"));
    }

    #[test]
    fn the_same_seed_is_left_out_of_other_texts() {
        let redacted = Redacted::new(&format!("fleet.seed = \"{SEED}\"\nx.seed = \"7\""));
        assert_eq!(redacted.clear(&format!("7: seed {SEED}")), "7: seed (left out)");
    }
}
