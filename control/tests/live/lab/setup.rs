//! What an appliance of a lab is configured to do, and its TOML.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use super::address::{self, ECHO, Family, Vip, WEB, with_length};
use super::backend::Backend;
use super::web_server::{ALL_IS_WELL, HEALTH};

/// How many probes a backend gets in a second: for each rule of both services.
pub(crate) const PROBES: usize = Family::BOTH.len() * Vip::BOTH.len() * 2;

/// How the appliance has its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    AfPacket,
    AfXdp,
}

/// How packets travel to the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    L2,
    /// A tunnel of this kind, over this family.
    Tunnel(&'static str, Family),
}

/// Two services, `v4` and `v6`, each before the same backends, and each behind both VIPs of its family.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) device: Device,
    pub(crate) delivery: Delivery,
    /// Which of the lab's backends there are: the primaries.
    pub(crate) backends: Vec<usize>,
    /// Those that stand in for them.
    pub(crate) failover: Vec<usize>,
    /// The failover policy's keys; it is there where `failover` is.
    pub(crate) failover_policy: String,
    /// Whether backends are chosen by their weights.
    pub(crate) weighted: bool,
    /// The health checks' keys but their names and their times.
    pub(crate) health_check: String,
    /// Where the kernel's probes come from, where it is told.
    pub(crate) source_ip_address: Option<fn(Family) -> IpAddr>,
    pub(crate) draining_timeout_sec: u32,
    /// The appliance's own addresses, by its number.
    pub(crate) own_address: fn(usize, Family) -> IpAddr,
    /// For the VIPs on the link; nobody asks for the routed ones.
    pub(crate) neighbor_replies: &'static str,
    /// Further tables.
    pub(crate) further: String,
}

impl Setup {
    /// All of so many backends, by their MAC addresses.
    pub(crate) fn of(backends: usize) -> Self {
        Self {
            device: Device::AfPacket,
            delivery: Delivery::L2,
            backends: (0..backends).collect(),
            failover: Vec::new(),
            failover_policy: String::new(),
            weighted: false,
            health_check: format!("type = \"TCP\"\nport = {WEB}\nhealthy_threshold = 1"),
            source_ip_address: None,
            draining_timeout_sec: 300,
            own_address: address::appliance,
            neighbor_replies: "ALWAYS",
            further: String::new(),
        }
    }

    /// The same, behind routed VIPs alone.
    pub(crate) fn routed(backends: usize) -> Self {
        Self { neighbor_replies: "NEVER", ..Self::of(backends) }
    }

    /// The same, under a health check of these keys.
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
        };
        let link = Family::BOTH.map(|family| with_length(address::appliance(appliance, family)));
        let [v4, v6] = Family::BOTH.map(|family| (self.own_address)(appliance, family));
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
            [network]
            ipv4_address = \"{v4}\"
            ipv6_address = \"{v6}\"
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
        let locality = if self.weighted { "WEIGHTED_MAGLEV" } else { "MAGLEV" };
        toml + &format!(
            "[[backend_service]]
            name = \"{word}\"
            protocol = \"UNSPECIFIED\"
            session_affinity = \"CLIENT_IP_PORT_PROTO\"
            locality_lb_policy = \"{locality}\"
            health_checks = [\"{word}\"]
            backends = [{groups}]
            [backend_service.connection_draining]
            draining_timeout_sec = {draining}
            {policy}"
        )
    }

    fn group(&self, name: &str, family: Family, backends: &[usize]) -> String {
        let (delivery, of) = match self.delivery {
            Delivery::L2 => ("l2", family),
            Delivery::Tunnel(kind, outer) => (kind, outer),
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
        let (place, replies) = match vip {
            Vip::OnLink => ("link", self.neighbor_replies),
            Vip::Routed => ("routed", "NEVER"),
        };
        let rule = |kind: &str, protocol: &str, port: u16| {
            format!(
                "[[forwarding_rule]]
                name = \"{kind}-{place}-{word}\"
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
