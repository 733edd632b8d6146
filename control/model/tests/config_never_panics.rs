//! No text makes the parser or the rendering of its errors panic.

use guideway_model::config::{Config, EXAMPLE};
use proptest::prelude::*;
use proptest::sample::Index;

/// Values that are wrong, or right in another place.
const VALUES: [&str; 24] = [
    "0",
    "-1",
    "1",
    "600",
    "65536",
    "18446744073709551616",
    "0x10",
    "0.5",
    "nan",
    "inf",
    "true",
    "false",
    "[]",
    "{}",
    "\"\"",
    "\"web\"",
    "\"firewall\"",
    "\"ü\"",
    "\"::\"",
    "\"192.0.2.1\"",
    "\"10.0.0.0/8\"",
    "\"INTERNAL\"",
    "1979-05-27",
    "[[80, {}], \"x\"]",
];

fn parse_and_render(text: &str) {
    if let Err(errors) = Config::parse("config.toml", text) {
        assert!(!errors.errors().is_empty());
        assert!(!errors.render(true).is_empty());
        assert!(errors.to_string().contains("config.toml"));
    }
}

proptest! {
    #[test]
    fn any_text(text in ".{0,200}") {
        parse_and_render(&text);
    }

    #[test]
    fn any_lines_of_toml(text in "(\\[{1,2}[a-z_.]{1,12}\\]{1,2}\r?\n|[a-z_]{1,8} = (\"\\PC{0,6}\"|[0-9]{1,4}|'é+')\r?\n){0,20}") {
        parse_and_render(&text);
    }

    #[test]
    fn an_example_with_characters_replaced(
        edits in prop::collection::vec((any::<Index>(), any::<char>()), 1..8)
    ) {
        let mut characters: Vec<char> = EXAMPLE.chars().collect();
        for (at, character) in edits {
            let at = at.index(characters.len());
            characters[at] = character;
        }
        parse_and_render(&characters.into_iter().collect::<String>());
    }

    #[test]
    fn an_example_with_values_replaced(
        edits in prop::collection::vec((any::<Index>(), prop::sample::select(&VALUES[..])), 1..8)
    ) {
        let mut lines: Vec<String> = EXAMPLE.lines().map(str::to_owned).collect();
        let keys: Vec<usize> = (0..lines.len())
            .filter(|&i| !lines[i].starts_with('#') && lines[i].contains(" = ") && !lines[i].ends_with('['))
            .collect();
        for (at, value) in edits {
            let line = &mut lines[keys[at.index(keys.len())]];
            let start = line.rfind(" = ").expect("it was chosen for having one") + 3;
            line.replace_range(start.., value);
        }
        parse_and_render(&lines.join("\n"));
    }

    #[test]
    fn an_example_with_lines_lost_or_repeated(
        edits in prop::collection::vec((any::<Index>(), any::<bool>()), 1..8)
    ) {
        let mut lines: Vec<&str> = EXAMPLE.lines().filter(|line| !line.starts_with('#')).collect();
        for (at, repeat) in edits {
            let at = at.index(lines.len());
            if repeat {
                lines.insert(at, lines[at]);
            } else {
                lines.remove(at);
            }
        }
        parse_and_render(&lines.join("\n"));
    }
}
