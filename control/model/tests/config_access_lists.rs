//! Access lists in the configuration: what they come to, and what is refused.

use std::net::IpAddr;

use guideway_model::config::Config;

/// Configuration with these access lists, and a rule with these lines.
fn parse(lists: &str, rule: &str) -> Result<Config, String> {
    let text = format!(
        "{lists}\n[[forwarding_rule]]\nname = \"web\"\nip_address = \"203.0.113.10\"\nports = [80]\n\
         backend_service = \"web\"\n{rule}\n[[backend_service]]\nname = \"web\"\nhealth_checks = [\"alive\"]\n\
         backends = [{{ group = \"web\" }}]\n[[backend_group]]\nname = \"web\"\nendpoints = []\n\
         [[health_check]]\nname = \"alive\"\ntype = \"TCP\"\nport = 80\n"
    );
    Config::parse("config.toml", &text).map_err(|errors| errors.render(false))
}

fn list(lines: &str) -> String {
    format!("[[access_list]]\nname = \"clients\"\n{lines}\n")
}

#[test]
fn a_rule_has_the_list_that_it_names_and_the_longest_prefix_of_it_decides() {
    let lines = "default_action = \"DENY\"\nallow = [\"10.0.0.0/8\", \"10.0.0.0/8\", \"2001:db8::/32\", \"192.0.2.7\"]\n\
                 deny = [\"10.1.0.0/16\"]";
    let config = parse(&list(lines), "access_list = \"clients\"").expect("it is right");
    let list = &config.access_lists[config.rules[0].access_list.expect("the rule has one")];
    assert_eq!((list.name.as_str(), list.admits_others, list.entries.len()), ("clients", false, 4));
    for (source, longest) in [
        ("10.2.3.4", Some(("10.0.0.0/8", true))),
        ("10.1.3.4", Some(("10.1.0.0/16", false))),
        ("192.0.2.7", Some(("192.0.2.7/32", true))),
        ("192.0.2.8", None),
        ("2001:db8::1", Some(("2001:db8::/32", true))),
        ("2001:db9::1", None),
    ] {
        let found = list.longest(source.parse::<IpAddr>().expect("an address"));
        let found = found.map(|(prefix, admits)| (prefix.to_string(), admits));
        assert_eq!(found, longest.map(|(prefix, admits)| (prefix.to_owned(), admits)), "{source}");
    }
    let without = parse("", "").expect("it is right");
    assert_eq!((without.rules[0].access_list, without.access_lists.len()), (None, 0));
}

#[test]
fn what_is_wrong_is_named_with_its_remedy() {
    let right = "default_action = \"ALLOW\"";
    for (claim, lists, rule, words) in [
        (
            "a list says what becomes of others",
            list("deny = [\"10.0.0.0/8\"]"),
            "",
            ["`default_action` is missing", "add `default_action = …`"],
        ),
        (
            "the default is one of two",
            list("default_action = \"deny\""),
            "",
            ["`deny` is not a value of `default_action`", "did you mean `DENY`?"],
        ),
        (
            "a prefix is allowed or denied",
            list(&format!("{right}\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]")),
            "",
            ["`10.0.0.0/8` is both allowed and denied", "leave it in one of `allow` and `deny`"],
        ),
        (
            "a prefix has no host bits",
            list(&format!("{right}\ndeny = [\"10.0.0.1/8\"]")),
            "",
            ["10.0.0.1/8", "10.0.0.0/8"],
        ),
        (
            "lists have names of their own",
            list(right) + &list(right),
            "",
            ["two access lists are named `clients`", "rename one of them"],
        ),
        (
            "the list of a rule is there",
            list(right),
            "access_list = \"client\"",
            ["no access list is named `client`", "did you mean `clients`?"],
        ),
    ] {
        let errors = parse(&lists, rule).expect_err(claim);
        assert!(words.iter().all(|words| errors.contains(words)), "{claim}: {errors}");
        assert!(errors.contains("config.toml: 1 error"), "{claim}: {errors}");
    }
}

#[test]
fn a_list_has_a_hundred_thousand_prefixes_of_each_kind_at_most() {
    let prefixes = |count: u32| {
        let address = |n: u32| format!("\"{}\"", std::net::Ipv4Addr::from(0x0a00_0000 + n));
        (0..count).map(address).collect::<Vec<_>>().join(", ")
    };
    let of = |count| parse(&list(&format!("default_action = \"ALLOW\"\ndeny = [{}]", prefixes(count))), "");
    assert_eq!(of(100_000).expect("it is right").access_lists[0].entries.len(), 100_000);
    let errors = of(100_001).expect_err("one too many");
    assert!(errors.contains("100001 prefixes of `deny`, and at most 100000 are allowed"), "{errors}");
}
