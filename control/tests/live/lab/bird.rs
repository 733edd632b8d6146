//! BIRD beside each appliance and on the client, which is their router; each session has a cable of its own.
//!
//! ```text
//!   client 10.255.n.2 ─── bgp<n> ── eBGP ── bgp0 ─── 10.255.n.1 appliance's kernel
//! ```

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::Lab;
use super::address::{self, Family, Vip};
use super::patience::{PATIENCE, within};
use super::process::{Ended, Process};

/// Name of BIRD's protocol that holds the route to the VIP.
pub(crate) const PROTOCOL: &str = "vip_web";
/// Name of BIRD's protocol that holds the route to [`RANGE`].
const RANGE_PROTOCOL: &str = "vip_range";
/// VIP that is a prefix, on no link.
pub(crate) const RANGE: &str = "198.51.100.0/28";

/// BIRD on the client, with a session to the BIRD beside each appliance.
#[derive(Debug)]
pub(crate) struct Birds {
    beside: Vec<Process>,
    _router: Process,
}

impl Birds {
    pub(crate) fn start(lab: &Lab, appliances: usize) -> Self {
        // From now on, the client has a route to the VIP only by BGP.
        lab.client().ip(&format!("route delete {}\n", Vip::Routed.address(Family::V4)));
        let mut router = String::from(
            "router id 192.0.2.100;
            log stderr all;
            protocol device { scan time 1; }
            protocol direct { ipv4; }
            protocol kernel { ipv4 { export where source = RTS_BGP; }; merge paths on; }\n",
        );
        let mut beside = Vec::new();
        for number in 0..appliances {
            let name = lab.appliance(number).name();
            lab.client().ip(&format!(
                "link add bgp{number} type veth peer name bgp0 netns {name}
                address add 10.255.{number}.2/30 dev bgp{number}\nlink set bgp{number} up\n"
            ));
            lab.appliance(number)
                .ip(&format!("address add 10.255.{number}.1/30 dev bgp0\nlink set bgp0 up\n"));
            let _ = write!(
                router,
                "protocol bgp appliance{number} {{
                    local 10.255.{number}.2 as 64500;
                    neighbor 10.255.{number}.1 as 64512;
                    {TIMES}
                    ipv4 {{ import all; export none; gateway recursive; }};
                }}\n"
            );
            beside.push(start_beside(lab, number));
        }
        let socket = lab.directory().join("bird-router.ctl");
        let router = start(lab, "bird-router", &router, &socket, lab.client().command("bird"));
        Self { beside, _router: router }
    }

    /// Sends a signal to the BIRD beside an appliance.
    pub(crate) fn signal(&self, number: usize, signal: Signal) {
        self.beside[number].signal(signal);
    }

    /// Kills the BIRD beside an appliance; its socket is left, and answers nobody.
    pub(crate) fn kill(&mut self, number: usize) {
        self.beside[number].kill();
    }

    /// Starts the BIRD beside an appliance, after killing it if it runs.
    pub(crate) fn start_again(&mut self, lab: &Lab, number: usize) {
        self.kill(number);
        self.beside[number] = start_beside(lab, number);
    }

    /// Configuration that has the BIRD beside an appliance announce the routed VIP of IPv4.
    pub(crate) fn announcement(lab: &Lab, number: usize) -> String {
        Self::announcement_by(lab, number, &["web-routed-v4", "echo-routed-v4"], PROTOCOL)
    }

    /// Configuration that has the BIRD beside an appliance announce [`RANGE`], the VIP of a rule.
    pub(crate) fn announcement_of_range(lab: &Lab, number: usize, rule: &str) -> String {
        Self::announcement_by(lab, number, &[rule], RANGE_PROTOCOL)
    }

    fn announcement_by(lab: &Lab, number: usize, rules: &[&str], protocol: &str) -> String {
        let socket = socket(lab, number);
        format!(
            "[[announcement]]
            name = \"bgp\"
            forwarding_rules = {rules:?}
            bird_socket = \"{}\"
            bird_protocol = \"{protocol}\"\n",
            socket.display()
        )
    }
}

/// Timers of each session: short, so that a test waits a few seconds at most.
const TIMES: &str = "hold time 9; connect delay time 1; connect retry time 2; error wait time 1, 2;";

fn beside_appliance(number: usize) -> String {
    let (vip, own) = (Vip::Routed.address(Family::V4), address::appliance(number, Family::V4));
    format!(
        "router id 10.255.{number}.1;
        log stderr all;
        protocol device {{ scan time 1; }}
        protocol static {PROTOCOL} {{ disabled; ipv4; route {vip}/32 blackhole; }}
        protocol static {RANGE_PROTOCOL} {{ disabled; ipv4; route {RANGE} blackhole; }}
        protocol bgp upstream {{
            local 10.255.{number}.1 as 64512;
            neighbor 10.255.{number}.2 as 64500;
            {TIMES}
            ipv4 {{ import none; export where source = RTS_STATIC; next hop address {own}; }};
        }}\n"
    )
}

fn start_beside(lab: &Lab, number: usize) -> Process {
    let command = lab.appliance(number).command("bird");
    start(lab, &format!("bird-{number}"), &beside_appliance(number), &socket(lab, number), command)
}

/// Path of the control socket of the BIRD beside an appliance.
pub(crate) fn socket(lab: &Lab, number: usize) -> PathBuf {
    lab.directory().join(format!("bird-{number}.ctl"))
}

fn start(lab: &Lab, name: &str, text: &str, socket: &Path, mut command: Command) -> Process {
    let (config, pid) = (socket.with_extension("conf"), socket.with_extension("pid"));
    fs::write(&config, text).expect("the lab's directory can be written");
    command.arg("-f").arg("-c").arg(config).arg("-s").arg(socket).arg("-P").arg(pid);
    Process::start(lab.directory(), name, command)
}

/// Waits until the router has these of the appliances as next hops to the routed VIP.
pub(crate) fn wait_for_hops(lab: &Lab, appliances: usize, expected: &[usize]) {
    let mut hops = Vec::new();
    let found = within(PATIENCE, || {
        hops = next_hops(lab, appliances);
        (hops == expected).then_some(())
    });
    found.unwrap_or_else(|| panic!("the router has the next hops {hops:?} and not {expected:?}"));
}

/// Numbers of the appliances that the client's kernel has as next hops to the routed VIP.
pub(crate) fn next_hops(lab: &Lab, appliances: usize) -> Vec<usize> {
    next_hops_to(lab, appliances, &Vip::Routed.address(Family::V4).to_string())
}

/// Numbers of the appliances that the client's kernel has as next hops to an IPv4 address or prefix.
pub(crate) fn next_hops_to(lab: &Lab, appliances: usize, vip: &str) -> Vec<usize> {
    let mut command = lab.client().command("ip");
    command.args(["-4", "route", "show", vip]);
    let Ended { status, stdout, stderr } = Process::run(lab.directory(), "ip-route", command, PATIENCE);
    assert!(status.success(), "ip route: {stderr}");
    let hops: Vec<_> = stdout.split_whitespace().collect();
    let is_hop = |number: &usize| {
        let address = address::appliance(*number, Family::V4).to_string();
        hops.windows(2).any(|words| words == ["via", &address])
    };
    (0..appliances).filter(is_hop).collect()
}
