//! Every command, file and configuration of docs/backends.md, run by a kernel's own devices between the appliance and a
//! client: a scene for each delivery mode and each way to set a backend up.
//!
//! A scene whose devices or programs this machine lacks is skipped, and says so on standard error.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::lab::Lab;
use crate::lab::address::{self, Family, Vip};
use crate::lab::appliance::{Appliance, GUIDEWAY, socket};
use crate::lab::document::{Block, Step};
use crate::lab::kernel;
use crate::lab::namespace::Namespace;
use crate::lab::networkd;
use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::{Ended, Process};
use crate::lab::web_server::{self, WebServer};

const DOCUMENT: &str = include_str!("../../../docs/backends.md");

/// Scenes that the tests below play: all that the document names.
const SCENES: [&str; 16] = [
    "dummy",
    "gre",
    "gre6",
    "gue",
    "gue6",
    "ipip",
    "ipip6",
    "kubernetes-gue",
    "kubernetes-ipip",
    "kubernetes-l2",
    "l2",
    "networkd-gre",
    "networkd-gue",
    "networkd-ipip",
    "networkd-ipip6",
    "networkd-l2",
];
const BACKENDS: usize = 2;
/// Length of an upload in bytes: many packets, most of them as long as the backend's MSS lets them be.
const BODY: usize = 1 << 20;

/// The document's words for what differs between two backends: what is written is the first one's.
const OF_THE_FIRST: [(&str, &str); 2] = [("192.0.2.11", "192.0.2.12"), ("2001:db8:1::b", "2001:db8:1::c")];

/// Plays a scene: sets two backends up, starts the appliance, sends traffic, looks, and takes the set-up away again.
fn play(scene: &str) {
    let blocks = Block::all(DOCUMENT);
    let of_backends: Vec<&Block> = blocks.iter().filter(|block| block.is_at("backend", scene)).collect();
    let lab = Lab::bare(1, BACKENDS);
    let commands: String = of_backends.iter().map(|block| block.text.as_str()).collect();
    // The appliance's namespace is of no use to anybody yet.
    let lacking = kernel::lacks(&needed(scene, &commands), lab.appliance(0));
    if !lacking.is_empty() {
        skip(&format!("the blocks of docs/backends.md for `{scene}`: {}", lacking.join("; ")));
        return;
    }
    prepare(&lab);
    web_server::make_certificate(&lab);
    let _servers: Vec<_> = (0..BACKENDS).map(|number| WebServer::start(&lab, number)).collect();
    let _networkds: Vec<_> =
        (0..BACKENDS).filter_map(|number| set_up(&lab, scene, &of_backends, number)).collect();

    let mut toml = BASE.replace("SOCKET", &socket(&lab, 0).to_string_lossy());
    let group = blocks.iter().find(|block| block.is_at("appliance", scene) && block.language == "toml");
    let group = &group.unwrap_or_else(|| panic!("{scene} has no configuration of the appliance")).text;
    toml += group;
    toml = toml.replace("GROUP-V6", if group.contains("web-v6") { "web-v6" } else { "web" });
    let appliance = Appliance::start_with(&lab, 0, &toml);

    for family in Family::BOTH {
        let pages = lab.curl(Vip::Routed.web(family), 30);
        let names: BTreeSet<&str> = pages.iter().map(String::as_str).collect();
        assert_eq!(names, BTreeSet::from(["b0", "b1"]), "{scene}, {family:?}");
        let body = lab.directory().join("body");
        fs::write(&body, vec![b'x'; BODY]).expect("the lab's directory can be written");
        lab.curl_upload(Vip::Routed.web(family), &body.to_string_lossy());
    }
    let stats = appliance.stats();
    assert!(
        stats.total.forwarded > 0 && stats.total.dropped.values().all(|packets| *packets == 0),
        "{stats:?}"
    );
    assert_eq!(stats.total.icmp_errors.sent, 0, "{scene}: the MSS keeps packets short enough");

    for block in blocks.iter().filter(|block| block.language == "sh" && block.step() == Step::Check) {
        let places = [("backend", lab.backend(0)), ("client", lab.client()), ("appliance", lab.appliance(0))];
        for (_, namespace) in places.iter().filter(|(place, _)| block.is_at(place, scene)) {
            block.compare(&run(&lab, namespace, block, 0).stdout);
        }
    }
    for number in 0..BACKENDS {
        let undo: Vec<_> = of_backends.iter().filter(|block| block.step() == Step::Undo).collect();
        undo.iter().for_each(|block| drop(run(&lab, lab.backend(number), block, number)));
        if !undo.is_empty() {
            assert_eq!(left(&lab, number), Vec::<String>::new(), "{scene} leaves nothing behind");
        }
    }
}

