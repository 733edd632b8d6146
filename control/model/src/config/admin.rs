//! How the appliance is looked at and steered while it runs: the admin socket and the metrics.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::written::field::{Field, Optional};
use super::written::file::{AdminFile, DEFAULT_SOCKET, MetricsFile};

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
    /// Path of the socket, unless the configuration names another.
    pub const DEFAULT_SOCKET: &'static str = DEFAULT_SOCKET;

    pub(super) fn parse(file: &Option<Field<AdminFile>>) -> Option<Self> {
        Some(Self { socket: file.value_or_default()?.socket()? })
    }
}

impl Metrics {
    pub(super) fn parse(file: &Option<Field<MetricsFile>>) -> Option<Self> {
        Some(Self { listen: file.value_or_default()?.listen()? })
    }
}
