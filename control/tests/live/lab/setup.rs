//! The configuration of an appliance of a lab, as a value and as TOML.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use super::address::{self, ECHO, Family, Vip, WEB, with_length};
use super::backend::Backend;
use super::web_server::{ALL_IS_WELL, HEALTH};

/// Number of probes that a backend gets in a second: one for each rule of both services.
pub(crate) const PROBES: usize = Family::BOTH.len() * Vip::BOTH.len() * 2;

/// DPDK driver of the appliance's device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    AfPacket,
    AfXdp,
    Pcap,
    /// `net_pcap` on two interfaces, of [`Lab::connect_pair`](super::Lab::connect_pair).
    PcapPair,
}

/// Way of packets to the backends, as a group's `delivery` states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryMode {
    /// By MAC address, on the link.
    L2,
    /// By a tunnel of this kind, over this family.
    Tunnel(&'static str, Family),
}

/// Configuration of two services, `v4` and `v6`: both have the same backends, and each is behind both VIPs of its
/// family.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) device: Device,
    pub(crate) delivery: DeliveryMode,
    /// Numbers of the primary backends.
    pub(crate) backends: Vec<usize>,
    /// Numbers of the failover backends.
    pub(crate) failover: Vec<usize>,
    /// Keys of the failover policy, which counts only if there are failover backends.
    pub(crate) failover_policy: String,
    /// True if backends are chosen by their weights.
    pub(crate) weighted: bool,
    /// True if the services track sessions by the client's address instead of connections.
    pub(crate) sessions: bool,
    /// True if a file keeps what operators set by hand.
    pub(crate) keeps_state: bool,
    /// Keys of both health checks, without names and times.
    pub(crate) health_check: String,
    /// Source address of probes that the kernel sends; the kernel chooses if none is given.
    pub(crate) source_ip_address: Option<fn(Family) -> IpAddr>,
    pub(crate) draining_timeout_sec: u32,
    /// Own addresses of the appliance, by the appliance's number.
    pub(crate) own_address: fn(usize, Family) -> IpAddr,
    /// Key `neighbor_replies` of the VIPs on the link; nobody asks for the routed ones.
    pub(crate) neighbor_replies: &'static str,
    pub(crate) garp_interval_sec: u32,
    /// Further tables, as TOML.
    pub(crate) further: String,
}

impl Setup {
    /// Setup of this many backends, all primary, reached by their MAC addresses, under a TCP check.
    pub(crate) fn of(backends: usize) -> Self {
        Self {
            device: Device::AfPacket,
            delivery: DeliveryMode::L2,
            backends: (0..backends).collect(),
            failover: Vec::new(),
            failover_policy: String::new(),
            weighted: false,
            sessions: false,
            keeps_state: false,
            health_check: format!("type = \"TCP\"\nport = {WEB}\nhealthy_threshold = 1"),
            source_ip_address: None,
            draining_timeout_sec: 300,
            own_address: address::appliance,
            neighbor_replies: "ALWAYS",
            garp_interval_sec: 60,
            further: String::new(),
        }
    }

    /// Setup like [`Setup::of`], but only the routed VIPs are reachable.
    pub(crate) fn routed(backends: usize) -> Self {
        Self { neighbor_replies: "NEVER", ..Self::of(backends) }
    }

    /// Setup like [`Setup::of`], but under a health check of these keys.
    pub(crate) fn checked_by(backends: usize, health_check: String) -> Self {
        Self { health_check, ..Self::of(backends) }
    }

    pub(crate) fn toml(&self, appliance: usize, socket: &Path) -> String {
        let mut toml = self.machine(appliance, socket);
        for family in Family::BOTH {
            toml += &self.check(family);
            toml += &self.service(family);
            for vip in Vip::BOTH {
                toml += &self.rules(vip, family);
            }
        }
        toml + &self.further
    }

