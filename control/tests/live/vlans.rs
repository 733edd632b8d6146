//! An appliance in two networks, VLANs of one cable, in which the client, the VIP and the backend have the same addresses.
//!
//! ```text
//!  client 192.0.2.100 ─┐
//!                      ├─ VLAN 100 ─┐
//!  backend 192.0.2.11 ─┘            │
//!                                   hub ── trunk ── appliance 192.0.2.1, twice
//!  client 192.0.2.100 ─┐            │
//!                      ├─ VLAN 200 ─┘
//!  backend 192.0.2.11 ─┘
//! ```
//!
//! The hub is a program, so that the test needs no 802.1Q devices of the kernel.

use std::fs;
use std::time::Duration;

use guideway::api::view::{BackendList, Health, Stats, VipList};
use serde::de::DeserializeOwned;

use crate::lab::appliance::GUIDEWAY;
use crate::lab::namespace::Namespace;
use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::Process;
use crate::lab::scratch::{Scratch, free_port};
use crate::lab::{cable, next_number};

const PYTHON: &str = "/usr/bin/python3";
const HUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/live/lab/vlan_hub.py");
const VIP: &str = "192.0.2.10";

/// Name and VLAN of each network.
const NETWORKS: [(&str, u16); 2] = [("blue", 100), ("red", 200)];

/// A network with a rule before one backend.
fn network(name: &str, vlan: u16) -> String {
    format!(
        r#"
[[network]]
name = "{name}"
vlan = {vlan}
ip_addresses = ["192.0.2.1/24"]
[[forwarding_rule]]
name = "{name}"
network = "{name}"
ip_address = "{VIP}"
ports = [80]
backend_service = "{name}"
[[backend_service]]
name = "{name}"
network = "{name}"
health_checks = ["alive"]
backends = [{{ group = "{name}" }}]
[[backend_group]]
name = "{name}"
network = "{name}"
endpoints = [{{ name = "{name}-1", ip_address = "192.0.2.11" }}]
"#
    )
}

fn config(device: &str) -> String {
    let head = format!(
        r#"
[engine]
worker_cores = [0]
no_huge = true
memory_mib = 256
[conntrack]
max_entries = 100_000
[[port]]
name = "trunk"
device = "{device}"
[admin]
socket = "DIRECTORY/admin.sock"
[metrics]
listen = "127.0.0.1:{}"
[[health_check]]
name = "alive"
type = "HTTP"
port = 80
check_interval_sec = 1
timeout_sec = 1
"#,
        free_port()
    );
    NETWORKS.iter().fold(head, |text, (name, vlan)| text + &network(name, *vlan))
}

/// Client and backend of a network.
struct Side {
    name: &'static str,
    client: Namespace,
    _backend: Namespace,
    server: Process,
}

impl Side {
    /// Makes the two hosts, on devices of the hub that are called as the network is; the backend serves the network's name.
    fn new(lab: usize, name: &'static str, hub: &Namespace, scratch: &Scratch) -> Self {
        let [client, backend] =
            ["client", "backend"].map(|role| Namespace::new(lab, &format!("{name}-{role}")));
        for (host, role) in [(&client, 'c'), (&backend, 'b')] {
            host.set("ipv6/conf/default/disable_ipv6", "1");
            cable(hub, &format!("{name}-{role}"), host, "eth0");
            hub.ip(&format!("link set {name}-{role} up\n"));
        }
        client.ip("address add 192.0.2.100/24 dev eth0\n");
        // The appliance alone answers for the VIP.
        backend.set("ipv4/conf/all/arp_ignore", "1");
        backend.set("ipv4/conf/all/arp_announce", "2");
        backend.ip(&format!("address add 192.0.2.11/24 dev eth0\naddress add {VIP}/32 dev lo\n"));
        let pages = scratch.path().join(name);
        fs::create_dir(&pages).expect("the directory can be written");
        fs::write(pages.join("index.html"), name).expect("the directory can be written");
        let mut command = backend.command(PYTHON);
        command.args(["-m", "http.server", "80", "--bind", "0.0.0.0", "--directory"]).arg(&pages);
        let server = Process::start(scratch.path(), &format!("server-{name}"), command);
        Self { name, client, _backend: backend, server }
    }

