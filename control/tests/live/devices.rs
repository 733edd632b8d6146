//! DPDK's virtual devices, one after the other, with fragments and with frames as long as the link takes: what comes to
//! the appliance is what was sent, and it does what a replay does. Where a device cannot, that is told.

use pcap_fixtures::packet::Packet;
use rustix::process::Signal;
use serde_json::Value;

use crate::lab::appliance::GUIDEWAY;
use crate::lab::namespace::Namespace;
use crate::lab::patience::{PATIENCE, within};
use crate::lab::process::Process;
use crate::lab::scratch::Scratch;
use crate::lab::twin::{compare, config, nonzero, replay, stats_after};
use crate::lab::wire::Wire;
use crate::lab::{cable, next_number};

/// Device of the appliance's namespace.
const NEAR: &str = "eth0";
/// Device at the other end of the cable.
const FAR: &str = "far0";

/// An appliance at one end of a cable, in a namespace; the other end is in another, or the kernel's end of a TAP device.
struct Bench {
    scratch: Scratch,
    appliance: Namespace,
    far: Namespace,
}

impl Bench {
    /// Makes the namespaces, and the cable of this MTU between them.
    fn new(device: &str, mtu: usize, link_mtu: usize) -> Self {
        Self::with(&config(&format!("device = \"{device}\"\nmtu = {mtu}")), link_mtu)
    }

    /// Makes them for an appliance of this configuration.
    fn with(config: &str, link_mtu: usize) -> Self {
        let scratch = Scratch::new(config);
        let number = next_number();
        let [appliance, far] = ["appliance", "far"].map(|role| Namespace::new(number, role));
        for namespace in [&appliance, &far] {
            namespace.set("ipv6/conf/default/disable_ipv6", "1");
        }
        cable(&far, FAR, &appliance, NEAR);
        far.ip(&format!("link set {FAR} mtu {link_mtu} up\n"));
        appliance.ip(&format!("link set {NEAR} mtu {link_mtu}\n"));
        Self { scratch, appliance, far }
    }

    /// Starts the appliance; returns it, and the far end of its cable.
    fn start(&self, is_tap: bool) -> (Process, Wire) {
        let mut command = self.appliance.command(GUIDEWAY);
        command.args(["run", "--config"]).arg(self.scratch.config());
        let running = self.scratch.start(command);
        let (namespace, device) = if is_tap { (&self.appliance, TAP) } else { (&self.far, FAR) };
        // The appliance answers once its ports are open.
        let answers = within(PATIENCE, || self.scratch.ask(&["status"]).status.success().then_some(()));
        answers.expect("the appliance starts");
        let wire = Wire::open(namespace, device).expect("the device is there");
        (running, wire)
    }
}

/// Name of net_tap's device in the kernel.
const TAP: &str = "gwtap0";

/// Packets of eight clients over a link of this MTU: in fragments, as long as the link takes, tagged, cut, and short.
pub(crate) fn frames(mtu: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for client in 1..=8_u16 {
        let (v4, v6) = (format!("198.18.0.{client}"), format!("2001:db8:f::{client}"));
        let to = |vip: &str| {
            let id = u32::from(client);
            Packet::between(if vip.contains(':') { &v6 } else { &v4 }, vip).identification(id)
        };
        let port = 20_000 + client;
        let part_len = (mtu - 48) / 8 * 8;
        for datagram in ["203.0.113.5", "2001:db8::6"].map(|vip| to(vip).udp(port, 5060)) {
            let whole = datagram.payload_len(2 * mtu + 100 * usize::from(client));
            frames.extend(whole.fragments(part_len).iter().map(Packet::build));
        }
        frames.extend(
            to("203.0.113.2").udp(port, 53).payload_len(1_000).fragments(504).iter().map(Packet::build),
        );
        // A later fragment whose first never comes.
        frames.push(
            to("203.0.113.5").identification(77).protocol(17).fragment(1480, false).payload_len(80).build(),
        );

        let long = |vip: &str, header_lens: usize| to(vip).payload_len(mtu - header_lens);
        frames.push(long("203.0.113.1", 40).tcp(port, 443, 0x10).dont_fragment().build());
        frames.push(long("203.0.113.5", 28).udp(port, 5060).build());
        frames.push(long("2001:db8::6", 48).udp(port, 5060).build());
        frames.push(long("203.0.113.1", 40).tcp(port, 443, 0x10).vlan(100).build());
        frames.push(long("203.0.113.2", 20 + 28).udp(port, 53).build());
        frames.push(long("2001:db8::4", 40 + 20 + 48).tcp(port, 8_000 + client, 0x10).build());

        frames.push(to("203.0.113.1").tcp(port, 80, 0x02).build());
        frames.push(to("2001:db8::3").esp(7).payload_len(64).build());
        frames.push(to("203.0.113.9").tcp(port, 80, 0x02).build());
        for mut cut in ["203.0.113.5", "2001:db8::6"].map(|vip| long(vip, 48).udp(port, 5060).build()) {
            cut.truncate(cut.len() - 1);
            frames.push(cut);
        }
    }
    frames
}

