//! How the appliance is looked at and steered while it runs: the admin socket and the metrics.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::written::field::{Field, Optional};
use super::written::file::{AdminFile, MetricsFile};

/// Where the appliance is steered. It holds from the start: a reload does not change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket of the admin API.
    pub socket: PathBuf,
}

/// Where Prometheus finds the appliance. It holds from the start: a reload does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// The address of the listener.
    pub listen: SocketAddr,
}

impl Admin {
    /// Where the socket is, unless the configuration says otherwise.
    pub const DEFAULT_SOCKET: &'static str = "/run/guideway/admin.sock";

    pub(super) fn parse(file: &Option<Field<AdminFile>>) -> Option<Self> {
        let written = match file {
            Some(file) => file.get()?.socket.value_or(PathBuf::from(Self::DEFAULT_SOCKET))?,
            None => PathBuf::from(Self::DEFAULT_SOCKET),
        };
        Some(Self { socket: written })
    }
}

impl Metrics {
    /// Where metrics are, unless the configuration says otherwise: on the appliance itself alone.
    const DEFAULT_LISTEN: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9_477);

    pub(super) fn parse(file: &Option<Field<MetricsFile>>) -> Option<Self> {
        let listen = match file {
            Some(file) => file.get()?.listen.value_or(Self::DEFAULT_LISTEN)?,
            None => Self::DEFAULT_LISTEN,
        };
        Some(Self { listen })
    }
}
