//! Diagnosis of one backend: it is probed by hand through each rule, and what answers and what does not tells where it fails.
//!
//! | in the path, to the VIP | to TCP port 1 of the VIP | by the kernel, to the backend itself | so |
//! | --- | --- | --- | --- |
//! | well | | | all is well |
//! | refused | | well | the server does not listen on the VIP |
//! | refused | | refused, or not to be had | nobody listens on the check's port |
//! | answered wrongly | | | the check or the server is wrong |
//! | nothing | reset | | the port is filtered |
//! | nothing | nothing | anything but silence | the VIP is missing, or the tunnel loses packets, or both are filtered |
//! | nothing | nothing | nothing | the backend is down, or filters all |
//!
//! What cannot be told apart from outside is said so: a missing VIP and a firewall that drops all packets to the VIP look alike,
//! and so do a tunnel's packets that are lost and those that nobody takes out.

use std::net::IpAddr;

use guideway_dataplane::delivery::DeliveryMode;
use guideway_model::config::{Config, HealthCheck, Probe};

use super::facts::Facts;
use super::finding::{Finding, quoted};
use super::report::run;
use crate::api::admin::client::{Client, ClientError};
use crate::api::view::{Backend, ProbeAnswer, RuleProbe};
use crate::health::by_hand::by_kernel;

/// Name of the check in results.
const CHECK: &str = "backend";

/// Everything that was learnt of a backend through one rule.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Name of the service and of the backend, and of the rule where there is one.
    pub subject: String,
    /// Address of the backend itself.
    pub address: IpAddr,
    /// Health check of the service; none where the configuration file does not have the service.
    pub check: Option<HealthCheck>,
    /// Delivery to the backend; none where the configuration file does not have it.
    pub delivery: Option<DeliveryMode>,
    /// Neighbour that frames to the backend go to, as far as the running appliance knows.
    pub next_hop: NextHop,
    /// Probe in the path of traffic, of the running appliance.
    pub probe: Option<RuleProbe>,
    /// Answer of the backend's own address to the kernel.
    pub kernel: Option<ProbeAnswer>,
    /// True if the backend's own address answers pings of the kernel; none where nobody asked.
    pub pings: Option<bool>,
}

/// Neighbour that frames to a backend go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextHop {
    /// Neighbour whose MAC address is known, or that no appliance runs to tell of.
    Fine,
    /// Neighbour that has not answered for its address.
    Silent(String),
    /// No route leads to the backend.
    None,
}

/// Error of a name that no backend has, or of an appliance that does not answer.
#[derive(Debug)]
pub enum NotLooked {
    /// No backend has the name; these have others.
    Unknown(Vec<String>),
    /// The running appliance has not answered.
    Appliance(ClientError),
}

/// Kind of an answer, as far as it tells one failure from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Well,
    Refused,
    Silent,
    /// Something on the way, or the kernel here, says that there is no way.
    Unreachable,
    /// Answer that is not as the check expects.
    Wrong,
    NotAsked,
}

impl Kind {
    fn of(answer: &ProbeAnswer) -> Self {
        let reason = answer.reason.as_deref().unwrap_or_default();
        match answer.well {
            Some(true) => Self::Well,
            None => Self::NotAsked,
            Some(false) if reason.starts_with("no answer within") => Self::Silent,
            Some(false)
                if reason.contains("refused a connection") || reason.contains("Connection refused") =>
            {
                Self::Refused
            }
            Some(false) if reason.starts_with("cannot connect") || reason.starts_with("cannot ask") => {
                Self::Unreachable
            }
            Some(false) => Self::Wrong,
        }
    }
}

/// Probes the backends of this name, or of `SERVICE/NAME`, by hand.
///
/// # Errors
/// [`NotLooked`].
pub async fn look(facts: &Facts, name: &str) -> Result<Vec<Evidence>, NotLooked> {
    let is_meant = |service: &str, backend: &str| name == backend || name == format!("{service}/{backend}");
    let config = facts.config.as_ref();
    let mut evidence = Vec::new();
    let mut names = Vec::new();
    if facts.status.is_some() {
        let client = Client::new(&facts.socket);
        let list = client.backend_list(None).await.map_err(NotLooked::Appliance)?;
        for backend in list.backends {
            names.push(format!("{}/{}", backend.service, backend.name));
            if is_meant(&backend.service, &backend.name) {
                let probes = client.backend_probe(&backend.service, &backend.name).await;
                let probes = probes.map_err(NotLooked::Appliance)?.probes;
                evidence.extend(of_running(config, &backend, probes).await);
            }
        }
    } else if let Some(config) = config {
        for service in &config.services {
            for member in &service.members {
                let group = &config.groups[member.group];
                for endpoint in &group.endpoints {
                    names.push(format!("{}/{}", service.name, endpoint.name));
                    if is_meant(&service.name, &endpoint.name) {
                        let check = &config.health_checks[service.health_check];
                        let subject = format!("{}/{}", service.name, endpoint.name);
                        evidence.push(of_config(subject, check, group.delivery, endpoint.address).await);
                    }
                }
            }
        }
    }
    if evidence.is_empty() { Err(NotLooked::Unknown(names)) } else { Ok(evidence) }
}

