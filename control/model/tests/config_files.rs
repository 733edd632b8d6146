//! Configurations of several files: what the main file names, as whoever reads files has brought it together.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use guideway_model::config::{Config, Include, IncludedFile, MINIMAL, Mentions, NamedFile, Sources};
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

/// A configuration of a main file that includes others.
fn including(main: &str, files: &[(&str, &str)]) -> Sources {
    let included =
        |(name, text): &(&str, &str)| IncludedFile { name: (*name).to_owned(), text: Ok((*text).to_owned()) };
    let files = Ok(files.iter().map(included).collect());
    let mut sources = Sources::of_text("main.toml", format!("include = [\"conf.d/*.toml\"]\n{main}"));
    sources.includes.push(Include { pattern: "conf.d/*.toml".to_owned(), files });
    sources
}

#[test]
fn tables_of_all_files_are_one_configuration() {
    let second = "[conntrack]\nmax_entries = 4096\n[[backend_group]]\nname = \"spare\"\nendpoints = []\n";
    let one = Config::parse("one.toml", &format!("{MINIMAL}\n{second}")).unwrap();
    for files in [
        including(MINIMAL, &[("conf.d/a.toml", second)]),
        including(
            &MINIMAL.replace("[[backend_group]]", "[[backend_group]] # ü"),
            &[("conf.d/a.toml", second)],
        ),
        including("", &[("conf.d/a.toml", MINIMAL), ("conf.d/b.toml", second)]),
    ] {
        assert_eq!(Mentions::of(&files.main.text).include, ["conf.d/*.toml"]);
        assert_eq!(Config::parse_sources(&files).unwrap_or_else(|errors| panic!("{errors}")), one);
    }
    let none = Config::parse_sources(&including(MINIMAL, &[])).unwrap();
    let warning = warnings(&none)[0].to_string();
    assert!(warning.starts_with("`include` matches no file by `conf.d/*.toml`"), "{warning}");
}

#[test]
fn errors_show_the_file_that_they_are_about() {
    let wrong = "# ü\n[[backend_group]]\nname = \"spare\"\nendpoint = []\n";
    let errors =
        Config::parse_sources(&including(MINIMAL, &[("conf.d/a.toml", ""), ("conf.d/b.toml", wrong)]))
            .unwrap_err();
    let places: Vec<_> = errors.errors().iter().map(|e| (e.file.as_deref(), e.line, e.column)).collect();
    assert_eq!(places, [(Some("conf.d/b.toml"), 2, 1), (Some("conf.d/b.toml"), 4, 1)], "{errors}");
    assert!(errors.to_string().contains("--> conf.d/b.toml:4:1"), "{errors}");

    let twice =
        including(MINIMAL, &[("conf.d/a.toml", "[fleet]\n"), ("conf.d/b.toml", "\n[fleet]\n[admin]\n")]);
    let twice = format!("{}", Config::parse_sources(&twice).unwrap_err());
    for shown in ["`[fleet]` stands in two files", "conf.d/b.toml:2:2", "conf.d/a.toml:1:2", "the first"] {
        assert!(twice.contains(shown), "{twice}");
    }
    let same_name = including(MINIMAL, &[("a.toml", "[[backend_group]]\nname = \"web\"\nendpoints = []\n")]);
    let same_name = Config::parse_sources(&same_name).unwrap_err().to_string();
    for shown in ["two backend groups are named `web`", "a.toml:2:8", "main.toml:", "the first"] {
        assert!(same_name.contains(shown), "{same_name}");
    }

    for (file, told) in [
        ("include = [\"*.toml\"]\n", "an included file includes others"),
        ("[port]\n", "`port` is a list in one file and a table in another"),
        ("a =\n", "not TOML"),
    ] {
        let errors = Config::parse_sources(&including(MINIMAL, &[("a.toml", file)])).unwrap_err();
        assert!(errors.errors()[0].message.starts_with(told), "{errors}");
        assert_eq!(errors.errors()[0].file.as_deref(), Some("a.toml"), "{errors}");
    }
}

#[test]
fn files_that_cannot_be_had_are_errors_of_their_pattern() {
    let mut sources = including(MINIMAL, &[("conf.d/a.toml", "")]);
    sources.includes[0].files.as_mut().unwrap()[0].text = Err("permission denied".to_owned());
    let errors = Config::parse_sources(&sources).unwrap_err();
    assert!(errors.to_string().contains("cannot read `conf.d/a.toml`: permission denied"), "{errors}");
    assert_eq!((errors.errors()[0].line, errors.errors().len()), (1, 1));
    sources.includes[0].files = Err("wildcards are wrong".to_owned());
    assert!(Config::parse_sources(&sources).unwrap_err().to_string().contains("wildcards are wrong"));
    let alone = Config::parse("main.toml", &sources.main.text).unwrap_err();
    assert!(alone.to_string().contains("did not come with the configuration"), "{alone}");
}

#[test]
fn the_bound_on_size_holds_for_all_files_together() {
    let half = "#".repeat(65 << 20);
    let errors = Config::parse_sources(&including("", &[("a.toml", &half), ("b.toml", &half)])).unwrap_err();
    let [error] = errors.errors() else { panic!("{} errors", errors.errors().len()) };
    assert!(error.message.starts_with("files that together are of more than 134217728 bytes"), "{error:?}");
}
