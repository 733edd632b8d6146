//! One probe from connection to result: in the path of traffic, or over the kernel's network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::ingress::NetworkId;
use guideway_model::config::{HealthCheck, Transport};
use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use super::probe::{Answer, ProbeError, ProbeResult, Question, Target, probe};
use crate::net::probe_tcp::{self, Peer};

/// Everything that the probes of one backend through one rule depend on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProbeJob {
    /// The question that is asked.
    pub(super) check: HealthCheck,
    /// The rule's address.
    pub(super) vip: IpAddr,
    /// The backend's own address.
    pub(super) address: IpAddr,
    /// The backend's handle, by which snapshots know how to deliver to it.
    pub(super) backend: BackendHandle,
    /// The network that the backend is in.
    pub(super) network: NetworkId,
}

impl ProbeJob {
    /// Connects and asks; there is no time limit here.
    pub(super) async fn run(&self, stack: &probe_tcp::Handle) -> ProbeResult {
        let port = self.check.port;
        if let Some(question) = Question::of(&self.check.probe, fastrand::u16(..)) {
            return self.ask_by_datagram(stack, &question).await;
        }
        match &self.check.transport {
            Transport::InPath => {
                let peer = Peer { backend: self.backend, vip: self.vip, port };
                let mut stream = match probe_tcp::Stream::connect(stack, peer).await {
                    Ok(stream) => stream,
                    Err(error) if is_ours(&error) => return ProbeResult::NotAsked(error.to_string()),
                    Err(error) => return ProbeResult::unwell(error.to_string()),
                };
                let source = stream.local_address().unwrap_or_else(|| SocketAddr::new(self.vip, 0));
                let answer = probe(&mut stream, &self.check, &Target { vip: self.vip, port, source }).await;
                // A server that answered need not see a reset for it; one that breaks its protocol gets no more time.
                if answer.is_whole() {
                    stream.finish();
                }
                answer.into()
            }
            Transport::Kernel { bind_device, source } => {
                by_kernel(&self.check, self.address, bind_device.as_deref(), *source).await
            }
        }
    }
}

impl ProbeJob {
    /// Sends one datagram, and waits for its answer.
    async fn ask_by_datagram(&self, stack: &probe_tcp::Handle, question: &Question<'_>) -> ProbeResult {
        let judged = match &self.check.transport {
            Transport::InPath => {
                let peer = Peer { backend: self.backend, vip: self.vip, port: self.check.port };
                let flow = match probe_tcp::Datagram::send(stack, peer, question.datagram()) {
                    Ok(flow) => flow,
                    Err(error) => return ProbeResult::NotAsked(error.to_string()),
                };
                loop {
                    if let Some(judged) = question.judge(&flow.answer().await) {
                        break judged;
                    }
                }
            }
            Transport::Kernel { bind_device, source } => {
                return by_kernel(&self.check, self.address, bind_device.as_deref(), *source).await;
            }
        };
        Answer { weight: None, judgement: judged }.into()
    }
}

/// Asks a backend at its own address, over the kernel's network; there is no time limit here.
pub(super) async fn by_kernel(
    check: &HealthCheck,
    address: IpAddr,
    device: Option<&str>,
    source: Option<IpAddr>,
) -> ProbeResult {
    let (to, port) = (SocketAddr::new(address, check.port), check.port);
    if let Some(question) = Question::of(&check.probe, fastrand::u16(..)) {
        return match ask_by_kernel(to, device, source, &question).await {
            Ok(judgement) => Answer { weight: None, judgement }.into(),
            Err(error) if is_ours(&error) => ProbeResult::NotAsked(error.to_string()),
            Err(error) => ProbeResult::unwell(format!("cannot ask: {error}")),
        };
    }
    let connected = connect(to, device, source).await;
    let (stream, source) = match connected.and_then(|stream| Ok((stream.local_addr()?, stream))) {
        Ok((source, stream)) => (stream, source),
        Err(error) if is_ours(&error) => return ProbeResult::NotAsked(error.to_string()),
        Err(error) => return ProbeResult::unwell(format!("cannot connect: {error}")),
    };
    probe(stream, check, &Target { vip: address, port, source }).await.into()
}

async fn ask_by_kernel(
    to: SocketAddr,
    device: Option<&str>,
    source: Option<IpAddr>,
    question: &Question<'_>,
) -> io::Result<Result<(), ProbeError>> {
    let socket = UdpSocket::bind(SocketAddr::new(source.unwrap_or_else(|| unspecified(to)), 0)).await?;
    socket.bind_device(device.map(str::as_bytes))?;
    socket.connect(to).await?;
    socket.send(question.datagram()).await?;
    let mut answer = vec![0; MAX_ANSWER_BYTES];
    loop {
        let len = socket.recv(&mut answer).await?;
        if let Some(judged) = question.judge(&answer[..len]) {
            return Ok(judged);
        }
    }
}

/// The bytes of an answer that are looked at: the longest expected text, and the question of a DNS message.
const MAX_ANSWER_BYTES: usize = 2_048;

/// True if a connection failed for lack of something on this side: an address, a port, a descriptor, memory.
fn is_ours(error: &io::Error) -> bool {
    matches!(error.get_ref(), Some(inner) if inner.is::<probe_tcp::ConnectError>())
        || matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory)
        || matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS))
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
