//! Choices: the values of a key that are chosen by name.

use guideway_dataplane::affinity::{
    LoadBalancingScheme, PersistenceOnUnhealthy, SessionAffinity, TrackingMode,
};
use guideway_dataplane::delivery::DeliveryMode;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use toml::Spanned;
use toml::de::DeValue;

use super::field::{Value, closest};
use super::value::text;
use crate::config::report::Report;

/// A type whose values are chosen by name.
pub(in crate::config) trait Choice: Copy + PartialEq + 'static {
    /// Values of the type, each with its name; the first of several names is the one that is shown.
    const CHOICES: &'static [(&'static str, Self)];
}

impl<T: Choice> Value for Chosen<T> {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "a string", value, report)?;
        let chosen = T::CHOICES.iter().find(|(name, _)| *name == text);
        if chosen.is_none() {
            let names = || T::CHOICES.iter().map(|(name, _)| *name);
            let known = || names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let help = match closest(text, names()) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("choose one of {}", known()),
            };
            report.error(&value.span(), format!("`{text}` is not a value of `{key}`"), help);
        }
        chosen.map(|(_, value)| Self(*value))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = T::CHOICES.iter().map(|(name, _)| *name).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

/// A value chosen by name.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Chosen<T>(pub(in crate::config) T);

impl<T: Choice> Chosen<T> {
    /// Name of the value in the file.
    pub(in crate::config) fn name(self) -> &'static str {
        let chosen = T::CHOICES.iter().find(|(_, value)| *value == self.0);
        chosen.map(|(name, _)| *name).expect("CHOICES holds every value")
    }
}

impl<T: Choice> Serialize for Chosen<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Choice for LoadBalancingScheme {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("EXTERNAL", Self::External), ("INTERNAL", Self::Internal)];
}

/// IP protocols that a forwarding rule takes (`ip_protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RuleProtocol {
    /// TCP alone.
    Tcp,
    /// UDP alone.
    Udp,
    /// Every IP protocol, on all ports.
    L3Default,
}

impl Choice for RuleProtocol {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("TCP", Self::Tcp), ("UDP", Self::Udp), ("L3_DEFAULT", Self::L3Default)];
}

/// Answers of the appliance to ARP and neighbour discovery for a rule's address (`neighbor_replies`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NeighborReplies {
    /// Answers always: the address is on a link, and of this appliance alone.
    Always,
    /// Answers from an announcement to a withdrawal: of the appliances that share the address, one holds it at a time.
    WhenAnnounced,
    /// Answers never: the address is routed to the appliance's own.
    Never,
}

impl Choice for NeighborReplies {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("ALWAYS", Self::Always), ("WHEN_ANNOUNCED", Self::WhenAnnounced), ("NEVER", Self::Never)];
}

/// Choice of backends (`locality_lb_policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum LocalityLbPolicy {
    /// Chooses evenly.
    Maglev,
    /// Chooses in proportion to weights.
    WeightedMaglev,
}

impl Choice for LocalityLbPolicy {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("MAGLEV", Self::Maglev),
        ("WEIGHTED_MAGLEV", Self::WeightedMaglev),
        // Google's name for it on INTERNAL services.
        ("WEIGHTED_GCP_RENDEZVOUS", Self::WeightedMaglev),
    ];
}

/// Backends of a service that one client meets (`policy` of `subsetting`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum SubsettingPolicy {
    /// Meets all.
    None,
    /// Meets a subset, by a hash of its address.
    ConsistentHash,
}

impl Choice for SubsettingPolicy {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("NONE", Self::None), ("CONSISTENT_HASH_SUBSETTING", Self::ConsistentHash)];
}

/// Source of the weights of a service's backends (`weight_source`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum WeightSource {
    /// Headers of the answers to health checks.
    Reported,
    /// The endpoints as configured, and the operator.
    Configured,
}

impl Choice for WeightSource {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("REPORTED", Self::Reported), ("CONFIGURED", Self::Configured)];
}

impl Choice for ServiceProtocol {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("TCP", Self::Tcp), ("UDP", Self::Udp), ("UNSPECIFIED", Self::Unspecified)];
}

impl Choice for SessionAffinity {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("NONE", Self::None),
        ("CLIENT_IP_PORT_PROTO", Self::ClientIpPortProto),
        ("CLIENT_IP_PROTO", Self::ClientIpProto),
        ("CLIENT_IP", Self::ClientIp),
        ("CLIENT_IP_NO_DESTINATION", Self::ClientIpNoDestination),
    ];
}

impl Choice for TrackingMode {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("PER_CONNECTION", Self::PerConnection), ("PER_SESSION", Self::PerSession)];
}

impl Choice for PersistenceOnUnhealthy {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("DEFAULT_FOR_PROTOCOL", Self::DefaultForProtocol),
        ("NEVER_PERSIST", Self::NeverPersist),
        ("ALWAYS_PERSIST", Self::AlwaysPersist),
    ];
}

/// Protocol of a backend service, which its forwarding rules must fit (`protocol`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceProtocol {
    /// Serves TCP rules.
    Tcp,
    /// Serves UDP rules.
    Udp,
    /// Serves rules of every protocol, `L3_DEFAULT` among them.
    Unspecified,
}

