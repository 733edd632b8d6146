//! An appliance with two arms, on two switches: no packet leaves by the port that clients' packets come by.

use std::fmt::Write;

use crate::lab::Lab;
use crate::lab::appliance::Appliance;
use crate::lab::backend::Backend;
use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::{Ended, Process};
use crate::lab::setup::Setup;

/// Switch of the clients' side, in the client's namespace; `wan` is its port to the appliance.
const SWITCH: &str = "br-wan";

/// Connects the appliance's device `wan0` to a switch of its own; returns the MAC address of the device.
fn connect(lab: &Lab) -> String {
    let (client, appliance) = (lab.client(), lab.appliance(0));
    let mut lines = format!("link add {SWITCH} type bridge\nlink set {SWITCH} up\n");
    let _ = writeln!(lines, "link add wan type veth peer name wan0 netns {}", appliance.name());
    let _ = writeln!(lines, "link set wan master {SWITCH} up");
    client.ip(&lines);
    client.without_offloads("wan");
    appliance.without_offloads("wan0");
    appliance.ip("link set wan0 up\n");
    appliance.mac("wan0")
}

/// True if the switch knows where this MAC address is.
fn is_known(lab: &Lab, mac: &str) -> bool {
    let mut command = lab.client().command("bridge");
    command.args(["fdb", "show", "br", SWITCH]);
    let Ended { status, stdout, stderr } = Process::run(lab.directory(), "bridge-fdb", command, PATIENCE);
    assert!(status.success(), "bridge fdb: {stderr}");
    stdout.lines().any(|line| line.starts_with(mac) && line.contains("dev wan "))
}

#[test]
fn switches_hear_again_and_again_of_a_port_that_only_receives() {
    let lab = Lab::new(1, 1);
    let _backends = Backend::all(&lab, 1);
    let mac = connect(&lab);
    let further = "[[port]]\nname = \"wan\"\ndevice = \"net_af_packet1,iface=wan0\"\n\
                   ip_addresses = [\"198.18.0.1/24\"]\n";
    let setup = Setup { garp_interval_sec: 1, further: further.to_owned(), ..Setup::of(1) };
    let _appliance = Appliance::start(&lab, 0, &setup);
    // Three announcements are of the start.
    for round in 0..6 {
        let known = within(PATIENCE, || is_known(&lab, &mac).then_some(()));
        known.unwrap_or_else(|| panic!("the switch is not told of {mac} in round {round}"));
        lab.client().ip("link set wan type bridge_slave fdb_flush\n");
    }
}
