//! Devices and programs that the blocks of a document need, and that this machine may lack.

use std::fs;
use std::process::Stdio;

use super::namespace::Namespace;
use super::networkd;

/// Something that commands need and a machine may lack.
struct Need {
    /// Words of commands that need it.
    words: &'static [&'static str],
    what: &'static str,
    /// Command that succeeds where it is there, in a namespace that nothing else uses.
    probe: &'static str,
}

const NEEDS: [Need; 7] = [
    Need {
        words: &["type dummy", "Kind=dummy"],
        what: "`dummy` devices (module dummy)",
        probe: "ip link add probe type dummy",
    },
    Need {
        words: &["type ipip", "Kind=ipip"],
        what: "`ipip` devices (module ipip)",
        probe: "ip link add probe type ipip local 192.0.2.1 remote any",
    },
    Need {
        words: &["type sit", "Kind=sit"],
        what: "`sit` devices (module sit)",
        probe: "ip link add probe type sit local 192.0.2.1 remote any",
    },
    Need {
        words: &["type ip6tnl", "Kind=ip6tnl"],
        what: "`ip6tnl` devices (module ip6_tunnel)",
        probe: "ip link add probe type ip6tnl mode any local 2001:db8::1 remote any",
    },
    Need {
        words: &["type gre ", "Kind=gre\n"],
        what: "`gre` devices (module ip_gre)",
        probe: "ip link add probe type gre local 192.0.2.1 remote any",
    },
    Need {
        words: &["type ip6gre", "Kind=ip6gre"],
        what: "`ip6gre` devices (module ip6_gre)",
        probe: "ip link add probe type ip6gre local 2001:db8::1 remote any",
    },
    Need { words: &["ip fou "], what: "GUE (module fou)", probe: "modprobe fou && ip fou add port 6080 gue" },
];

/// Names what these commands or files need and this machine lacks; the namespace is one that nothing else uses.
pub(crate) fn lacks(text: &str, namespace: &Namespace) -> Vec<String> {
    let needed = NEEDS.iter().filter(|need| need.words.iter().any(|word| text.contains(word)));
    let mut lacking: Vec<String> = needed
        .filter(|need| {
            let mut probe = namespace.command("sh");
            probe.args(["-c", need.probe]).stdout(Stdio::null()).stderr(Stdio::null());
            let there = probe.status().is_ok_and(|status| status.success());
            if there {
                // A module may bring a device of its own besides, which stays.
                let mut remove = namespace.command("ip");
                remove.args(["link", "delete", "probe"]).stdout(Stdio::null()).stderr(Stdio::null());
                let _ = remove.status();
            }
            !there
        })
        .map(|need| format!("this kernel has no {}", need.what))
        .collect();
    if text.contains("[Network]") && fs::metadata(networkd::PROGRAM).is_err() {
        lacking.push(format!("there is no {}", networkd::PROGRAM));
    }
    lacking
}
