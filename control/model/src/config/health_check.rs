//! Health checks: the probes that find out which backends can serve.

use std::net::IpAddr;
use std::time::Duration;

use super::limits::MAX_DEVICE_NAME;
use super::report::Report;
use super::written::choice::{Chosen, DnsRcode, DnsType, ProbeType, ProxyHeader, TransportKind};
use super::written::field::{Field, Optional};
use super::written::file::HealthCheckFile;
use super::written::value::{Ascii, Integer};

/// Probes that find out whether a backend can serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Name of the health check, unique among health checks.
    pub name: String,
    /// Time from the start of one probe to the start of the next.
    pub interval: Duration,
    /// Time that a probe may take, at most the interval.
    pub timeout: Duration,
    /// Number of successes in a row that make an unhealthy backend healthy, 1 to 10.
    pub healthy_threshold: u32,
    /// Number of failures in a row that make a healthy backend unhealthy, 1 to 10.
    pub unhealthy_threshold: u32,
    /// Port of the backend that is probed.
    pub port: u16,
    /// Request of a probe, and the answer that it expects.
    pub probe: Probe,
    /// Path of the probes to the backend.
    pub transport: Transport,
}

impl HealthCheck {
    pub(super) fn parse(file: &HealthCheckFile, report: &mut Report) -> Option<Self> {
        file.check_timeout(report);
        let kind = file.r#type.copied()?.0;
        file.check_kind(kind, report);
        let port = file.port(kind, report);
        file.check_host(report);
        file.check_path(report);

        let seconds = |number: u32| Duration::from_secs(number.into());
        Some(Self {
            name: file.name.get()?.0.clone(),
            interval: seconds(file.check_interval_sec()?.0),
            timeout: seconds(file.timeout_sec()?.0),
            healthy_threshold: file.healthy_threshold()?.0,
            unhealthy_threshold: file.unhealthy_threshold()?.0,
            port: port?,
            probe: file.probe(kind)?,
            transport: file.parsed_transport(report)?,
        })
    }
}

/// Path of the probes to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Probes are addressed to the virtual IP address and delivered as its packets are: a backend without that address,
    /// or without its tunnel, is found unhealthy.
    InPath,
    /// Probes are addressed to the backend, and sent by the kernel's own network.
    Kernel {
        /// Network interface that probes leave by; [`None`] leaves the choice to the kernel.
        bind_device: Option<String>,
        /// Source address of probes; [`None`] leaves the choice to the kernel.
        source: Option<IpAddr>,
    },
}

impl HealthCheckFile {
    fn parsed_transport(&self, report: &mut Report) -> Option<Transport> {
        let kind = self.transport()?.0;
        if kind == TransportKind::InPath {
            let bound = self.bind_device.as_ref().map(Field::span);
            if let Some(span) = bound.or(self.source_ip_address.as_ref().map(Field::span)) {
                report.error(
                    span,
                    "probes in the path of traffic leave as traffic does",
                    "leave it out, or write `transport = \"kernel\"`",
                );
            }
            return Some(Transport::InPath);
        }
        let bind_device = match &self.bind_device {
            Some(field) => Some(field.get()?.0.clone()),
            None => None,
        };
        if let (Some(field), Some(name)) = (&self.bind_device, &bind_device)
            && (name.is_empty() || name.len() > MAX_DEVICE_NAME || name.contains(['/', ' ']))
        {
            report.error(
                field.span(),
                format!("`{name}` is no interface's name"),
                format!("write the name of an interface, 1 to {MAX_DEVICE_NAME} bytes"),
            );
        }
        let source = match &self.source_ip_address {
            Some(field) => Some(field.copied()?),
            None => None,
        };
        Some(Transport::Kernel { bind_device, source })
    }

    fn check_timeout(&self, report: &mut Report) {
        let (interval, timeout) = (self.check_interval_sec(), self.timeout_sec());
        let (Some(Integer(interval)), Some(Integer(timeout))) = (interval, timeout) else { return };
        if timeout > interval {
            let either = self.timeout_sec.as_ref().or(self.check_interval_sec.as_ref());
            report.error(
                either.map_or(self.name.span(), Field::span),
                format!("a timeout of {timeout} seconds with an interval of {interval}"),
                format!(
                    "write `timeout_sec = {interval}` or less, or `check_interval_sec = {timeout}` or more"
                ),
            );
        }
    }