/// Evidence of a backend without a running appliance: what the kernel sees.
async fn of_config(
    subject: String,
    check: &HealthCheck,
    delivery: DeliveryMode,
    address: IpAddr,
) -> Evidence {
    let kernel = ProbeAnswer::from(by_kernel(check, address).await);
    Evidence {
        subject,
        address,
        check: Some(check.clone()),
        delivery: Some(delivery),
        next_hop: NextHop::Fine,
        probe: None,
        pings: pings(&kernel, address),
        kernel: Some(kernel),
    }
}

/// Evidence of a backend of the running appliance, through each rule.
async fn of_running(config: Option<&Config>, backend: &Backend, probes: Vec<RuleProbe>) -> Vec<Evidence> {
    let service = config.and_then(|config| config.services.iter().find(|one| one.name == backend.service));
    let check = config.zip(service).map(|(config, service)| &config.health_checks[service.health_check]);
    let group = config.zip(service).and_then(|(config, service)| {
        let mut groups = service.members.iter().map(|member| &config.groups[member.group]);
        groups.find(|group| group.endpoints.iter().any(|endpoint| endpoint.name == backend.name))
    });
    let is_well = |probe: &RuleProbe| probe.answer.well == Some(true);
    // The path of traffic is well, and there is no more to say.
    let kernel = match check {
        Some(check) if !probes.iter().all(is_well) => Some(by_kernel(check, backend.address).await.into()),
        _ => None,
    };
    let next_hop = match &backend.next_hop {
        None => NextHop::None,
        Some(hop) if hop.mac.is_none() => NextHop::Silent(hop.address.unwrap_or(backend.address).to_string()),
        Some(_) => NextHop::Fine,
    };
    let pings = kernel.as_ref().and_then(|kernel| pings(kernel, backend.address));
    let of_probe = |probe: RuleProbe| Evidence {
        subject: format!("{}/{} through {}", backend.service, backend.name, probe.forwarding_rule),
        address: backend.address,
        check: check.cloned(),
        delivery: group.map(|group| group.delivery),
        next_hop: next_hop.clone(),
        kernel: kernel.clone(),
        pings,
        probe: Some(probe),
    };
    probes.into_iter().map(of_probe).collect()
}

/// Asks the kernel to ping a backend that has not answered it.
fn pings(kernel: &ProbeAnswer, address: IpAddr) -> Option<bool> {
    let address = address.to_string();
    let is_asked = matches!(Kind::of(kernel), Kind::Silent | Kind::Unreachable);
    is_asked.then(|| run("ping", &["-n", "-c", "1", "-W", "1", &address]).is_ok())
}

/// Finding of what was learnt through one rule.
pub fn verdict(evidence: &Evidence) -> Finding {
    let finding = match &evidence.probe {
        Some(probe) if probe.in_path => in_path(evidence, probe),
        probe => {
            let answer = probe.as_ref().map(|probe| &probe.answer).or(evidence.kernel.as_ref());
            by_kernel_alone(evidence, answer, probe.is_some())
        }
    };
    Finding { check: CHECK.to_owned(), ..finding }
}

