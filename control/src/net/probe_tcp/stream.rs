//! A connection as tokio reads and writes it, on one thread.

use std::cell::{RefCell, RefMut};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::connection::ConnectionId;
use super::datagrams::{Datagrams, FlowId};
use super::{ConnectError, OutgoingPacket, Peer, ProbeTcp};

/// A [`ProbeTcp`] that the streams and the owner's loop share on one thread.
///
/// The loop hands in what was received, polls, and takes what is to be delivered: whenever something was
/// received, when it is [`Handle::wanted`], and when [`Handle::next_poll`] says so.
#[derive(Clone)]
pub struct Handle {
    shared: Rc<Shared>,
}

struct Shared {
    stack: RefCell<ProbeTcp>,
    datagrams: RefCell<Datagrams>,
    /// Shared by the stacks of all networks.
    wanted: Rc<Notify>,
    /// The moment at which the stack's time began.
    epoch: Instant,
}

impl Handle {
    /// Shares `stack`, whose time begins now.
    pub fn new(stack: ProbeTcp) -> Self {
        Self::woken_by(stack, Rc::default())
    }

    /// Shares the `stack` of another network, whose time begins now: who waits until one of the two is [wanted](Self::wanted)
    /// waits for both.
    #[must_use]
    pub fn beside(&self, stack: ProbeTcp) -> Self {
        Self::woken_by(stack, Rc::clone(&self.shared.wanted))
    }

    fn woken_by(stack: ProbeTcp, wanted: Rc<Notify>) -> Self {
        let epoch = Instant::now();
        let datagrams = RefCell::new(Datagrams::new(stack.own, stack.limits.queued_packets));
        let stack = RefCell::new(stack);
        Self { shared: Rc::new(Shared { stack, datagrams, wanted, epoch }) }
    }

    /// Takes in a received packet: an answer by UDP, or else [`ProbeTcp::handle`] at the present time.
    pub fn receive(&self, ip_packet: &[u8]) {
        if !self.shared.datagrams.borrow_mut().handle(ip_packet) {
            self.stack().handle(ip_packet, self.now());
        }
    }

    /// Sends what is due: [`ProbeTcp::poll`] at the present time.
    pub fn poll(&self) {
        self.stack().poll(self.now());
    }

    /// The moment at which the next poll is due, which may be past: [`ProbeTcp::next_poll`].
    pub fn next_poll(&self) -> Option<Instant> {
        Some(self.shared.epoch + self.stack().next_poll()?)
    }

    /// The next packet to deliver: a datagram, or that of [`ProbeTcp::transmit`].
    pub fn transmit(&self) -> Option<OutgoingPacket> {
        let datagram = self.shared.datagrams.borrow_mut().transmit();
        datagram.or_else(|| self.stack().transmit())
    }

    /// Number of connections: [`ProbeTcp::connections`].
    pub fn connections(&self) -> usize {
        self.stack().connections()
    }

    /// Waits until a stream has something to send.
    pub async fn wanted(&self) {
        self.shared.wanted.notified().await;
    }

    /// The stack; the borrow ends before anything is awaited, and before anybody else's code runs: to wake a task of
    /// tokio's is not to run it.
    fn stack(&self) -> RefMut<'_, ProbeTcp> {
        self.shared.stack.borrow_mut()
    }

    fn now(&self) -> Duration {
        self.shared.epoch.elapsed()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

/// A datagram to a VIP at one backend, whose answers are waited for until this is dropped.
pub struct Datagram {
    handle: Handle,
    id: FlowId,
}

impl Datagram {
    /// Sends a datagram.
    ///
    /// # Errors
    /// [`ConnectError`] where the appliance itself has no way to try.
    pub fn send(handle: &Handle, peer: Peer, payload: &[u8]) -> Result<Self, ConnectError> {
        let mut datagrams = handle.shared.datagrams.borrow_mut();
        let id = datagrams.open(peer)?;
        datagrams.send(id, payload);
        handle.shared.wanted.notify_one();
        Ok(Self { handle: handle.clone(), id })
    }

    /// Waits for the next answer, without a time limit: the caller has a timeout.
    pub async fn answer(&self) -> Vec<u8> {
        poll_fn(|cx| self.handle.shared.datagrams.borrow_mut().poll_answer(self.id, cx)).await
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        self.handle.shared.datagrams.borrow_mut().close(self.id);
    }
}

/// A connection to a VIP at one backend; dropped, it is aborted, unless it was finished.
pub struct Stream {
    handle: Handle,
    id: ConnectionId,
    is_finished: bool,
}

impl Stream {
    /// Connects to a VIP at one backend, without a time limit: the caller has a timeout.
    ///
    /// # Errors
    /// `ConnectionRefused` where the backend answers with a reset, and [`super::ConnectError`] inside of an
    /// error of another kind where the appliance has no way to try.
    pub async fn connect(handle: &Handle, peer: Peer) -> io::Result<Self> {
        let id = handle.stack().connect(peer, handle.now()).map_err(io::Error::other)?;
        let stream = Self { handle: handle.clone(), id, is_finished: false };
        handle.shared.wanted.notify_one();
        poll_fn(|cx| stream.handle.stack().poll_established(id, cx)).await?;
        Ok(stream)
    }

    /// The appliance's end of the connection; `None` where it has ended.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.handle.stack().local_address(self.id)
    }

    /// Closes the connection in order, in the background: see [`ProbeTcp::finish`].
    pub fn finish(mut self) {
        self.is_finished = true;
        let now = self.handle.now();
        self.act(|stack, id| stack.finish(id, now));
    }

    /// Calls `act`, after which the connection may have something to send.
    fn act<R>(&self, act: impl FnOnce(&mut ProbeTcp, ConnectionId) -> R) -> R {
        let result = act(&mut self.handle.stack(), self.id);
        self.handle.shared.wanted.notify_one();
        result
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let unfilled = buffer.initialize_unfilled();
        let len = ready!(self.act(|stack, id| stack.poll_receive(id, unfilled, cx)))?;
        buffer.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.act(|stack, id| stack.poll_send(id, bytes, cx))
    }

    /// Does nothing: written bytes are sent without a flush.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Closes the sending half, and does not wait for the backend to acknowledge what was written.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.act(ProbeTcp::close);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_finished {
            self.act(ProbeTcp::abort);
        }
    }
}
