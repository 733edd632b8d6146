//! A backend: a web server and a UDP echo server on every VIP, both of which answer with the backend's name.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::LazyLock;

use super::Lab;
use super::address::{Family, Vip};
use super::decapsulation;
use super::server::{PAUSE, Server};
use super::web_server::{self, WebServer};

/// Length of the large file in bytes: more than all socket buffers on its way hold.
const LARGE_LENGTH: usize = 32 << 20;

/// Servers of one backend; they end with the value.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) web: WebServer,
    _echo: Vec<Server>,
    tunnels: Option<Server>,
}

impl Backend {
    /// Name that a backend answers with.
    pub(crate) fn name(number: usize) -> String {
        format!("b{number}")
    }

    /// Starts the servers of all backends of a lab.
    pub(crate) fn all(lab: &Lab, count: usize) -> Vec<Self> {
        fs::write(lab.directory().join("large"), &*LARGE).expect("the lab's directory can be written");
        web_server::make_certificate(lab);
        (0..count).map(|number| Self::start(lab, number)).collect()
    }

    fn start(lab: &Lab, number: usize) -> Self {
        let vips = Vip::BOTH.into_iter().flat_map(|vip| Family::BOTH.map(|family| vip.echo(family)));
        let tunnels = decapsulation::start(lab.backend(number));
        Self {
            web: WebServer::start(lab, number),
            _echo: vips.map(|vip| echo(lab, number, vip)).collect(),
            tunnels: Some(tunnels),
        }
    }

    /// Stops taking packets out of tunnels.
    pub(crate) fn lose_tunnels(&mut self) {
        self.tunnels = None;
    }

    /// Takes packets out of tunnels again.
    pub(crate) fn regain_tunnels(&mut self, lab: &Lab, number: usize) {
        self.tunnels = Some(decapsulation::start(lab.backend(number)));
    }
}

/// Content of the large file; no two of its blocks are alike.
pub(crate) static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let words = 0..(LARGE_LENGTH / 8) as u64;
    words.flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect()
});

/// Starts the echo server of one VIP, which answers from that VIP.
fn echo(lab: &Lab, number: usize, vip: SocketAddr) -> Server {
    let open = || {
        let socket = UdpSocket::bind(vip).expect("the VIP is on `lo`, and nobody else has its port");
        socket.set_read_timeout(Some(PAUSE)).expect("a pause is no zero");
        socket
    };
    let name = Backend::name(number);
    Server::start(lab.backend(number), open, move |socket| {
        let mut question = [0; 2048];
        match socket.recv_from(&mut question) {
            // An answer that cannot be sent is for a client that has gone.
            Ok((_, client)) => drop(socket.send_to(name.as_bytes(), client)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // An ICMP error about an earlier answer.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("echo server at {vip}: {error}"),
        }
    })
}
