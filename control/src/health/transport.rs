//! How a probe gets to its backend: in the path of traffic, or by the kernel's network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use guideway_dataplane::backend::BackendHandle;
use guideway_model::config::{HealthCheck, Transport};
use tokio::net::{TcpSocket, TcpStream};

use super::probe::{Success, Target, WeightReport, probe};
use super::scheduler::ProbeResult;
use super::weights::Report;
use crate::net::probe_tcp::{self, Peer};

/// Everything that a probe of one backend through one rule depends on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProbeJob {
    /// What is asked.
    pub(super) check: HealthCheck,
    /// The rule's address.
    pub(super) vip: IpAddr,
    /// The backend's own address.
    pub(super) address: IpAddr,
    /// The backend's place in snapshots.
    pub(super) backend: BackendHandle,
}

impl ProbeJob {
    /// Connects and asks; there is no time limit here.
    pub(super) async fn run(&self, stack: &probe_tcp::Handle) -> ProbeResult {
        let port = self.check.port;
        let asked = match &self.check.transport {
            Transport::InPath => {
                let peer = Peer { backend: self.backend, vip: self.vip, port };
                let stream = match probe_tcp::Stream::connect(stack, peer).await {
                    Ok(stream) => stream,
                    Err(error) if is_ours(&error) => return ProbeResult::NotAsked(error.to_string()),
                    Err(error) => return ProbeResult::Unwell(error.to_string()),
                };
                let source = stream.local_address().unwrap_or_else(|| SocketAddr::new(self.vip, 0));
                probe(stream, &self.check, &Target { vip: self.vip, port, source }).await
            }
            Transport::Kernel { bind_device, source } => {
                let to = SocketAddr::new(self.address, port);
                let connected = connect(to, bind_device.as_deref(), *source).await;
                let (stream, source) = match connected.and_then(|stream| Ok((stream.local_addr()?, stream))) {
                    Ok((source, stream)) => (stream, source),
                    Err(error) if is_ours(&error) => return ProbeResult::NotAsked(error.to_string()),
                    Err(error) => return ProbeResult::Unwell(format!("cannot connect: {error}")),
                };
                probe(stream, &self.check, &Target { vip: self.address, port, source }).await
            }
        };
        match asked {
            Ok(success) => ProbeResult::Well(report(success)),
            Err(error) => ProbeResult::Unwell(error.to_string()),
        }
    }
}

/// Whether a connection failed for want of something on this side: no address, no port, no descriptor, no memory.
fn is_ours(error: &io::Error) -> bool {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    const ENOBUFS: i32 = 105;
    matches!(error.get_ref(), Some(inner) if inner.is::<probe_tcp::ConnectError>())
        || matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory)
        || matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS))
}

/// What a successful probe says of the weight.
fn report(success: Success) -> Option<Report> {
    match success.weight {
        WeightReport::NotAsked => None,
        WeightReport::Missing => Some(Report::Missing),
        WeightReport::Invalid => Some(Report::Invalid),
        WeightReport::Weight(weight) => Some(Report::Weight(weight)),
    }
}

async fn connect(to: SocketAddr, device: Option<&str>, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind_device(device.map(str::as_bytes))?;
    if let Some(source) = source.or(device.map(|_| unspecified(to))) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.connect(to).await
}

fn unspecified(like: SocketAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}
