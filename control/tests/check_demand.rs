//! Warnings of `guideway check` about health checks that need more than the probes' own TCP has.

#![allow(clippy::unwrap_used)] // A test that cannot set its scene fails there.

use std::fmt::Write;
use std::process::Command;

/// A service of 1,000 backends behind `rules` rules of one address, probed every `interval` seconds; `check`
/// is more lines of its health check.
fn config(rules: usize, interval: u32, check: &str) -> String {
    let mut text = format!(
        "[[health_check]]\nname = \"alive\"\ntype = \"TCP\"\nport = 80\ncheck_interval_sec = {interval}\n\
         timeout_sec = 1\n{check}\n\
         [[backend_service]]\nname = \"web\"\nhealth_checks = [\"alive\"]\nbackends = [{{ group = \"web\" }}]\n\
         [[backend_group]]\nname = \"web\"\nendpoints = [\n"
    );
    for number in 0..1_000 {
        let (third, fourth) = (number / 250, number % 250 + 1);
        writeln!(text, "{{ name = \"b{number}\", ip_address = \"10.0.{third}.{fourth}\" }},").unwrap();
    }
    text += "]\n";
    for number in 0..rules {
        let port = 1_000 + number;
        writeln!(
            text,
            "[[forwarding_rule]]\nname = \"web-{number}\"\nip_address = \"203.0.113.10\"\nports = [{port}]\n\
             backend_service = \"web\""
        )
        .unwrap();
    }
    text
}

/// The warnings, as a person and as a program read them; the configuration is right all the same.
fn warnings(name: &str, text: &str) -> Vec<String> {
    let path = std::env::temp_dir().join(format!("guideway-demand-{name}-{}.toml", std::process::id()));
    std::fs::write(&path, text).unwrap();
    let check = |output: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_guideway"));
        let said = command.args(["check", "--replay", "--output", output]).arg(&path).output().unwrap();
        assert_eq!(said.status.code(), Some(0), "{}", String::from_utf8_lossy(&said.stderr));
        String::from_utf8(said.stdout).unwrap()
    };
    let (table, json) = (check("table"), check("json"));
    std::fs::remove_file(&path).unwrap();
    let of_table: Vec<_> =
        table.lines().filter_map(|line| line.strip_prefix("warning: ")).map(str::to_owned).collect();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["warnings"], serde_json::json!(of_table));
    assert_eq!(json["ok"], true);
    of_table
}

#[test]
fn what_the_probes_have_room_for_is_no_matter() {
    // 1,000 a second: 1,000 are open for a second, and 61,000 local ports are taken.
    assert_eq!(warnings("one-rule", &config(1, 1, "")), [""; 0]);
    assert_eq!(warnings("slow", &config(4, 5, "")), [""; 0]);
    assert_eq!(warnings("kernel", &config(8, 1, "transport = \"kernel\"")), [""; 0]);
}

#[test]
fn more_than_there_is_comes_with_figures_and_remedy() {
    let ports = warnings("two-rules", &config(2, 1, ""));
    assert_eq!(
        ports,
        ["health checks need 122000 local ports to 203.0.113.10 port 80, as each rests for 60 s after its \
          probe, and have 64512: raise `check_interval_sec`, have the address in fewer rules, or set \
          `transport = \"kernel\"` for some; probes beyond that are not made in time"]
    );
    let all = warnings("five-rules", &config(5, 1, ""));
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(
        all[0]
            .starts_with("health checks need 5000 connections at once when nobody answers, and have 4096: ")
    );
    assert!(all[1].starts_with("health checks need 305000 local ports to 203.0.113.10 port 80, "));
    assert!(all[2].starts_with(
        "health checks need 300000 local ports at rest, each for 60 s after its probe, and have 262144"
    ));
}

#[test]
fn each_network_has_its_own_connections_and_ports() {
    // Two networks with the VIP, each with a rule of 1,000 backends a second: too much for one.
    let red = config(1, 1, "").split_once("[[backend_service]]").unwrap().1.to_owned();
    let red =
        format!("[[backend_service]]{red}").replace("name = \"web\"", "name = \"red\"\nnetwork = \"red\"");
    let red = red.replace("group = \"web\"", "group = \"red\"").replace("web-0", "red-0");
    let red = red.replace("backend_service = \"web\"", "backend_service = \"red\"\nnetwork = \"red\"");
    let networks = "[[port]]\nname = \"trunk\"\ndevice = \"net_null0\"\n\
                    [[network]]\nname = \"blue\"\n[[network]]\nname = \"red\"\nvlan = 200\n";
    assert_eq!(warnings("networks", &format!("{}{red}{networks}", config(1, 1, ""))), [""; 0]);
    let [told] = &warnings("networks-two-rules", &format!("{}{red}{networks}", config(2, 1, "")))[..] else {
        panic!("one warning")
    };
    assert!(told.starts_with("in network `blue`, health checks need 122000 local ports to "), "{told}");
}
