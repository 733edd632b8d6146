//! Table of what others answer, or do not: the kernel, BIRD, the admin socket; and the one finding that tells it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use guideway_model::config::{Hook, Sources};
use tokio::net::UnixListener;

use super::bad;
use crate::doctor::facts::{AdminSocket, Facts};
use crate::doctor::finding::Level;
use crate::doctor::tree::{Tree, on_interface};

/// A claim, the change of what is asked of others, and of the finding: check, level, a part of what is found, and the remedy.
type LiveRow = (&'static str, fn(&mut Facts), &'static str, Level, &'static str, &'static str);

const ANSWERS: &[LiveRow] = &[
    (
        "the kernel has an address of the appliance",
        |facts| {
            facts.addresses.insert(IpAddr::from([192, 0, 2, 1]), "eth0".to_owned());
        },
        "addresses",
        Level::Warning,
        "192.0.2.1, an address of port `wan`",
        "ip address del 192.0.2.1 dev eth0",
    ),
    (
        "BIRD is not there",
        |facts| {
            let hook = Hook::Bird { socket: PathBuf::from("/run/bird/bird.ctl"), protocol: "vip".to_owned() };
            facts.hooks.push((hook, Err("there is no such socket: is it running?".to_owned())));
        },
        "bird",
        Level::Fault,
        "no such socket",
        "systemctl enable --now bird",
    ),
    (
        "BIRD has no such protocol",
        |facts| {
            let hook = Hook::Bird { socket: PathBuf::from("/run/bird/bird.ctl"), protocol: "vip".to_owned() };
            facts.hooks.push((hook, Err("it is answered with `8003 No protocols match`".to_owned())));
        },
        "bird",
        Level::Fault,
        "8003",
        "birdc -s /run/bird/bird.ctl show protocols vip",
    ),
    (
        "a program of an announcement cannot be run",
        |facts| facts.hooks.push((Hook::Command(vec!["/opt/tell".to_owned()]), Err("not there".to_owned()))),
        "bird",
        Level::Fault,
        "not there",
        "chmod +x /opt/tell",
    ),
    (
        "a file is in the admin socket's place",
        |facts| facts.admin_socket = AdminSocket::NotASocket,
        "listeners",
        Level::Fault,
        "is no socket",
        "rm /run/guideway/admin.sock",
    ),
    (
        "a socket's path is a word of a shell's",
        |facts| {
            facts.socket = PathBuf::from("/run/a b;reboot");
            facts.admin_socket = AdminSocket::NotASocket;
        },
        "listeners",
        Level::Fault,
        "is no socket",
        "rm '/run/a b;reboot'",
    ),
    (
        "the socket's folder cannot be written to",
        |facts| facts.socket_folder_fault = Some("this process may not write to /run".to_owned()),
        "listeners",
        Level::Warning,
        "it cannot be made: this process may not write to /run",
        "namei -l /run/guideway/admin.sock",
    ),
    (
        "an appliance hangs, and has the metrics' address",
        |facts| {
            facts.admin_socket = AdminSocket::Silent("the appliance has not answered".to_owned());
            facts.listening.push(facts.config.as_ref().expect("there is one").metrics.listen);
        },
        "listeners",
        Level::Fault,
        "the appliance has not answered",
        "journalctl -u guideway -n 50 --no-pager",
    ),
    (
        "the program is built without DPDK",
        |facts| facts.has_live_ports = false,
        "program",
        Level::Fault,
        "it has no live ports",
        "cargo build --release -p guideway --features dpdk",
    ),
    (
        "a program of an announcement has a blank in its path",
        |facts| {
            facts.hooks.push((Hook::Command(vec!["/opt/my tell".to_owned()]), Err("not there".to_owned())));
        },
        "bird",
        Level::Fault,
        "not there",
        "chmod +x '/opt/my tell'",
    ),
];

#[test]
fn answers_of_others_are_findings_too() {
    for (claim, change, check, level, found, remedy) in ANSWERS {
        let mut facts = Tree::healthy().facts();
        change(&mut facts);
        let findings = bad(&facts);
        let [finding] = &findings[..] else { panic!("{claim}: {findings:#?}") };
        assert_eq!((&*finding.check, finding.level), (*check, *level), "{claim}");
        assert!(finding.found.contains(found), "{claim}: {}", finding.found);
        assert_eq!(finding.remedy.as_deref().unwrap_or_default(), *remedy, "{claim}");
    }
}