/// Kind of delivery to endpoints, without its parameters (`delivery`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Delivery {
    L2,
    Ipip,
    Gre,
    Gue,
}

impl Delivery {
    /// Delivery mode with its parameters.
    pub(in crate::config) const fn mode(self, gue_port: u16) -> DeliveryMode {
        match self {
            Self::L2 => DeliveryMode::L2,
            Self::Ipip => DeliveryMode::Ipip,
            Self::Gre => DeliveryMode::Gre,
            Self::Gue => DeliveryMode::Gue { dst_port: gue_port },
        }
    }
}

impl Choice for Delivery {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("l2", Self::L2), ("ipip", Self::Ipip), ("gre", Self::Gre), ("gue", Self::Gue)];
}

/// Protocol of a probe, without its parameters (`type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum ProbeType {
    Tcp,
    Ssl,
    Http,
    Https,
    Http2,
    Grpc,
    GrpcWithTls,
    Udp,
    Dns,
}

impl ProbeType {
    /// True if answers have headers, and so may report weights.
    pub(in crate::config) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https | Self::Http2)
    }

    /// True if probes are calls of the gRPC health checking protocol.
    pub(in crate::config) fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWithTls)
    }
}

impl Choice for ProbeType {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("TCP", Self::Tcp),
        ("SSL", Self::Ssl),
        ("HTTP", Self::Http),
        ("HTTPS", Self::Https),
        ("HTTP2", Self::Http2),
        ("GRPC", Self::Grpc),
        ("GRPC_WITH_TLS", Self::GrpcWithTls),
        ("UDP", Self::Udp),
        ("DNS", Self::Dns),
    ];
}

/// Type of the record that a DNS check asks for (`query_type`); the number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[expect(missing_docs, reason = "the names are those of RFC 1035, section 3.2.2, RFC 3596 and RFC 2782")]
pub enum DnsType {
    A = 1,
    Ns = 2,
    Cname = 5,
    Soa = 6,
    Ptr = 12,
    Mx = 15,
    Txt = 16,
    Aaaa = 28,
    Srv = 33,
}

/// Type of the records that a group's endpoints are made of (`type` of `endpoints_dns`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointsRecord {
    /// Records of IPv4 addresses.
    A,
    /// Records of IPv6 addresses.
    Aaaa,
    /// Records of services, each of which names a host: its IPv4 addresses, or its IPv6 addresses if it has no others.
    Srv,
}

impl Choice for EndpointsRecord {
    const CHOICES: &'static [(&'static str, Self)] =
        &[("A", Self::A), ("AAAA", Self::Aaaa), ("SRV", Self::Srv)];
}

impl EndpointsRecord {
    /// Name of the type.
    pub fn as_str(self) -> &'static str {
        Chosen(self).name()
    }
}

impl Choice for DnsType {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("A", Self::A),
        ("AAAA", Self::Aaaa),
        ("NS", Self::Ns),
        ("CNAME", Self::Cname),
        ("SOA", Self::Soa),
        ("PTR", Self::Ptr),
        ("MX", Self::Mx),
        ("TXT", Self::Txt),
        ("SRV", Self::Srv),
    ];
}

/// Response code that a DNS check expects (`expected_rcode`); the number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "the names are those of IANA's registry of DNS RCODEs")]
pub enum DnsRcode {
    NoError = 0,
    FormErr = 1,
    ServFail = 2,
    NxDomain = 3,
    NotImp = 4,
    Refused = 5,
}

impl Choice for DnsRcode {
    const CHOICES: &'static [(&'static str, Self)] = &[
        ("NOERROR", Self::NoError),
        ("FORMERR", Self::FormErr),
        ("SERVFAIL", Self::ServFail),
        ("NXDOMAIN", Self::NxDomain),
        ("NOTIMP", Self::NotImp),
        ("REFUSED", Self::Refused),
    ];
}

impl Choice for ProxyHeader {
    const CHOICES: &'static [(&'static str, Self)] = &[("NONE", Self::None), ("PROXY_V1", Self::ProxyV1)];
}

/// Path of the probes to a backend, without its parameters (`transport`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum TransportKind {
    InPath,
    Kernel,
}

impl Choice for TransportKind {
    const CHOICES: &'static [(&'static str, Self)] = &[("in_path", Self::InPath), ("kernel", Self::Kernel)];
}

/// PROXY protocol header that precedes everything else on a probe's connection (`proxy_header`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// No header.
    None,
    /// A header of version 1.
    ProxyV1,
}

/// Condition for announcing, without its parameters (`policy`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum PolicyKind {
    Always,
    Healthy,
}

/// Fate of packets from some sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum AccessAction {
    Allow,
    Deny,
}

impl Choice for AccessAction {
    const CHOICES: &'static [(&'static str, Self)] = &[("ALLOW", Self::Allow), ("DENY", Self::Deny)];
}

impl Choice for PolicyKind {
    const CHOICES: &'static [(&'static str, Self)] = &[("ALWAYS", Self::Always), ("HEALTHY", Self::Healthy)];
}
