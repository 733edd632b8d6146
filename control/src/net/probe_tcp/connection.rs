//! One connection: its socket, and the reads, writes and waits of its owner.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};

use super::{Peer, ProbeTcp};

/// The most bytes that a connection receives before they are read.
pub const RECEIVE_BUFFER: usize = 4_096;

/// The most bytes that a connection holds until they are acknowledged.
pub const SEND_BUFFER: usize = 2_048;

/// The name of a connection; no later one gets the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

/// One connection.
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) local_port: u16,
    /// A set of one socket, made anew: smoltcp's sockets leave some of what they learned of one peer for the next.
    pub(super) sockets: SocketSet<'static>,
    socket: SocketHandle,
    /// True once nobody uses the connection any more: the next poll removes it.
    pub(super) is_over: bool,
}

impl Connection {
    /// Opens a connection to `peer` from an own address and port.
    pub(super) fn open(
        context: &mut smoltcp::iface::Context,
        peer: Peer,
        (own, local_port): (IpAddr, u16),
    ) -> Self {
        let buffer = |len| SocketBuffer::new(vec![0; len]);
        let mut socket = Socket::new(buffer(RECEIVE_BUFFER), buffer(SEND_BUFFER));
        // A probe's writes are few, and each is meant to be answered.
        socket.set_nagle_enabled(false);
        socket
            .connect(context, (peer.vip, peer.port), (own, local_port))
            .expect("the socket is new, and both ends have a host's address and a port");
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let socket = sockets.add(socket);
        Self { peer, local_port, sockets, socket, is_over: false }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }
}

impl ProbeTcp {
    /// The appliance's end of a connection; `None` where it has ended.
    pub fn local_address(&self, id: ConnectionId) -> Option<SocketAddr> {
        let connection = self.connections.get(&id)?;
        let own = self.own_like(connection.peer.vip)?;
        Some(SocketAddr::new(own, connection.local_port))
    }

    /// Waits for the backend to accept a connection.
    ///
    /// # Errors
    /// `ConnectionRefused` where the backend answered with a reset instead.
    pub fn poll_established(&mut self, id: ConnectionId, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(connection) = self.connections.get_mut(&id) else { return Poll::Ready(Err(is_gone())) };
        let Peer { vip, port, .. } = connection.peer;
        let socket = connection.socket();
        match socket.state() {
            State::SynSent | State::SynReceived => {
                socket.register_send_waker(cx.waker());
                Poll::Pending
            }
            State::Closed => {
                let to = SocketAddr::new(vip, port);
                let words = format!("the backend refused a connection to {to}: it answered with a reset");
                Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionRefused, words)))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Reads received bytes: none at the end of the backend's half.
    ///
    /// # Errors
    /// `ConnectionReset` where the backend reset the connection.
    pub fn poll_receive(
        &mut self,
        id: ConnectionId,
        buffer: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(connection) = self.connections.get_mut(&id) else { return Poll::Ready(Err(is_gone())) };
        let socket = connection.socket();
        let is_opening = matches!(socket.state(), State::SynSent | State::SynReceived);
        if is_opening || (socket.may_recv() && !socket.can_recv() && !buffer.is_empty()) {
            socket.register_recv_waker(cx.waker());
            return Poll::Pending;
        }
        match socket.recv_slice(buffer) {
            Ok(len) => {
                // There is room now, which the backend may wait for.
                self.schedule.set(id, Duration::ZERO);
                Poll::Ready(Ok(len))
            }
            Err(RecvError::Finished) => Poll::Ready(Ok(0)),
            Err(RecvError::InvalidState) => Poll::Ready(Err(was_reset())),
        }
    }

    /// Takes bytes to send, as many as there is room for.
    ///
    /// # Errors
    /// `ConnectionReset` where the backend reset the connection, `BrokenPipe` after [`ProbeTcp::close`].
    pub fn poll_send(
        &mut self,
        id: ConnectionId,
        bytes: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Some(connection) = self.connections.get_mut(&id) else { return Poll::Ready(Err(is_gone())) };
        let socket = connection.socket();
        match socket.state() {
            State::Closed => return Poll::Ready(Err(was_reset())),
            State::SynSent | State::SynReceived => {
                socket.register_send_waker(cx.waker());
                return Poll::Pending;
            }
            _ => {}
        }
        match socket.send_slice(bytes) {
            Ok(0) if !bytes.is_empty() => {
                socket.register_send_waker(cx.waker());
                Poll::Pending
            }
            Ok(len) => {
                self.schedule.set(id, Duration::ZERO);
                Poll::Ready(Ok(len))
            }
            Err(_) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Closes the sending half: bytes that were taken are sent, and then a FIN. The other half goes on.
    pub fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.socket().close();
        self.schedule.set(id, Duration::ZERO);
    }

    /// Aborts a connection, with a reset where the backend still has its half of it. The next [`ProbeTcp::poll`]
    /// sends the reset, and gives back the memory.
    pub fn abort(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.is_over = true;
        // In TIME-WAIT, both halves are closed.
        if connection.socket().is_open() {
            connection.socket().abort();
        }
        self.schedule.set(id, Duration::ZERO);
    }
}

fn was_reset() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the backend reset the connection")
}

fn is_gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection was aborted")
}

#[cfg(test)]
mod tests {
    use smoltcp::iface::SocketStorage;

    use super::*;

    #[test]
    fn beside_its_buffers_a_connection_costs_no_more_than_a_kib() {
        assert!(size_of::<Connection>() + size_of::<SocketStorage<'_>>() <= 1_024);
    }
}