/// Verdict of a probe in the path of traffic.
fn in_path(evidence: &Evidence, probe: &RuleProbe) -> Finding {
    let subject = &*evidence.subject;
    let (vip, port) = (probe.address, probe.port);
    let reason = probe.answer.reason.as_deref().unwrap_or_default();
    let kernel = evidence.kernel.as_ref().map(Kind::of);
    match (Kind::of(&probe.answer), &evidence.next_hop) {
        (Kind::Well, _) => Finding::ok(subject, format!("{vip} port {port} answers as the check expects")),
        (Kind::NotAsked, _) => Finding::note(subject, format!("not probed: {reason}"))
            .should_be("a probe that goes out: try again", "guideway status"),
        (_, NextHop::None) => Finding::fault(subject, "no route leads to it")
            .should_be("a port with its prefix, or a gateway", "guideway backend list"),
        (_, NextHop::Silent(hop)) => Finding::fault(
            subject,
            format!("nobody answers ARP or neighbour discovery for {hop}"),
        )
        .should_be("on the backend or gateway: up, with this address, in this VLAN", "ip -br address show"),
        (Kind::Refused, _) if kernel == Some(Kind::Well) => {
            let found =
                format!("{vip} refuses port {port}, and its own address {} answers", evidence.address);
            Finding::fault(subject, found).should_be(
                "on the backend: a server that listens on the VIP, or on all addresses",
                format!("ss -ltn 'sport = :{port}'"),
            )
        }
        (Kind::Refused, _) => {
            Finding::fault(subject, format!("packets to {vip} arrive, and nobody listens on port {port}"))
                .should_be(
                    "on the backend: a server on that port, or another `port` of the health check",
                    format!("ss -ltn 'sport = :{port}'"),
                )
        }
        (Kind::Wrong | Kind::Unreachable, _) => {
            let found = format!("{vip} port {port} answers, and not as the check expects: {reason}");
            Finding::fault(subject, found).should_be(
                "on the backend: what the check asks for, or another check",
                by_hand(evidence, vip, port),
            )
        }
        (Kind::Silent, _) => silent(evidence, probe),
    }
}

/// Verdict of a probe in the path of traffic that nothing has come back from.
fn silent(evidence: &Evidence, probe: &RuleProbe) -> Finding {
    let subject = &*evidence.subject;
    let (vip, port) = (probe.address, probe.port);
    let reason = probe.answer.reason.as_deref().unwrap_or_default();
    if reason.contains("ICMP") {
        let device = evidence.delivery.map_or_else(String::new, tunnel_device);
        return Finding::fault(subject, reason)
            .should_be("on the backend: a device that takes out tunnel packets", device);
    }
    let closed = probe.closed_port.as_ref().map(Kind::of);
    let kernel = evidence.kernel.as_ref().map(Kind::of);
    if matches!(closed, Some(Kind::Refused | Kind::Well | Kind::Wrong)) {
        let found =
            format!("{vip} is there (its TCP port 1 answers), and packets to port {port} are dropped");
        let expected =
            "on the backend or before it: a firewall that lets them in, or a server that answers in time";
        return Finding::fault(subject, found).should_be(expected, "nft list ruleset");
    }
    if kernel == Some(Kind::Silent) && evidence.pings == Some(false) {
        let found = format!("neither {vip} nor its own address {} answers anything", evidence.address);
        let expected = "a backend that is up, and no firewall that drops all; these look alike";
        return Finding::fault(subject, found).should_be(expected, format!("ping -c 3 {}", evidence.address));
    }
    let own = match kernel {
        Some(Kind::Well) => format!("its own address {} answers the check", evidence.address),
        Some(Kind::Refused | Kind::Wrong) => {
            format!("its own address {} answers otherwise", evidence.address)
        }
        Some(Kind::Silent) => {
            format!("its own address {} answers pings, but not port {port}", evidence.address)
        }
        _ => format!("from here, the kernel cannot tell of its own address {}", evidence.address),
    };
    let is_tunnelled = evidence.delivery.is_some_and(|delivery| delivery != DeliveryMode::L2);
    if is_tunnelled {
        let delivery = evidence.delivery.map_or("tunnel", DeliveryMode::as_str);
        let found = format!(
            "nothing comes back of packets to {vip} by {delivery}; {own}. Packets lost on the way, no device that takes them out, \
             `rp_filter`, and a missing VIP look alike"
        );
        let expected = "on the backend: packets that arrive (then device, `rp_filter` or VIP is at fault)";
        return Finding::fault(subject, found).should_be(expected, tcpdump(evidence.delivery));
    }
    let length = if vip.is_ipv4() { 32 } else { 128 };
    let found = format!(
        "nothing comes back of packets to {vip}; {own}. A missing VIP and a firewall that drops all packets to it look alike"
    );
    Finding::fault(subject, found)
        .should_be("on the backend: the VIP on `lo`", format!("ip address add {vip}/{length} dev lo"))
}