/// True for a fragment over IPv4 without a VLAN tag.
fn is_ipv4_fragment(frame: &[u8]) -> bool {
    frame[12..14] == [0x08, 0x00] && (frame[20] & 0x3f, frame[21]) != (0, 0)
}

/// Frame without a VLAN tag: the kernel keeps tags elsewhere.
fn untagged(frame: &[u8]) -> Vec<u8> {
    if frame[12..14] == [0x81, 0x00] { [&frame[..12], &frame[16..]].concat() } else { frame.to_vec() }
}

/// Holds a device against a replay: the same counts for the same frames, and the same frames on the wire.
fn agrees(device: &str, mtu: usize, frames: &[Vec<u8>]) {
    let bench = Bench::new(device, mtu, mtu);
    agrees_on(&bench, device, frames);
}

/// Holds an appliance against a replay; returns what `status` says of it.
fn agrees_on(bench: &Bench, device: &str, frames: &[Vec<u8>]) -> String {
    let replayed = replay(&bench.scratch, frames);
    assert!(replayed.summary["dropped"]["truncated"].as_u64() >= Some(16), "{}", replayed.summary);
    let (mut running, wire) = bench.start(device.starts_with("net_tap"));
    frames.iter().for_each(|frame| wire.send(frame));
    let stats = stats_after(&bench.scratch, frames.len());
    let status = bench.scratch.ask(&["status"]).stdout;
    // A TAP device goes with the appliance, and what it holds with it.
    let mut live: Vec<Vec<u8>> = Vec::new();
    let _ = within(PATIENCE, || {
        live.extend(wire.receive().iter().map(|frame| untagged(frame)));
        (live.len() >= replayed.sent.len()).then_some(())
    });
    assert!(bench.scratch.ask(&["stop"]).status.success());
    assert!(running.finish(PATIENCE).status.success());

    compare(&stats, &replayed.summary);
    let mut expected: Vec<_> = replayed.sent.iter().map(|frame| untagged(frame)).collect();
    live.sort_unstable();
    expected.sort_unstable();
    assert!(live.len() > 60, "{} frames", live.len());
    assert_eq!(live.len(), expected.len());
    assert!(live == expected, "the same number of frames, and others");
    status
}

#[test]
fn two_workers_share_the_one_queue_of_net_pcap_and_do_what_a_replay_does() {
    let device = "net_pcap0,iface=eth0";
    let text = config(&format!("device = \"{device}\"\nmtu = 1500"));
    let bench = Bench::with(&text.replace("worker_cores = [0]", "worker_cores = [0, 1]"), 1500);
    let status = agrees_on(&bench, device, &frames(1500));
    let shared = ["from queue 0, shared with 1", "by queue 0", "from worker 0", "by worker 0"];
    assert!(shared.iter().all(|words| status.contains(words)), "{status}");
}

#[test]
fn net_tap_carries_fragments_and_full_frames_as_a_replay_does() {
    agrees(&format!("net_tap0,iface={TAP}"), 1500, &frames(1500));
}

#[test]
fn net_af_xdp_carries_fragments_and_full_frames_as_a_replay_does() {
    agrees("net_af_xdp0,iface=eth0", 1500, &frames(1500));
}

#[test]
fn net_pcap_carries_fragments_and_full_frames_as_a_replay_does() {
    agrees("net_pcap0,iface=eth0", 1500, &frames(1500));
}

#[test]
fn net_pcap_carries_jumbo_frames_as_a_replay_does() {
    agrees("net_pcap0,iface=eth0", 9000, &frames(9000));
}

#[test]
fn net_af_packet_carries_all_but_fragments_over_ipv4_as_a_replay_does() {
    let mut frames = frames(1500);
    frames.retain(|frame| !is_ipv4_fragment(frame));
    agrees("net_af_packet0,iface=eth0", 1500, &frames);
}

#[test]
fn net_af_packet_takes_what_its_ring_holds() {
    let bench = Bench::new("net_af_packet0,iface=eth0,framesz=4096,blocksz=8192", 1500, 5000);
    let (_running, wire) = bench.start(false);
    for len in [1983, 4030, 4031] {
        let packet = Packet::between("2001:db8:f::1", "2001:db8::6").udp(20_000, 5060);
        wire.send(&packet.payload_len(len - 14 - 48).build());
    }
    let stats = stats_after(&bench.scratch, 3);
    let expected = [("packet_too_big".to_owned(), 2), ("truncated".to_owned(), 1)];
    assert_eq!(nonzero(&stats["total"]["dropped"]), expected.into());
}

