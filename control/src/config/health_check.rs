//! Health checks: how a backend is asked whether it can serve, and how often.

use std::time::Duration;

/// How a backend is asked whether it can serve, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Its name, unique among health checks.
    pub name: String,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// How long a probe may take; at most the interval.
    pub timeout: Duration,
    /// How many successes in a row make an unhealthy backend healthy, 1 to 10.
    pub healthy_threshold: u32,
    /// How many failures in a row make a healthy backend unhealthy, 1 to 10.
    pub unhealthy_threshold: u32,
    /// The port of the backend that is probed.
    pub port: u16,
    /// What is sent there, and what must come back.
    pub probe: Probe,
}

/// What a probe sends, and what must come back (`type`).
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
    /// A call of the gRPC health checking protocol, for this service or for the whole server.
    Grpc {
        /// The service that is asked for; empty means the whole server.
        service_name: String,
    },
}

/// Bytes sent over a connection, and the bytes that must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What is sent once connected: ASCII, at most 1,024 bytes; empty sends nothing.
    pub request: String,
    /// What the answer must begin with: ASCII, at most 1,024 bytes; empty expects nothing.
    pub response: String,
    /// What precedes everything else on the connection.
    pub proxy_header: ProxyHeader,
}

/// An HTTP request, and what the body of its answer must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The `Host` header; [`None`] means the address that is probed.
    pub host: Option<String>,
    /// The path, beginning with a slash.
    pub path: String,
    /// What the first 1,024 bytes of the body must hold: ASCII; empty expects nothing.
    pub response: String,
    /// What precedes everything else on the connection.
    pub proxy_header: ProxyHeader,
}

/// What precedes everything else on a probe's connection (`proxy_header`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// Nothing.
    None,
    /// A PROXY protocol header, version 1.
    ProxyV1,
}
