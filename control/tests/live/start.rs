//! An appliance that cannot start says why in one line, with the remedy, and leaves nothing behind.

use std::fs;
use std::path::Path;
use std::process::Command;

use guideway::run::machine::memory::Memory;

use crate::lab::scratch::Scratch;

/// A configuration that an appliance can start with.
const RIGHT: &str = r#"
[engine]
worker_cores = [0]
no_huge = true
memory_mib = 64
[conntrack]
max_entries = 1024
[[port]]
name = "lan"
device = "net_null0"
[admin]
socket = "DIRECTORY/admin.sock"
[metrics]
listen = "127.0.0.1:1"
"#;

/// Starts an appliance with `from` replaced by `to` in the configuration; returns its standard error and exit status.
fn start(from: &str, to: &str) -> (Vec<String>, Option<i32>) {
    assert!(RIGHT.contains(from), "{from}");
    let scratch = Scratch::new(&RIGHT.replace(from, to));
    let output = scratch.run().output().expect("the binary runs");
    let left: Vec<_> =
        fs::read_dir(scratch.path()).expect("the directory is still there").flatten().collect();
    assert_eq!(left.len(), 1, "only the configuration is left: {left:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    (said.lines().map(str::to_owned).collect(), output.status.code())
}

#[test]
fn an_appliance_that_cannot_start_says_why_in_one_line_with_the_remedy() {
    let huge_pages = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
    let mut cases = vec![
        (
            "[[port]]\nname = \"lan\"\ndevice = \"net_null0\"",
            "",
            "error: there is no port to forward by: add a `[[port]]` with its `device`",
        ),
        ("net_null0", "0000:fe:1f.7", "error: there is no PCI device 0000:fe:1f.7: `dpdk-devbind.py"),
        (
            "net_null0",
            "net_af_packet0,iface=gwnone0",
            "error: `net_af_packet0,iface=gwnone0` cannot be used (",
        ),
        ("net_null0", "net_nothing0", "error: `net_nothing0` cannot be used ("),
        (
            "device = \"net_null0\"",
            "device = \"net_tap0,iface=gwtap1\"\nmtu = 2000",
            "error: `net_tap0,iface=gwtap1` takes packets of at most 1504 bytes, and the port's `mtu` is 2000: lower \
             `mtu`, or use a device that takes them",
        ),
        ("[0]", "[1023]", "error: core 1023 is not online: choose from "),
        ("memory_mib = 64", "memory_mib = 64\nmbufs = 1000000", "error: no memory for 1000000 mbufs, about "),
        ("127.0.0.1:1", "192.0.2.1:9477", "error: metrics: cannot listen on 192.0.2.1:9477 for metrics: "),
    ];
    if huge_pages.is_ok_and(|free| free.trim() == "0") {
        cases.push((
            "no_huge = true\nmemory_mib = 64",
            "no_huge = false",
            "error: no huge page is free: reserve some (`sysctl vm.nr_hugepages=512`), or set `no_huge = true`",
        ));
    }
    // Where it would fit, nobody wants it to be tried.
    if Memory::read(Path::new("/")).available.is_some_and(|available| available < 24 << 30) {
        cases.push((
            "max_entries = 1024",
            "max_entries = 1073741824",
            "error: a conntrack table of 1073741824 entries takes 24576 MiB, and this process can have ",
        ));
    }
    for (from, to, expected) in cases {
        let (said, status) = start(from, to);
        let errors: Vec<_> = said.iter().filter(|line| !line.contains(" INFO ")).collect();
        assert_eq!(errors.len(), 1, "{to}: {said:#?}");
        assert!(errors[0].starts_with(expected), "{to}: {}", errors[0]);
        assert_eq!(status, Some(1), "{to}");
    }
}

#[test]
fn a_process_without_a_capability_is_told_which_and_what_gives_it() {
    let scratch = Scratch::new(&RIGHT.replace("net_null0", "net_af_packet0,iface=lo"));
    let run = scratch.run();
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-net_raw,-net_admin").arg(run.get_program()).args(run.get_args());
    let output = command.output().expect("util-linux is there");
    let said = String::from_utf8_lossy(&output.stderr);
    let expected = "error: port `lan` (`net_af_packet0,iface=lo`) needs CAP_NET_ADMIN and CAP_NET_RAW, which this process \
                    does not have: run it as root, or `setcap cap_net_admin,cap_net_raw+ep /";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.ends_with("`AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW`\n"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn what_keeps_an_appliance_from_starting_is_json_where_the_log_is() {
    let wrong = Scratch::new("half =");
    let gone = Scratch::new("");
    fs::remove_file(gone.config()).expect("it was written");
    for (scratch, status, told) in [(wrong, 3, "guideway.toml: 1 error"), (gone, 2, "cannot read ")] {
        let output = scratch.run().args(["--log-format", "json"]).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<serde_json::Value> = said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said}")))
            .collect();
        let is_told = |line: &serde_json::Value| {
            line["fields"]["message"].as_str().is_some_and(|text| text.contains(told))
        };
        assert!(lines.iter().any(is_told), "{said}");
        assert_eq!(output.status.code(), Some(status), "{said}");
    }
}
