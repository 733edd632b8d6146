//! Markup: text escaped for HTML and SVG, and numbers as people read them.

use std::fmt::{self, Display, Formatter};

/// Text that is written with the characters of markup escaped; good for content and for quoted attributes.
pub struct Escaped<T>(pub T);

impl<T: AsRef<str>> Display for Escaped<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.as_ref().chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // XML has no way to write other control characters.
                '\t' | '\n' => f.write_str(" ")?,
                control if control.is_control() => f.write_str("\u{fffd}")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// Sentences, escaped, in which what stands between two backticks is shown as code.
pub struct Prose<T>(pub T);

impl<T: AsRef<str>> Display for Prose<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_ref();
        while let Some((before, after)) = rest.split_once('`')
            && let Some((code, after)) = after.split_once('`')
        {
            write!(f, "{}<code>{}</code>", Escaped(before), Escaped(code))?;
            rest = after;
        }
        Escaped(rest).fmt(f)
    }
}

/// Formats a count with its thousands apart: `1,234,567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a number short enough for an axis: `0.05`, `2.5`, `1,000`, `50k`, `10M`.
pub fn short(number: f64) -> String {
    let magnitude = number.abs();
    let (divisor, unit) = match magnitude {
        _ if magnitude >= 1e9 => (1e9, "G"),
        _ if magnitude >= 1e6 => (1e6, "M"),
        _ if magnitude >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let scaled = number / divisor;
    if unit.is_empty() && magnitude >= 1_000.0 {
        let sign = if number < 0.0 { "-" } else { "" };
        return format!("{sign}{}", count(magnitude.round() as u64));
    }
    format!("{}{unit}", significant(scaled))
}

/// Formats a number by three significant digits, without zeros at the end.
fn significant(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let decimals = (2 - number.abs().log10().floor() as i32).clamp(0, 9) as usize;
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_taken_for_markup() {
        let escaped = Escaped("<b a=\"1\" c='2'>&amp;\u{1}\n").to_string();
        assert_eq!(escaped, "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;\u{fffd} ");
    }

    #[test]
    fn code_in_a_sentence_stands_between_backticks() {
        let prose = Prose("a < b, `mtu` and `a < b`, but ` alone").to_string();
        assert_eq!(prose, "a &lt; b, <code>mtu</code> and <code>a &lt; b</code>, but ` alone");
    }

    #[test]
    fn counts_have_their_thousands_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn numbers_are_short_and_exact_where_they_are_round() {
        let numbers = [0.0, 0.05, 0.2, 2.5, 20.0, 128.4, 1_000.0, 9_999.4, 50_000.0, 1e6, 2.5e9, -1_500.0];
        let texts = ["0", "0.05", "0.2", "2.5", "20", "128", "1,000", "9,999", "50k", "1M", "2.5G", "-1,500"];
        assert_eq!(numbers.map(short), texts);
    }
}
