//! One connection: its socket, and what its owner reads, writes and waits for.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{RecvError, Socket, SocketBuffer, State};

use super::{Peer, ProbeTcp, set_due};

/// Bytes that a connection receives before they are read.
pub const RECEIVE_BUFFER: usize = 4_096;

/// Bytes that a connection holds until they are acknowledged.
pub const SEND_BUFFER: usize = 2_048;

/// Names a connection; no other gets its name later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

impl ConnectionId {
    /// After all others.
    pub(super) const LAST: Self = Self(u64::MAX);
}

/// One connection.
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) local_port: u16,
    /// Holds one socket, made anew: smoltcp's leave some of what they learned of one peer for the next.
    pub(super) sockets: SocketSet<'static>,
    socket: SocketHandle,
    /// When it has something to do next: its place among the timers.
    pub(super) due: Option<Duration>,
    /// Nobody wants it any more: it goes once it is polled.
    pub(super) is_over: bool,
}

impl Connection {
    /// Begins one from an own address and port that `peer` can be reached from.
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
        Self { peer, local_port, sockets, socket, due: None, is_over: false }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }
}

impl ProbeTcp {
    /// The appliance's end of a connection; none where it has ended.
    pub fn local_address(&self, id: ConnectionId) -> Option<SocketAddr> {
        let connection = self.connections.get(&id)?;
        let own = self.own.like(connection.peer.vip)?;
        Some(SocketAddr::new(own, connection.local_port))
    }

    /// Waits for the backend to accept a connection.
    ///
    /// # Errors
    /// `ConnectionRefused` where it was reset instead.
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

    /// Reads what came: 0 bytes at its end.
    ///
    /// # Errors
    /// `ConnectionReset` where the backend reset it.
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
                set_due(&mut self.timers, connection, id, Some(Duration::ZERO));
                Poll::Ready(Ok(len))
            }
            Err(RecvError::Finished) => Poll::Ready(Ok(0)),
            Err(RecvError::InvalidState) => Poll::Ready(Err(was_reset())),
        }
    }

    /// Takes bytes to send, as many as there is room for.
    ///
    /// # Errors
    /// `ConnectionReset` where the backend reset it, `BrokenPipe` after [`ProbeTcp::close`].
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
                set_due(&mut self.timers, connection, id, Some(Duration::ZERO));
                Poll::Ready(Ok(len))
            }
            Err(_) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Ends the sending half: what was taken is sent, and then a FIN. The other half goes on.
    pub fn close(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.socket().close();
        set_due(&mut self.timers, connection, id, Some(Duration::ZERO));
    }

    /// Ends a connection, with a reset where the backend still has its half of it. The next [`ProbeTcp::poll`]
    /// sends that, and gives back the memory.
    pub fn abort(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.is_over = true;
        // In TIME-WAIT, both halves are closed.
        if connection.socket().is_open() {
            connection.socket().abort();
        }
        set_due(&mut self.timers, connection, id, Some(Duration::ZERO));
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