#[test]
fn cores_that_the_machine_does_not_have_are_not_switched_on() {
    for (present, configured, found, remedy) in [
        ("0-4,6-7", "", "core 5 does not exist; the machine has 0-4,6-7", "[engine] worker_cores = [0, 1]"),
        (
            "0-1",
            "",
            "cores 4-6 do not exist; the machine has 0-1",
            "[engine] control_core = 0, worker_cores = [1]",
        ),
        ("0-5", "", "core 6 does not exist; the machine has 0-5", "[engine] control_core = 0"),
        (
            "0",
            "",
            "cores 4-6 do not exist; the machine has 0",
            "[engine] control_core = 0, worker_cores = [0]",
        ),
        ("0-7", "0-4,6-7", "not online: 5; online: 0-4,6-7", "chcpu -e 5"),
    ] {
        let tree = Tree::healthy();
        tree.write("sys/devices/system/cpu/present", present);
        tree.write("sys/devices/system/cpu/online", if configured.is_empty() { present } else { configured });
        let findings = bad(&tree.facts());
        let of_cores: Vec<_> = findings.iter().filter(|finding| finding.check == "cores").collect();
        let [finding] = &of_cores[..] else { panic!("{present}: {findings:#?}") };
        assert_eq!((finding.level, &*finding.found), (Level::Fault, found));
        assert_eq!(finding.remedy.as_deref(), Some(remedy), "{present}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_appliance_that_does_not_answer_is_told_on_the_socket_that_was_asked() {
    let directory = tempfile::tempdir().expect("a directory of its own");
    let socket = directory.path().join("hangs.sock");
    let _listener = UnixListener::bind(&socket).expect("a socket can be made");
    let text = Sources::of_text("guideway.toml", Tree::healthy().config);
    let facts = Facts::look("guideway.toml", Ok(&text), Some(&socket)).await;
    assert!(facts.is_silent() && facts.is_running() && facts.status.is_none(), "{:?}", facts.admin_socket);
    let findings = bad(&facts);
    let found: Vec<_> = findings.iter().filter(|finding| finding.check == "listeners").collect();
    let [finding] = &found[..] else { panic!("{findings:#?}") };
    assert_eq!(finding.subject, format!("admin socket {}", socket.display()));
    assert!(finding.found.contains("has not answered for 45 seconds"), "{finding:#?}");
    let busy = ["memory", "capabilities"];
    assert!(!findings.iter().any(|finding| busy.contains(&&*finding.check)), "{findings:#?}");
}

#[tokio::test]
async fn a_socket_is_looked_for_where_the_command_line_says() {
    let directory = tempfile::tempdir().expect("a directory of its own");
    let text = Sources::of_text("guideway.toml", Tree::healthy().config);
    let folder = directory.path().join("new/folder/a.sock");
    let facts = Facts::look("guideway.toml", Ok(&text), Some(&folder)).await;
    assert_eq!((facts.admin_socket, facts.socket_folder_fault), (AdminSocket::Free, None));
    std::fs::write(directory.path().join("file"), "").expect("it can be written");
    let in_file = directory.path().join("file/a.sock");
    let facts = Facts::look("guideway.toml", Ok(&text), Some(&in_file)).await;
    let fault = facts.socket_folder_fault.expect("a file is no folder");
    assert!(fault.ends_with("file is no folder"), "{fault}");
    let facts = Facts::look("guideway.toml", Ok(&text), Some(Path::new("nowhere.sock"))).await;
    assert_eq!(facts.socket_folder_fault, None);
}

#[test]
fn a_remedy_quotes_an_interface_and_tells_of_all_memory() {
    let mut tree = Tree::healthy();
    on_interface(&mut tree);
    tree.configure("iface=eth0", "iface=eth0;x");
    tree.write("sys/class/net/eth0;x/mtu", "1400\n");
    tree.write("sys/class/net/eth0;x/flags", "0x1103\n");
    tree.write("sys/class/net/eth0;x/carrier", "1\n");
    let findings = bad(&tree.facts());
    assert!(
        findings.iter().any(|finding| finding.remedy.as_deref() == Some("ip link set 'eth0;x' mtu 1500")),
        "{findings:#?}"
    );
    let tree = Tree::healthy();
    tree.write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "3\n");
    let findings = bad(&tree.facts());
    let [finding] = &findings[..] else { panic!("{findings:#?}") };
    let expected = finding.expected.as_deref().unwrap_or_default();
    let numbers: Vec<u64> = expected.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(numbers[0], numbers[1] + numbers[4], "{expected}");
}

#[test]
fn without_a_configuration_nothing_is_said_of_capabilities() {
    let facts = Facts { config: None, ..Tree::healthy().facts() };
    assert!(!super::diagnose(&facts).findings.iter().any(|finding| finding.check == "capabilities"));
}