    fn machine(&self, appliance: usize, socket: &Path) -> String {
        let device = match self.device {
            Device::AfPacket => "net_af_packet0,iface=eth0",
            Device::AfXdp => "net_af_xdp0,iface=eth0",
            Device::Pcap => "net_pcap0,iface=eth0,phy_mac=1",
            Device::PcapPair => "net_pcap0,rx_iface=eth0,tx_iface=eth1",
        };
        let link = Family::BOTH.map(|family| with_length(address::appliance(appliance, family)));
        let [v4, v6] = Family::BOTH.map(|family| (self.own_address)(appliance, family));
        let garp = self.garp_interval_sec;
        let state = socket.with_extension("state.toml");
        let state = if self.keeps_state { format!("state = \"{}\"", state.display()) } else { String::new() };
        let socket = socket.display();
        format!(
            "[engine]
            control_core = 0
            worker_cores = [1]
            no_huge = true
            memory_mib = 256
            mbufs = 16383
            [[port]]
            name = \"lan\"
            device = \"{device}\"
            ip_addresses = {link:?}
            [admin]
            socket = \"{socket}\"
            {state}
            [network]
            ipv4_address = \"{v4}\"
            ipv6_address = \"{v6}\"
            garp_interval_sec = {garp}
            [fleet]
            seed = \"000102030405060708090a0b0c0d0e0f\"
            [conntrack]
            max_entries = 1_048_576\n"
        )
    }

    fn check(&self, family: Family) -> String {
        let (word, keys) = (family.word(), &self.health_check);
        let source =
            self.source_ip_address.map(|source| format!("source_ip_address = \"{}\"", source(family)));
        format!(
            "[[health_check]]
            name = \"{word}\"
            check_interval_sec = 1
            timeout_sec = 1
            {keys}
            {}\n",
            source.unwrap_or_default()
        )
    }

    fn service(&self, family: Family) -> String {
        let (word, draining) = (family.word(), self.draining_timeout_sec);
        let mut toml = self.group(word, family, &self.backends);
        let mut groups = format!("{{ group = \"{word}\" }}");
        let mut policy = String::new();
        if !self.failover.is_empty() {
            let name = format!("{word}-failover");
            toml += &self.group(&name, family, &self.failover);
            let _ = write!(groups, ", {{ group = \"{name}\", failover = true }}");
            policy = format!("[backend_service.failover_policy]\n{}\n", self.failover_policy);
        }
        let (affinity, tracking) = if self.sessions {
            ("CLIENT_IP", "[backend_service.connection_tracking_policy]\ntracking_mode = \"PER_SESSION\"\n")
        } else {
            ("CLIENT_IP_PORT_PROTO", "")
        };
        let locality = if self.weighted { "WEIGHTED_MAGLEV" } else { "MAGLEV" };
        toml + &format!(
            "[[backend_service]]
            name = \"{word}\"
            protocol = \"UNSPECIFIED\"
            session_affinity = \"{affinity}\"
            locality_lb_policy = \"{locality}\"
            health_checks = [\"{word}\"]
            backends = [{groups}]
            [backend_service.connection_draining]
            draining_timeout_sec = {draining}
            {tracking}{policy}"
        )
    }

    fn group(&self, name: &str, family: Family, backends: &[usize]) -> String {
        let (delivery, of) = match self.delivery {
            DeliveryMode::L2 => ("l2", family),
            DeliveryMode::Tunnel(kind, outer) => (kind, outer),
        };
        let endpoints = backends.iter().fold(String::new(), |mut endpoints, number| {
            let (name, address) = (Backend::name(*number), address::backend(*number, of));
            let _ = write!(endpoints, "{{ name = \"{name}\", ip_address = \"{address}\" }}, ");
            endpoints
        });
        format!(
            "[[backend_group]]
            name = \"{name}\"
            delivery = \"{delivery}\"
            endpoints = [{endpoints}]\n"
        )
    }

    fn rules(&self, vip: Vip, family: Family) -> String {
        let (word, address) = (family.word(), vip.address(family));
        let (kind_of_vip, replies) = match vip {
            Vip::OnLink => ("link", self.neighbor_replies),
            Vip::Routed => ("routed", "NEVER"),
        };
        let rule = |kind: &str, protocol: &str, port: u16| {
            format!(
                "[[forwarding_rule]]
                name = \"{kind}-{kind_of_vip}-{word}\"
                ip_address = \"{address}\"
                ip_protocol = \"{protocol}\"
                ports = [{port}]
                neighbor_replies = \"{replies}\"
                backend_service = \"{word}\"\n"
            )
        };
        rule("web", "TCP", WEB) + &rule("echo", "UDP", ECHO)
    }
}

/// Keys of a health check that gets the web server's page for probes.
pub(crate) fn http_check() -> String {
    format!("type = \"HTTP\"\nrequest_path = \"{HEALTH}\"\nresponse = \"{ALL_IS_WELL}\"")
}
