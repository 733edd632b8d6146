//! Secrets in the text of a configuration: errors show the lines that they are about, without the fleet's seed or a token.

/// Fewest hexadecimal digits in a row that are taken for a seed under a mistyped key.
const LONG_RUN: usize = 24;

/// Puts asterisks in place of all in a text that may be a seed, right or mistyped; every byte keeps its position.
///
/// Goes by the look of the lines, as a text that is not TOML is shown too.
pub fn mask_secrets(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut is_fleet = false;
    for line in text.split_inclusive('\n') {
        let start = line.trim_start();
        if start.starts_with('[') {
            is_fleet = start.trim_start_matches('[').trim_start().starts_with("fleet");
            mask_runs(line, &mut masked);
        } else if is_fleet
            || start.starts_with("fleet")
            || ["seed", "token"].iter().any(|word| line.contains(word))
        {
            mask_values(line, &mut masked);
        } else {
            mask_runs(line, &mut masked);
        }
    }
    masked
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// Masks every word that is no key, but the values of `seed_file` and `token_file`.
fn mask_values(line: &str, masked: &mut String) {
    let mut rest = line;
    let mut names_file = false;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
        if word == 0 {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
            // A path has several words.
            names_file &= first != ',';
            continue;
        }
        let (word, after) = rest.split_at(word);
        if after.trim_start_matches([' ', '\t', '"', '\'']).starts_with('=') {
            names_file = ["seed_file", "token_file"].contains(&word.rsplit('.').next().unwrap_or(word));
            masked.push_str(word);
        } else if names_file {
            masked.push_str(word);
        } else {
            masked.extend(std::iter::repeat_n('*', word.len()));
        }
        rest = after;
    }
}

/// Masks long runs of hexadecimal digits.
fn mask_runs(line: &str, masked: &mut String) {
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(from.len()));
        masked.push_str(before);
        if run.len() < LONG_RUN {
            masked.push_str(run);
        } else {
            masked.extend(std::iter::repeat_n('*', run.len()));
        }
        rest = after;
    }
    masked.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::mask_secrets;

    #[test]
    fn a_seed_is_masked_however_it_is_written() {
        for (text, shown) in [
            ("[fleet]\nseed = \"00zz\" # ours\n", "[fleet]\nseed = \"****\" # ****\n"),
            ("[ fleet ]\nsed = 1234\n[port]\nmtu = 1500", "[ fleet ]\nsed = ****\n[port]\nmtu = 1500"),
            ("fleet.seed = '0011", "fleet.seed = '****"),
            ("fleet = { \"seed\" = \"0ü\" }", "fleet = { \"seed\" = \"***\" }"),
            ("[fleet]\nseed = \"\"\"\n0011\n\"\"\"\n", "[fleet]\nseed = \"\"\"\n****\n\"\"\"\n"),
            ("sead = \"000102030405060708090a0b0c\"", "sead = \"**************************\""),
            ("[fleet]\nseed_file = \"/etc/seed.hex\"\n", "[fleet]\nseed_file = \"/etc/seed.hex\"\n"),
            (
                "fleet = { seed_file = \"a/b\", seed = \"00\" }",
                "fleet = { seed_file = \"a/b\", seed = \"**\" }",
            ),
            ("[metrics]\ntoken = \"s3cret\"\n", "[metrics]\ntoken = \"******\"\n"),
            ("metrics = { token_file = \"/etc/token\" }", "metrics = { token_file = \"/etc/token\" }"),
            ("name = \"web\"\nip = \"2001:db8::1\"", "name = \"web\"\nip = \"2001:db8::1\""),
        ] {
            assert_eq!(mask_secrets(text), shown);
            assert_eq!(mask_secrets(text).len(), text.len());
        }
    }
}
