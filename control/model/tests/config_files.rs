//! Configurations of several files: what the main file names, as whoever reads files has brought it together.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use guideway_model::config::{
    Config, DnsQuestion, FileKind, Include, IncludedFile, MINIMAL, Mentions, NamedFile, Source, Sources,
    fault_of_endpoints,
};
use guideway_model::warnings::warnings;

const SEED: &str = "000102030405060708090a0b0c0d0e0f";

/// A configuration whose seed is in a file.
fn with_seed_file(fleet: &str, text: Result<&str, &str>) -> Sources {
    let mut sources = Sources::of_text("etc/guideway.toml", fleet);
    sources.named.push(NamedFile {
        kind: FileKind::Seed,
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

/// A configuration whose metrics have a token in a file.
fn with_token_file(text: Result<&str, &str>) -> Sources {
    let mut sources = with_seed_file("[metrics]\ntoken_file = \"seed\"\n", text);
    sources.named[0].kind = FileKind::Token;
    sources
}

#[test]
fn the_token_of_the_metrics_is_in_a_file_of_its_own() {
    assert_eq!(Mentions::of("[metrics]\ntoken_file = \"t\"\n").token_file.as_deref(), Some("t"));
    let mut sources = with_token_file(Ok("0123456789abcdef\n"));
    let config = Config::parse_sources(&sources).unwrap();
    assert_eq!(config.metrics.token.unwrap().as_bytes(), b"0123456789abcdef");
    sources.named[0].is_public = true;
    let warning = warnings(&Config::parse_sources(&sources).unwrap())[0].to_string();
    assert!(warning.contains("chmod o-r etc/seed") && !warning.contains("0123456789"), "{warning}");
    for (content, told) in [
        (Ok("0123456789abcde"), "`etc/seed` does not hold 16 to 512 visible ASCII characters"),
        (Err("No such file"), "cannot read `etc/seed`: No such file"),
    ] {
        let errors = Config::parse_sources(&with_token_file(content)).unwrap_err();
        let [error] = errors.errors() else { panic!("{errors}") };
        assert!(error.message.starts_with(told), "{errors}");
        assert!(!errors.render(false).contains("0123456789"));
    }
    let errors = Config::parse("alone.toml", "[metrics]\ntoken_file = \"t\"\n").unwrap_err();
    assert!(errors.to_string().contains("did not come with the configuration"), "{errors}");
    // A seed of the same path is no token.
    let seed = with_seed_file("[metrics]\ntoken_file = \"seed\"\n", Ok(SEED));
    assert!(Config::parse_sources(&seed).is_err());
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

/// The minimal configuration, whose group has its endpoints in a file.
fn with_endpoints_file(keys: &str, text: Result<&str, &str>) -> Sources {
    let start = MINIMAL.find("endpoints = [").unwrap();
    let mut sources = Sources::of_text("etc/guideway.toml", format!("{}{keys}", &MINIMAL[..start]));
    sources.named.push(NamedFile {
        kind: FileKind::Endpoints,
        named_in: 0,
        path: "web.json".to_owned(),
        name: "etc/web.json".to_owned(),
        text: text.map(str::to_owned).map_err(str::to_owned),
        is_public: true,
    });
    sources
}

const ENDPOINTS_FILE: &str = "endpoints_file = \"web.json\"\n";

#[test]
fn endpoints_may_be_in_a_file_as_prometheus_reads_it() {
    let text = r#"[
        {"targets": ["192.0.2.11:9100", "192.0.2.12"], "labels": {"weight": "2", "job": "web"}},
        {"targets": ["192.0.2.13"], "labels": {"name": "web-3", "mac_address": "02:00:00:00:00:03"}},
        {"targets": []},
        {"targets": ["[2001:db8::1]:80", "2001:db8::2"]}
    ]"#;
    let sources = with_endpoints_file(&format!("delivery = \"gue\"\n{ENDPOINTS_FILE}"), Ok(text));
    let networked = sources.main.text.clone()
        + "[network]\nipv4_address = \"192.0.2.1\"\nipv6_address = \"2001:db8:9::1\"\n";
    let sources = Sources { main: Source { text: networked, ..sources.main }, ..sources };
    assert!(Mentions::of(&sources.main.text).endpoints_files.contains("web.json"));
    let config = Config::parse_sources(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    let group = &config.groups[0];
    assert_eq!(group.endpoints_file.as_deref(), Some("etc/web.json"));
    let shown: Vec<_> = group
        .endpoints
        .iter()
        .map(|endpoint| format!("{} {} {}", endpoint.name, endpoint.address, endpoint.weight))
        .collect();
    assert_eq!(
        shown,
        [
            "ip-192-0-2-11 192.0.2.11 2",
            "ip-192-0-2-12 192.0.2.12 2",
            "web-3 192.0.2.13 1",
            "ip-2001-db8-0-0-0-0-0-1 2001:db8::1 1",
            "ip-2001-db8-0-0-0-0-0-2 2001:db8::2 1",
        ]
    );
    assert_eq!(group.endpoints[2].mac_address, Some([2, 0, 0, 0, 0, 3]));
    assert_eq!(fault_of_endpoints(text), None);
    let empty = Config::parse_sources(&with_endpoints_file(ENDPOINTS_FILE, Ok("[]"))).unwrap();
    let warning = warnings(&empty)[0].to_string();
    assert!(warning.contains("etc/web.json has no target"), "{warning}");
    assert_eq!(fault_of_endpoints("[]").as_deref(), Some("it has no target"));
}

#[test]
fn a_wrong_file_of_endpoints_is_shown_as_a_configuration_is() {
    let file = Some("etc/web.json");
    for (text, place, told) in [
        ("", (file, 1, 1), "no list of targets in JSON: EOF"),
        ("[{\"targets\": [\"192.0.2.11\",]}]", (file, 1, 28), "no list of targets in JSON: trailing comma"),
        ("[{\"target\": []}]", (file, 1, 15), "no list of targets in JSON: missing field `targets`"),
        ("[\n {\"targets\": [\"web-1\"]}]", (file, 2, 15), "`web-1` is no IP address"),
        ("[{\"targets\": [\"127.0.0.1\"]}]", (file, 1, 15), "`targets` must be a unicast address"),
        (
            "[{\"targets\": [\"192.0.2.8\"], \"labels\": {\"weight\": \"1001\"}}]",
            (file, 1, 15),
            "the label `weight` must be 0 to 1000",
        ),
        (
            "[{\"targets\": [\"192.0.2.8\", \"192.0.2.9\"], \"labels\": {\"name\": \"a\"}}]",
            (file, 1, 15),
            "one label `name` for several targets",
        ),
        (
            "[{\"targets\": [\"192.0.2.8\"], \"labels\": {\"name\": \"A\"}}]",
            (file, 1, 15),
            "`A` is not a name",
        ),
    ] {
        let errors = Config::parse_sources(&with_endpoints_file(ENDPOINTS_FILE, Ok(text))).unwrap_err();
        let error = &errors.errors()[0];
        assert_eq!((error.file.as_deref(), error.line, error.column), place, "{errors}");
        assert!(error.message.starts_with(told), "{errors}");
        let fault = fault_of_endpoints(text).unwrap();
        assert!(fault.starts_with(&format!("line {}, column {}: {told}", place.1, place.2)), "{fault}");
    }
    let twice = "[{\"targets\": [\"192.0.2.11\"]}, {\"targets\": [\"192.0.2.11:80\"]}]";
    let twice = Config::parse_sources(&with_endpoints_file(ENDPOINTS_FILE, Ok(twice))).unwrap_err();
    assert!(twice.to_string().contains("two endpoints are named `ip-192-0-2-11`"), "{twice}");
    let many: Vec<_> = (0..1_001).map(|i| format!("\"10.0.{}.{}\"", i / 256, i % 256)).collect();
    let many = format!("[{{\"targets\": [{}]}}]", many.join(","));
    let many = Config::parse_sources(&with_endpoints_file(ENDPOINTS_FILE, Ok(&many))).unwrap_err();
    assert!(many.to_string().contains("1001 endpoints of one group, and at most 1000"), "{many}");
    for (keys, text, told) in [
        (ENDPOINTS_FILE, Err("No such file"), "cannot read `etc/web.json`: No such file"),
        (
            "endpoints_file = \"web.json\"\nendpoints = []\n",
            Ok("[]"),
            "both `endpoints` and `endpoints_file`",
        ),
        ("", Ok("[]"), "`endpoints` is missing"),
        ("endpoints_file = \"other.json\"\n", Ok("[]"), "`other.json` did not come"),
    ] {
        let errors = Config::parse_sources(&with_endpoints_file(keys, text)).unwrap_err();
        assert!(errors.errors()[0].message.starts_with(told), "{errors}");
        assert_eq!((errors.errors()[0].file.as_deref(), errors.errors().len()), (None, 1), "{errors}");
    }
}

/// The minimal configuration, whose group has its endpoints by DNS.
fn with_endpoints_dns(table: &str) -> Sources {
    let start = MINIMAL.find("endpoints = [").unwrap();
    Sources::of_text("etc/guideway.toml", format!("{}endpoints_dns = {table}\n", &MINIMAL[..start]))
}

#[test]
fn endpoints_may_be_answers_of_dns_and_are_none_before_one() {
    let mut sources = with_endpoints_dns(
        r#"{ name = "web.example.com.", type = "AAAA", servers = ["192.0.2.53", "[2001:db8::53]:5353"] }"#,
    );
    let config = Config::parse_sources(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    let question = config.groups[0].endpoints_dns.clone().unwrap();
    assert_eq!(question.to_string(), "AAAA web.example.com at 192.0.2.53:53, [2001:db8::53]:5353");
    assert!(config.groups[0].endpoints.is_empty());
    let warning = warnings(&config)[0].to_string();
    assert!(warning.contains("DNS has not been asked for AAAA web.example.com"), "{warning}");

    // An appliance expects an answer, which is none yet, and goes by it once it has come.
    sources.expect_answers(&config);
    assert_eq!(Config::parse_sources(&sources).unwrap(), config);
    let text = DnsQuestion::text(&["2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()]);
    sources.named[0].text = Ok(text);
    sources.main.text += "[network]\nipv4_address = \"192.0.2.1\"\nipv6_address = \"2001:db8:9::1\"\n";
    sources.main.text = sources.main.text.replace("endpoints_dns", "delivery = \"gue\"\nendpoints_dns");
    let answered = Config::parse_sources(&sources).unwrap_or_else(|errors| panic!("{errors}"));
    let names: Vec<_> = answered.groups[0].endpoints.iter().map(|endpoint| &*endpoint.name).collect();
    assert_eq!(names, ["ip-2001-db8-0-0-0-0-0-1", "ip-2001-db8-0-0-0-0-0-2"]);
    assert!(warnings(&answered).iter().all(|warning| !warning.to_string().contains("DNS")));

    // Answers go over to another configuration with the same question, and no further.
    let mut next = with_endpoints_dns("{ name = \"web.example.com\" }");
    next.bring_answers(&sources);
    assert_eq!(next.named.len(), 1);
    next.expect_answers(&Config::parse_sources(&next).unwrap());
    assert_eq!(next.named[0].path, "A web.example.com");
    assert!(next.named[0].text.is_err());
}

#[test]
fn an_answer_that_contradicts_the_configuration_is_shown_as_a_file_is() {
    let mut sources = with_endpoints_dns("{ name = \"web.example.com\" }");
    sources.expect_answers(&Config::parse_sources(&sources).unwrap());
    sources.named[0].text = Ok(DnsQuestion::text(&["127.0.0.1".parse().unwrap()]));
    let errors = Config::parse_sources(&sources).unwrap_err();
    let error = &errors.errors()[0];
    assert_eq!(error.file.as_deref(), Some("answer of DNS to A web.example.com"));
    assert!(error.message.starts_with("`targets` must be a unicast address"), "{errors}");
}

#[test]
fn a_wrong_question_is_shown_where_it_is_written() {
    for (table, told) in [
        ("{ name = \"web..example\" }", "`web..example` is no domain name"),
        ("{ name = \"web.example\", type = \"MX\" }", "`MX` is not a value of `type`"),
        ("{ name = \"web.example\", servers = [] }", "no servers of DNS"),
        ("{ name = \"web.example\", servers = [\"ns.example\"] }", "`ns.example` is no server of DNS"),
        (
            "{ name = \"web.example\", servers = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\", \"10.0.0.4\"] }",
            "4 servers of DNS, and at most 3",
        ),
        ("{ type = \"A\" }", "`name` is missing"),
        ("{ name = \"web.example\" }\nendpoints = []", "both `endpoints` and `endpoints_dns`"),
    ] {
        let errors = Config::parse_sources(&with_endpoints_dns(table)).unwrap_err();
        let error = &errors.errors()[0];
        assert!(error.message.starts_with(told), "{errors}");
        assert!(error.line > 1 && errors.errors().len() == 1, "{errors}");
    }
}
