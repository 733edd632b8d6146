//! Configurations of several files: what the main file names, as whoever reads files has brought it together.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use guideway_model::config::{Config, Mentions, NamedFile, Sources};
use guideway_model::warnings::warnings;

const SEED: &str = "000102030405060708090a0b0c0d0e0f";

/// A configuration whose seed is in a file.
fn with_seed_file(fleet: &str, text: Result<&str, &str>) -> Sources {
    let mut sources = Sources::of_text("etc/guideway.toml", fleet);
    sources.named.push(NamedFile {
        named_in: 0,
        path: "seed".to_owned(),
        name: "etc/seed".to_owned(),
        text: text.map(str::to_owned).map_err(str::to_owned),
        is_public: false,
    });
    sources
}

#[test]
fn a_seed_may_be_in_a_file_of_its_own() {
    let text = "[fleet]\nseed_file = \"seed\"\n";
    assert_eq!(Mentions::of(text).seed_file.as_deref(), Some("seed"));
    let expected = Config::parse("one.toml", &format!("[fleet]\nseed = \"{SEED}\"\n")).unwrap().fleet;
    for written in [SEED.to_owned(), format!(" {}\n\n", SEED.to_uppercase())] {
        let config = Config::parse_sources(&with_seed_file(text, Ok(&written))).unwrap();
        assert_eq!(config.fleet, expected);
        assert_eq!(warnings(&config).len(), 1, "the file has no rule, and nothing else is wrong");
    }
    let mut public = with_seed_file(text, Ok(SEED));
    public.named[0].is_public = true;
    let warning = warnings(&Config::parse_sources(&public).unwrap())[0].to_string();
    assert!(warning.contains("etc/seed") && warning.contains("chmod"), "{warning}");
    assert!(!warning.contains(SEED));
}

#[test]
fn a_wrong_seed_file_is_told_by_its_name_and_never_by_its_content() {
    let text = "[fleet]\nseed_file = \"seed\"\n";
    let both = format!("[fleet]\nseed = \"{SEED}\"\nseed_file = \"seed\"\n");
    for (fleet, content, told) in [
        (text, Ok("000102030405060708090a0b0c0d0e0"), "`etc/seed` does not hold 32 hexadecimal digits"),
        (text, Ok(""), "`etc/seed` does not hold 32 hexadecimal digits"),
        (text, Err("No such file"), "cannot read `etc/seed`: No such file"),
        (&both, Ok(SEED), "both `seed` and `seed_file`"),
    ] {
        let errors = Config::parse_sources(&with_seed_file(fleet, content)).unwrap_err();
        let [error] = errors.errors() else { panic!("{errors}") };
        assert!(error.message.starts_with(told), "{errors}");
        let shown = errors.render(false);
        assert!(shown.contains("seed_file = \"seed\"\n") && !shown.contains("00010203"), "{shown}");
    }
    let errors = Config::parse("alone.toml", text).unwrap_err();
    assert!(errors.to_string().contains("did not come with the configuration"), "{errors}");
}

#[test]
fn errors_never_print_a_seed() {
    let mistyped = [
        format!("[fleet]\nseed = \"{SEED}0\"\n"),
        format!("[fleet]\nseed = \"{SEED}\n"),
        format!("[fleet]\nsead = \"{SEED}\"\n"),
        format!("[flet]\nseed = \"{SEED}\"\n"),
        format!("fleet = {{ seed = \"g{SEED}\" }}\n"),
        format!("fleet.seed = 0x{SEED}\n"),
        format!("[fleet]\n{SEED}\n"),
    ];
    for text in mistyped {
        let errors = Config::parse("config.toml", &text).expect_err(&text);
        let shown = format!("{errors}{:?}", errors.errors());
        assert!(!shown.contains("00010203"), "{shown}");
    }
}