    /// Reports parameters that the type of the check does not have: they would be ignored.
    fn check_kind(&self, kind: ProbeType, report: &mut Report) {
        use ProbeType::{Dns, Ssl, Tcp, Udp};
        let is_exchange = matches!(kind, Tcp | Ssl);
        let texts = [
            ("host", self.host.as_ref(), kind.is_http(), "HTTP, HTTPS and HTTP2"),
            ("request_path", self.request_path.as_ref(), kind.is_http(), "HTTP, HTTPS and HTTP2"),
            ("request", self.request.as_ref(), is_exchange || kind == Udp, "TCP, SSL and UDP"),
            (
                "response",
                self.response.as_ref(),
                !kind.is_grpc() && kind != Dns,
                "every type but GRPC, GRPC_WITH_TLS and DNS",
            ),
            ("grpc_service_name", self.grpc_service_name.as_ref(), kind.is_grpc(), "GRPC and GRPC_WITH_TLS"),
        ];
        let texts = texts.map(|(key, field, known, kinds)| (key, field.map(Field::span), known, kinds));
        let proxy_header = self.proxy_header.as_ref().map(Field::span);
        let has_header = is_exchange || kind.is_http();
        let proxy_header = ("proxy_header", proxy_header, has_header, "TCP, SSL, HTTP, HTTPS and HTTP2");
        let query = [
            ("query_name", self.query_name.as_ref().map(Field::span)),
            ("query_type", self.query_type.as_ref().map(Field::span)),
            ("expected_rcode", self.expected_rcode.as_ref().map(Field::span)),
        ];
        let query = query.map(|(key, span)| (key, span, kind == Dns, "DNS"));
        for (key, span, known, kinds) in texts.into_iter().chain([proxy_header]).chain(query) {
            if let (Some(span), false) = (span, known) {
                let message = format!("a health check of type {} has no `{key}`", Chosen(kind).name());
                report.error(span, message, format!("leave it out: it is for {kinds}"));
            }
        }
        self.check_question(kind, report);
    }

    /// Reports a check by UDP that has nothing to ask: no connection shows then that somebody is there.
    fn check_question(&self, kind: ProbeType, report: &mut Report) {
        let is_empty = |request: &Field<Ascii>| request.get().is_some_and(|request| request.0.is_empty());
        if kind == ProbeType::Udp && self.request.as_ref().is_none_or(is_empty) {
            let span = self.request.as_ref().map_or(self.name.span(), Field::span);
            let help = "add `request = …`, a datagram that the server answers";
            report.error(span, "a UDP health check without a request", help);
        }
        if kind == ProbeType::Dns && self.query_name.is_none() {
            let help = "add `query_name = …`, a name that the server knows";
            report.error(self.name.span(), "a DNS health check without a name to ask for", help);
        }
    }

    fn port(&self, kind: ProbeType, report: &mut Report) -> Option<u16> {
        let default = match kind {
            ProbeType::Tcp | ProbeType::Http => Integer(80),
            ProbeType::Ssl | ProbeType::Https | ProbeType::Http2 => Integer(443),
            ProbeType::Dns => Integer(53),
            ProbeType::Grpc | ProbeType::GrpcWithTls | ProbeType::Udp => {
                if self.port.is_none() {
                    let protocol = if kind == ProbeType::Udp { "a UDP server" } else { "gRPC" };
                    let help = format!("add `port = …`: {protocol} has no port of its own");
                    let message = format!("a {} health check without a port", Chosen(kind).name());
                    report.error(self.name.span(), message, help);
                    return None;
                }
                Integer(1)
            }
        };
        Some(self.port.value_or(default)?.as_u16())
    }