#[test]
fn net_af_packet_reassembles_and_cuts_which_is_told_and_counted() {
    let bench = Bench::new("net_af_packet0,iface=eth0", 1500, 4000);
    let (running, wire) = bench.start(false);
    let told =
        within(PATIENCE, || running.stderr().contains("reassembles IPv4 fragments before").then_some(()));
    told.unwrap_or_else(|| panic!("{}", running.stderr()));
    let datagram = Packet::between("198.18.0.1", "203.0.113.5").udp(20_000, 5060).payload_len(3_000);
    for fragment in datagram.fragments(1480) {
        wire.send(&fragment.build());
    }
    // Frames that are longer than the port's MTU, though not than the link's.
    wire.send(&datagram.build());
    wire.send(&Packet::between("2001:db8:f::1", "2001:db8::6").udp(20_000, 5060).payload_len(3_000).build());
    // The longest frame that the device's ring holds, and one byte more.
    for len in [1982, 1983] {
        let packet = Packet::between("2001:db8:f::1", "2001:db8::6").udp(20_000, 5060);
        wire.send(&packet.payload_len(len - 14 - 48).build());
    }
    let stats = stats_after(&bench.scratch, 5);
    let expected = [("packet_too_big".to_owned(), 1), ("truncated".to_owned(), 4)];
    assert_eq!(nonzero(&stats["total"]["dropped"]), expected.into());
}

#[test]
fn net_pcap_refuses_frames_that_are_too_long_for_it_and_counts_them() {
    let bench = Bench::new("net_pcap0,iface=eth0", 1500, 4000);
    let (_running, wire) = bench.start(false);
    wire.send(&Packet::between("198.18.0.1", "203.0.113.5").udp(20_000, 5060).payload_len(3_000).build());
    wire.send(&Packet::between("198.18.0.1", "203.0.113.5").udp(20_000, 5060).build());
    let stats = stats_after(&bench.scratch, 1);
    assert_eq!(stats["total"]["forwarded"], 1);
    assert_eq!(stats["total"]["link"]["refused"], 1);
}

#[test]
fn net_tap_tells_of_its_link() {
    let bench = Bench::new(&format!("net_tap0,iface={TAP}"), 1500, 1500);
    let (_running, _) = bench.start(true);
    let is_told = |text: &str| {
        let told = || bench.scratch.ask(&["events"]).stdout.contains(text).then_some(());
        within(PATIENCE, told).unwrap_or_else(|| panic!("no event says `{text}`"));
    };
    bench.appliance.ip(&format!("link set {TAP} down\n"));
    is_told("the link is down");
    bench.appliance.ip(&format!("link set {TAP} up\n"));
    is_told("the link is up");
    let wire = Wire::open(&bench.appliance, TAP).expect("the device is there");
    wire.send(&Packet::between("198.18.0.1", "203.0.113.5").udp(20_000, 5060).build());
    assert_eq!(stats_after(&bench.scratch, 1)["total"]["forwarded"], 1);
}

#[test]
fn frames_that_the_kernel_drops_below_a_device_are_missed_and_no_other_is_unaccounted_for() {
    /// More than any ring here holds.
    const FLOOD: u64 = 20_000;
    for device in ["net_af_packet0,iface=eth0,framecnt=64", "net_af_xdp0,iface=eth0"] {
        let bench = Bench::new(device, 1500, 1500);
        let (running, wire) = bench.start(false);
        let frame = Packet::between("198.18.0.1", "203.0.113.5").udp(20_000, 5060).build();
        running.signal(Signal::STOP);
        (0..FLOOD).for_each(|_| wire.send(&frame));
        running.signal(Signal::CONT);
        let counted = || {
            let stats = bench.scratch.ask(&["stats", "--output", "json"]).stdout;
            let stats: Value = serde_json::from_str(&stats).expect("it is JSON");
            let port = &stats["ports"][0];
            let [received, missed] =
                ["received", "missed"].map(|key| port[key].as_u64().expect("it is a number"));
            (received + missed >= FLOOD).then_some((received, missed))
        };
        let (received, missed) = within(PATIENCE, counted)
            .unwrap_or_else(|| panic!("{device}: {}", bench.scratch.ask(&["stats"]).stdout));
        assert_eq!(received + missed, FLOOD, "{device}: {received} received, {missed} missed");
        assert!(received > 0 && missed > FLOOD / 2, "{device}: {received} received, {missed} missed");
        let metrics = bench.scratch.ask(&["stats"]).stdout;
        assert!(metrics.contains(&missed.to_string()), "people see it, too: {metrics}");
    }
}