/// Verdict of the kernel's probe of the backend's own address; the VIP is not known by it. `is_check` is true if the service's
/// own checks are made that way.
fn by_kernel_alone(evidence: &Evidence, answer: Option<&ProbeAnswer>, is_check: bool) -> Finding {
    let (subject, address) = (&*evidence.subject, evidence.address);
    let Some(answer) = answer else {
        return Finding::note(subject, "the configuration file does not have its service")
            .should_be("the running appliance's file", "guideway doctor --config FILE --backend NAME");
    };
    let port = evidence.check.as_ref().map_or(0, |check| check.port);
    let reason = answer.reason.as_deref().unwrap_or_default();
    let finding = match Kind::of(answer) {
        Kind::Well if is_check => {
            return Finding::ok(subject, format!("{address} port {port} answers; nobody has asked the VIP"));
        }
        Kind::Well => {
            let found = format!(
                "its own address {address} answers on port {port}; whether the VIP and its delivery work can be told by a \
                 running appliance alone"
            );
            return Finding::note(subject, found)
                .should_be("a running appliance", "systemctl start guideway");
        }
        Kind::NotAsked => return Finding::note(subject, format!("not probed: {reason}")),
        Kind::Refused => {
            Finding::fault(subject, format!("{address} is up, and nobody listens on port {port}")).should_be(
                "on the backend: a server on that port, or another `port` of the health check",
                format!("ss -ltn 'sport = :{port}'"),
            )
        }
        Kind::Wrong => {
            let found = format!("{address} port {port} answers, and not as the check expects: {reason}");
            Finding::fault(subject, found).should_be(
                "on the backend: what the check asks for, or another check",
                by_hand(evidence, address, port),
            )
        }
        Kind::Silent if evidence.pings == Some(true) => {
            let found = format!("{address} answers pings, and packets to port {port} are dropped");
            Finding::fault(subject, found).should_be(
                "on the backend or before it: a firewall that lets them in, or a server that answers in time",
                "nft list ruleset",
            )
        }
        Kind::Silent | Kind::Unreachable => {
            let found = format!("{address} does not answer the kernel ({reason})");
            let expected =
                "a backend that is up, a route to it, and no firewall that drops all; these look alike";
            Finding::fault(subject, found).should_be(expected, format!("ip route get {address}"))
        }
    };
    // The kernel may have no interface in the backends' network, which says nothing of the path of traffic.
    if Kind::of(answer) == Kind::Unreachable && !is_check {
        return Finding { level: super::finding::Level::Note, ..finding };
    }
    finding
}

/// Command that asks what the check asks.
fn by_hand(evidence: &Evidence, address: IpAddr, port: u16) -> String {
    let host = match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let header = |request: &guideway_model::config::HttpRequest| {
        request
            .host
            .as_ref()
            .map_or_else(String::new, |name| format!("-H {} ", quoted(&format!("Host: {name}"))))
    };
    let url = |scheme: &str, path: &str| quoted(&format!("{scheme}://{host}:{port}{path}"));
    match evidence.check.as_ref().map(|check| &check.probe) {
        Some(Probe::Http(request)) => {
            format!("curl -v {}{}", header(request), url("http", &request.path))
        }
        Some(Probe::Https(request)) => {
            format!("curl -vk {}{}", header(request), url("https", &request.path))
        }
        Some(Probe::Http2(request)) => {
            format!("curl -vk --http2 {}{}", header(request), url("https", &request.path))
        }
        Some(Probe::Ssl(_) | Probe::GrpcWithTls { .. }) => format!("openssl s_client -connect {host}:{port}"),
        Some(Probe::Udp { .. } | Probe::Dns(_)) => format!("ss -lun 'sport = :{port}'"),
        Some(Probe::Tcp(_) | Probe::Grpc { .. }) | None => format!("ss -ltnp 'sport = :{port}'"),
    }
}

/// Command that shows if tunnel packets arrive.
fn tcpdump(delivery: Option<DeliveryMode>) -> String {
    let filter = match delivery {
        Some(DeliveryMode::Gre) => "proto 47 or ip6 proto 47".to_owned(),
        Some(DeliveryMode::Gue { dst_port }) => format!("udp port {dst_port}"),
        Some(DeliveryMode::Ipip | DeliveryMode::L2) | None => {
            "proto 4 or proto 41 or ip6 proto 4 or ip6 proto 41".to_owned()
        }
    };
    format!("tcpdump -n -i any -c 5 '{filter}'")
}

/// Command that makes a device for tunnel packets of a kind.
fn tunnel_device(delivery: DeliveryMode) -> String {
    match delivery {
        DeliveryMode::L2 => "ip -br link show".to_owned(),
        DeliveryMode::Ipip => "modprobe ipip && ip link set tunl0 up".to_owned(),
        DeliveryMode::Gre => "modprobe ip_gre && ip link set gre0 up".to_owned(),
        DeliveryMode::Gue { dst_port } => format!("modprobe fou && ip fou add port {dst_port} gue"),
    }
}

#[cfg(test)]
mod tests;