    fn check_host(&self, report: &mut Report) {
        let Some(host) = &self.host else { return };
        let Some(Ascii(text)) = host.get() else { return };
        // RFC 9110, section 7.2: what would end the header or the request must not get into it.
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let help = "write a host name or an address, or leave it out to send the probed address";
            report.error(host.span(), "`host` must be visible ASCII without spaces", help);
        }
    }

    fn check_path(&self, report: &mut Report) {
        let Some(path) = &self.request_path else { return };
        let Some(Ascii(text)) = path.get() else { return };
        if !text.starts_with('/') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let help = "write an absolute path such as `/healthz`; encode spaces as `%20`";
            report.error(path.span(), "`request_path` must be visible ASCII that begins with a slash", help);
        }
    }

    fn probe(&self, kind: ProbeType) -> Option<Probe> {
        let proxy_header = self.proxy_header()?.0;
        let exchange =
            || Some(Exchange { request: self.request()?.0, response: self.response()?.0, proxy_header });
        let http = || {
            Some(HttpRequest {
                host: self.host.written().map(|host| host.0.clone()),
                path: self.request_path()?.0,
                response: self.response()?.0,
                proxy_header,
            })
        };
        Some(match kind {
            ProbeType::Tcp => Probe::Tcp(exchange()?),
            ProbeType::Ssl => Probe::Ssl(exchange()?),
            ProbeType::Http => Probe::Http(http()?),
            ProbeType::Https => Probe::Https(http()?),
            ProbeType::Http2 => Probe::Http2(http()?),
            ProbeType::Grpc => Probe::Grpc { service_name: self.grpc_service_name()?.0 },
            ProbeType::GrpcWithTls => Probe::GrpcWithTls { service_name: self.grpc_service_name()?.0 },
            ProbeType::Udp => Probe::Udp { request: self.request()?.0, response: self.response()?.0 },
            ProbeType::Dns => Probe::Dns(DnsQuery {
                name: self.query_name.as_ref()?.get()?.0.clone(),
                record: self.query_type()?.0,
                rcode: self.expected_rcode()?.0,
            }),
        })
    }
}

/// Request of a probe, and the answer that it expects (`type`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A TCP connection.
    Tcp(Exchange),
    /// A TLS session.
    Ssl(Exchange),
    /// An HTTP/1.1 request.
    Http(HttpRequest),
    /// An HTTP/1.1 request within TLS.
    Https(HttpRequest),
    /// An HTTP/2 request within TLS.
    Http2(HttpRequest),
    /// A call of the gRPC health checking protocol.
    Grpc {
        /// Name of the service whose health is asked for; empty means the whole server.
        service_name: String,
    },
    /// A datagram, and the beginning of its answer.
    Udp {
        /// Payload of the datagram: ASCII, 1 to 1,024 bytes.
        request: String,
        /// Text that the answer must begin with; empty takes any answer.
        response: String,
    },
    /// A question to a DNS server by UDP.
    Dns(DnsQuery),
    /// A call of the gRPC health checking protocol within TLS.
    GrpcWithTls {
        /// Name of the service whose health is asked for; empty means the whole server.
        service_name: String,
    },
}

impl Probe {
    /// True if the probe is a datagram and its answer, and no connection.
    pub fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp { .. } | Self::Dns(_))
    }
}

/// A question for a DNS server, and the response code of a right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsQuery {
    /// Name that is asked for, without the dot at its end; empty is the root.
    pub name: String,
    /// Type of the record that is asked for.
    pub record: DnsType,
    /// Response code that an answer must have.
    pub rcode: DnsRcode,
}

/// Bytes sent over a connection, and the bytes that must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Text that is sent once connected: ASCII, at most 1,024 bytes; empty sends nothing.
    pub request: String,
    /// Text that the answer must begin with: ASCII, at most 1,024 bytes; empty expects nothing.
    pub response: String,
    /// PROXY protocol header that precedes everything else on the connection.
    pub proxy_header: ProxyHeader,
}

/// An HTTP request, and the text that the body of its answer must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// Value of the `Host` header; [`None`] means the address that is probed.
    pub host: Option<String>,
    /// Path of the request, beginning with a slash.
    pub path: String,
    /// Text that the first 1,024 bytes of the body must hold: ASCII; empty expects nothing.
    pub response: String,
    /// PROXY protocol header that precedes everything else on the connection.
    pub proxy_header: ProxyHeader,
}