/// Commands that a scene needs devices for: of the DaemonSet's script, those of the scene's delivery.
fn needed(scene: &str, commands: &str) -> String {
    match scene {
        "kubernetes-l2" => String::new(),
        "kubernetes-ipip" => commands.replace("ip fou ", ""),
        _ => commands.to_owned(),
    }
}

/// Writes a line past the test harness, which would hold it back.
fn skip(what: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED: {what}");
}

/// Makes the client a host behind a router, as most are, and the backends hosts of strict filters.
fn prepare(lab: &Lab) {
    let client = lab.client();
    client.ip("address add 198.51.100.7/32 dev lo
        address add 2001:db8:3::7/128 dev lo nodad
        address add 192.0.2.254/24 dev eth0
        address add 2001:db8:1::fe/64 dev eth0\n");
    for (family, source) in [(Family::V4, "198.51.100.7"), (Family::V6, "2001:db8:3::7")] {
        let (vip, appliance) = (Vip::Routed.address(family), address::appliance(0, family));
        client.ip(&format!("route replace {vip} via {appliance} dev eth0 src {source}\n"));
    }
    for number in 0..BACKENDS {
        let backend = lab.backend(number);
        backend.set("ipv4/conf/all/rp_filter", "1");
        backend.set("ipv4/conf/default/rp_filter", "1");
        backend.ip("route add default via 192.0.2.254\nroute add default via 2001:db8:1::fe\n");
    }
}

/// Runs the document's commands for a backend, or gives it the document's files; returns networkd, if it runs.
fn set_up(lab: &Lab, scene: &str, blocks: &[&Block], number: usize) -> Option<Process> {
    let namespace = lab.backend(number);
    let folder = lab.directory().join(format!("network-{number}"));
    let mut reads_files = false;
    for block in blocks.iter().filter(|block| block.step() == Step::SetUp) {
        match block.language.as_str() {
            "sh" => drop(run(lab, namespace, block, number)),
            "ini" => {
                let file = PathBuf::from(block.value("file").expect("a file has a path"));
                let name = file.file_name().expect("the path of a file");
                fs::create_dir_all(&folder).expect("the lab's directory can be written");
                let path = folder.join(name);
                fs::write(&path, of(number, &block.text)).expect("the lab's directory can be written");
                // As the boot does with these files.
                let command = match file.parent().and_then(Path::to_str) {
                    Some("/etc/sysctl.d") => format!("sysctl --load {}", path.display()),
                    Some("/etc/systemd/system") => started_by(&block.text),
                    _ => String::new(),
                };
                let _ = shell(lab, namespace, &command, block.line);
                reads_files |= file.starts_with("/etc/systemd/network");
            }
            "yaml" => daemon_set(lab, scene, block, number),
            other => panic!("line {}: nobody runs {other}", block.line),
        }
    }
    if blocks.iter().any(|block| block.text.contains("\nName=eth0\n")) {
        // networkd would go on correcting addresses that somebody else has set a little differently, and would leave a route
        // of IPv6 as somebody else has made it.
        namespace.ip("address flush dev eth0 scope global\nroute delete default via 2001:db8:1::fe\n");
    }
    reads_files.then(|| {
        let mut networkd = networkd::start(namespace, lab.directory(), &format!("{number}"), &folder);
        let vips = Family::BOTH.map(|family| Vip::Routed.address(family).to_string());
        let there = || {
            if let Some(status) = networkd.ended() {
                panic!("networkd ended ({status}) before it set the VIPs: {}", networkd.stderr());
            }
            let addresses = listed(lab, namespace, &["-oneline", "address", "show"]);
            vips.iter().all(|vip| addresses.contains(&format!(" {vip}/"))).then_some(())
        };
        within(PATIENCE, there).unwrap_or_else(|| panic!("networkd sets the VIPs: {}", networkd.stderr()));
        networkd
    })
}

/// Commands that the start of a service runs.
fn started_by(unit: &str) -> String {
    let values = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStartPre=").or_else(|| line.strip_prefix("ExecStart=")));
    values.flat_map(|command| [command, "\n"]).collect()
}

/// Runs the script of the DaemonSet as its container would, with the scene's delivery.
fn daemon_set(lab: &Lab, scene: &str, block: &Block, number: usize) {
    let set: Value = serde_saphyr::from_str(&block.text).expect("the document has YAML");
    let container = &set["spec"]["template"]["spec"]["initContainers"][0];
    let words: Vec<&str> =
        container["command"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let mut command = lab.backend(number).command(words[0]);
    command.args(&words[1..]);
    for variable in container["env"].as_array().expect("a list") {
        let name = variable["name"].as_str().expect("a name");
        let value = match name {
            "DELIVERY" => scene.trim_start_matches("kubernetes-").to_owned(),
            "NODE" => address::backend(number, Family::V4).to_string(),
            _ => variable["value"].as_str().expect("a value").to_owned(),
        };
        command.env(name, value);
    }
    // Twice, as after a restart of the node's kubelet.
    for _ in 0..2 {
        let ended = Process::run(lab.directory(), "daemon-set", copy(&command), PATIENCE);
        assert!(ended.status.success(), "line {}: {ended:?}", block.line);
    }
}

/// Command with the same program, arguments and variables.
fn copy(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    copy.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    copy
}

/// Runs a block of commands, which must succeed.
fn run(lab: &Lab, namespace: &Namespace, block: &Block, number: usize) -> Ended {
    shell(lab, namespace, &of(number, &block.text), block.line)
}

fn shell(lab: &Lab, namespace: &Namespace, script: &str, line: usize) -> Ended {
    // The verbs ask the lab's appliance, and not one of the machine's.
    let tools = lab.directory().join("bin");
    let tool = tools.join("guideway");
    if !tool.exists() {
        fs::create_dir_all(&tools).expect("the lab's directory can be written");
        let text = format!("#!/bin/sh\nexec {GUIDEWAY} \"$@\" --socket {}\n", socket(lab, 0).display());
        fs::write(&tool, text).expect("the lab's directory can be written");
        let made = Command::new("chmod").arg("+x").arg(&tool).status();
        assert!(made.is_ok_and(|status| status.success()), "chmod +x");
    }
    let mut command = namespace.command("sh");
    command.args(["-euc", script]);
    command.env("PATH", format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default()));
    let ended = Process::run(lab.directory(), &format!("line-{line}"), command, PATIENCE);
    assert!(ended.status.success(), "docs/backends.md, line {line}: {}\n{script}{ended:#?}", ended.status);
    ended
}

/// Text for the backend of this number, in place of the first.
fn of(number: usize, text: &str) -> String {
    let first = text.to_owned();
    if number == 0 {
        first
    } else {
        OF_THE_FIRST.iter().fold(first, |text, (from, to)| text.replace(from, to))
    }
}

/// VIPs, tunnels and rules that a backend still has. Modules make devices of their own, such as `tunl0`.
fn left(lab: &Lab, number: usize) -> Vec<String> {
    let namespace = lab.backend(number);
    let addresses = listed(lab, namespace, &["-oneline", "address", "show"]);
    let links = listed(lab, namespace, &["-oneline", "link", "show"]);
    let vips = Family::BOTH.map(|family| Vip::Routed.address(family).to_string());
    let vips = vips.into_iter().filter(|vip| addresses.contains(vip.as_str()));
    let devices = ["gw", "gw4", "gw6", "vip0"].map(|name| format!(": {name}@"));
    let devices = devices.into_iter().filter(|name| links.contains(name.as_str()));
    vips.chain(devices).collect()
}

fn listed(lab: &Lab, namespace: &Namespace, words: &[&str]) -> String {
    let mut command = namespace.command("ip");
    command.args(words);
    Process::run(lab.directory(), "ip", command, PATIENCE).stdout
}

/// The appliance's configuration but for the groups, which are the document's.
const BASE: &str = r#"
[engine]
control_core = 0
worker_cores = [1]
no_huge = true
memory_mib = 256
mbufs = 16383

[[port]]
name = "lan"
device = "net_af_packet0,iface=eth0"
ip_addresses = ["192.0.2.1/24", "2001:db8:1::1/64"]

[admin]
socket = "SOCKET"

[network]
ipv4_address = "192.0.2.1"
ipv6_address = "2001:db8:1::1"

[conntrack]
max_entries = 65536

[[health_check]]
name = "alive"
type = "TCP"
port = 80
check_interval_sec = 2
timeout_sec = 2

[[forwarding_rule]]
name = "web"
ip_address = "203.0.113.10"
ports = [80]
neighbor_replies = "NEVER"
backend_service = "web"

[[backend_service]]
name = "web"
health_checks = ["alive"]
backends = [{ group = "web" }]

[[forwarding_rule]]
name = "web-v6"
ip_address = "2001:db8:2::a"
ports = [80]
neighbor_replies = "NEVER"
backend_service = "web-v6"

[[backend_service]]
name = "web-v6"
health_checks = ["alive"]
backends = [{ group = "GROUP-V6" }]

"#;

#[test]
fn every_scene_of_the_document_is_played() {
    let places = ["backend", "client", "appliance"];
    let blocks = Block::all(DOCUMENT);
    let values = blocks.iter().flat_map(|block| places.into_iter().filter_map(|place| block.value(place)));
    let scenes: BTreeSet<&str> = values.flat_map(|scenes| scenes.split(',')).collect();
    assert_eq!(scenes, BTreeSet::from(SCENES));
}

#[test]
fn headers_and_segment_sizes_of_the_document_are_right() {
    let (_, table) = DOCUMENT.split_once("| MSS, IPv6 VIP |\n").expect("the document has the table");
    let mut seen = 0;
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<String> = row.split('|').map(|cell| cell.trim().replace(',', "")).collect();
        let [headers, longest, v4, v6] =
            [2, 3, 4, 5].map(|index| cells[index].parse::<u32>().expect("a number"));
        let outer = if cells[1].contains("IPv6") { 40 } else { 20 };
        let tunnel = match cells[1].split('`').nth(1) {
            Some("l2") => 0,
            Some("ipip") => outer,
            Some("gre") => outer + 4,
            Some("gue") => outer + 12,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            (headers, longest, v4, v6),
            (tunnel, 1500 - tunnel, 1460 - tunnel, 1440 - tunnel),
            "{row}"
        );
        seen += 1;
    }
    assert_eq!(seen, 7);
}

/// A test for each scene.
macro_rules! scenes {
    ($($test:ident: $scene:literal,)*) => {
        $(#[test]
        fn $test() {
            play($scene);
        })*
    };
}

scenes! {
    packets_come_by_mac_address: "l2",
    the_vip_is_on_a_dummy_device: "dummy",
    packets_come_by_ipip_over_ipv4: "ipip",
    packets_come_by_ipip_over_ipv6: "ipip6",
    packets_come_by_gre_over_ipv4: "gre",
    packets_come_by_gre_over_ipv6: "gre6",
    packets_come_by_gue_over_ipv4: "gue",
    packets_come_by_gue_over_ipv6: "gue6",
    networkd_sets_up_the_vip: "networkd-l2",
    networkd_sets_up_ipip_over_ipv4: "networkd-ipip",
    networkd_sets_up_ipip_over_ipv6: "networkd-ipip6",
    networkd_sets_up_gre: "networkd-gre",
    networkd_sets_up_gue: "networkd-gue",
    a_daemon_set_sets_up_the_vip: "kubernetes-l2",
    a_daemon_set_sets_up_ipip: "kubernetes-ipip",
    a_daemon_set_sets_up_gue: "kubernetes-gue",
}