    /// The page that the VIP serves to this network's client.
    fn fetch(&self, scratch: &Scratch) -> Option<String> {
        let mut command = self.client.command("curl");
        command.args(["--silent", "--fail", "--max-time", "5", "--local-port", "40000-50000"]);
        command.arg(format!("http://{VIP}/"));
        let ended = Process::run(scratch.path(), "curl", command, PATIENCE);
        ended.status.success().then_some(ended.stdout)
    }
}

fn ask<T: DeserializeOwned>(scratch: &Scratch, words: &[&str]) -> Option<T> {
    let ended = scratch.ask(&[words, &["--output", "json"]].concat());
    ended.status.success().then(|| serde_json::from_str(&ended.stdout).expect("JSON of a view"))
}

/// Waits until these backends are healthy, and no others.
fn wait_for_health(scratch: &Scratch, names: &[&str]) {
    let healthy = || {
        let list: BackendList = ask(scratch, &["backend", "list"])?;
        let healthy = list.backends.iter().filter(|backend| backend.health == Health::Healthy);
        healthy.map(|backend| backend.name.as_str()).eq(names.iter().copied()).then_some(())
    };
    let found = within(PATIENCE, healthy);
    found.unwrap_or_else(|| panic!("{:#?}", ask::<BackendList>(scratch, &["backend", "list"])));
}

fn serves_both(device: &str) {
    let scratch = Scratch::new(&config(device));
    let lab = next_number();
    let [hub, appliance] = ["hub", "appliance"].map(|role| Namespace::new(lab, role));
    for namespace in [&hub, &appliance] {
        namespace.set("ipv6/conf/default/disable_ipv6", "1");
    }
    cable(&hub, "trunk", &appliance, "eth0");
    hub.ip("link set trunk up\n");
    let mut sides = NETWORKS.map(|(name, _)| Side::new(lab, name, &hub, &scratch));
    let mut command = hub.command(PYTHON);
    command.arg(HUB).arg("trunk");
    command.args(NETWORKS.map(|(name, vlan)| format!("{vlan}={name}-c,{name}-b")));
    let _hub = Process::start(scratch.path(), "hub", command);
    let mut command = appliance.command(GUIDEWAY);
    command.args(["run", "--config"]).arg(scratch.config());
    let mut running = scratch.start(command);
    wait_for_health(&scratch, &["blue-1", "red-1"]);

    let fetch_all = |round: usize| {
        for side in &sides {
            assert_eq!(side.fetch(&scratch).as_deref(), Some(side.name), "round {round}");
        }
    };
    fetch_all(0);
    // A third network comes, whose VLAN nobody is in, and goes again, while the two go on.
    let two = fs::read_to_string(scratch.config()).expect("it was written");
    for (round, text) in [two.clone() + &network("green", 300), two].iter().enumerate() {
        fs::write(scratch.config(), text).expect("the directory can be written");
        let reloaded = scratch.ask(&["reload"]);
        assert!(reloaded.status.success(), "{reloaded:?}");
        (0..5).for_each(|_| fetch_all(1 + round));
        let vips: VipList = ask(&scratch, &["vip", "list"]).expect("the appliance answers");
        assert_eq!(vips.vips.len(), 3 - round);
        assert!(vips.vips.iter().all(|vip| vip.conflicts == 0), "{vips:#?}");
    }
    let stats: Stats = ask(&scratch, &["stats"]).expect("the appliance answers");
    let offered = |name: &str| {
        stats.rules.iter().find(|rule| rule.name == name).map(|rule| rule.offered.packets).unwrap_or_default()
    };
    assert!(offered("blue") > 40 && offered("red") > 40, "{:?}", stats.rules);
    assert_eq!(stats.total.dropped.get("no_network"), Some(&0));
    // Whoever answers the other network's probes from the same address is not asked.
    sides[0].server.kill();
    wait_for_health(&scratch, &["red-1"]);
    assert_eq!(sides[1].fetch(&scratch).as_deref(), Some("red"));
    assert!(scratch.ask(&["stop"]).status.success());
    assert!(running.finish(Duration::from_secs(30)).status.success());
}

#[test]
fn one_vip_serves_two_vlans_by_net_af_packet_each_by_its_own_backend() {
    serves_both("net_af_packet0,iface=eth0");
}

#[test]
fn one_vip_serves_two_vlans_by_net_pcap_each_by_its_own_backend() {
    serves_both("net_pcap0,iface=eth0");
}
