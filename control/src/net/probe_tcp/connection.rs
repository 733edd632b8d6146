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

/// The time that a backend has to close its half of a connection whose owner is done with it; then it is reset. A FIN that
/// is lost is sent again after a second (RFC 6298, section 2).
pub const CLOSING_TIME: Duration = Duration::from_secs(3);

/// The time for which a connection that both ends have closed answers a FIN that comes again, as the last
/// acknowledgement may be lost or delayed. Its port stays in TIME-WAIT for longer.
const LAST_WORDS_TIME: Duration = Duration::from_millis(50);

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
    /// End of the time to close in order, once the owner is done with the connection.
    pub(super) closes_until: Option<Duration>,
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
        Self { peer, local_port, sockets, socket, closes_until: None, is_over: false }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    /// Goes on with closing in order: what still comes is thrown away, a FIN that acknowledges it is waited for, and a
    /// backend that takes too long is given up.
    pub(super) fn go_on_closing(&mut self, now: Duration) {
        let Some(until) = self.closes_until else { return };
        let socket = self.socket();
        while socket.can_recv() && socket.recv(|bytes| (bytes.len(), ())).is_ok() {}
        let state = socket.state();
        let has_closed = state == State::TimeWait;
        if has_closed {
            self.closes_until = Some(until.min(now + LAST_WORDS_TIME));
        }
        if state == State::Closed || now >= until {
            self.give_up();
        }
    }

    /// Ends the connection, with a reset where the backend still has its half of it.
    fn give_up(&mut self) {
        self.is_over = true;
        // In TIME-WAIT, both halves are closed.
        if self.socket().is_open() {
            self.socket().abort();
        }
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
        connection.give_up();
        self.schedule.set(id, Duration::ZERO);
    }

    /// Closes a connection in order, for an owner who has heard enough: a FIN, and a reset only where the backend has not
    /// closed its half within [`CLOSING_TIME`]. What the backend still says is not kept.
    pub fn finish(&mut self, id: ConnectionId, now: Duration) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.is_over {
            connection.socket().close();
            connection.closes_until = Some(now + CLOSING_TIME);
        }
        self.schedule.set(id, Duration::ZERO);
    }

    /// Gives up the connection that has been closing for longest, to make room for another.
    pub(super) fn hurry(&mut self, now: Duration) {
        let closing = self.connections.iter().filter_map(|(id, one)| Some((one.closes_until?, *id)));
        if let Some((_, id)) = closing.min() {
            self.abort(id);
            self.poll(now);
        }
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
