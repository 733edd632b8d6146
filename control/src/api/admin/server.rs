//! The admin interface's server: listens on a Unix socket, and answers until it is told to stop.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::{Extension, Router, middleware};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};

use super::capture_body::ServerStop;
use super::guard::guarded;
use super::peer::{AccessRules, Peer};
use super::routes::router;
use super::socket::{ListenError, SocketFile, find, listen};
use crate::api::http_server::{Bounds, Listener, Shares, Visitor, serve, serve_client};
use crate::api::request::Request;
use crate::api::request_sender::RequestSender;

/// Bounds of the server: connections at once, and the time for a header.
const BOUNDS: Bounds = Bounds {
    shares: Shares {
        everybody: 40,
        strangers: 4,
        kept: 8,
        of_one_source: usize::MAX,
        of_machine: usize::MAX,
    },
    header_time: Duration::from_secs(10),
    write_time: Duration::from_secs(10),
    connection_time: None,
};

/// Admin interface that listens; its socket is removed with it.
#[derive(Debug)]
pub struct Server {
    listener: GuardedListener,
    file: SocketFile,
}

/// Socket that listens, and the rights of those who connect.
#[derive(Debug)]
struct GuardedListener {
    socket: UnixListener,
    rules: AccessRules,
}

impl Listener for GuardedListener {
    type Stream = UnixStream;
    type Peer = Option<Peer>;

    async fn accept(&self) -> io::Result<Visitor<UnixStream, Option<Peer>>> {
        let (stream, _) = self.socket.accept().await?;
        let peer = Peer::of(&stream);
        let standing = self.rules.standing(peer.as_ref());
        Ok(Visitor { stream, peer, standing, source: None })
    }
}

impl Server {
    /// Listens on `socket`, for owner and group. Makes its directory, and removes a socket that nobody
    /// answers on.
    ///
    /// # Errors
    /// [`ListenError`], which names the remedy.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn bind(socket: &Path) -> Result<Self, ListenError> {
        Self::bind_for(socket, AccessRules::new(None, None)).await
    }

    /// Listens on `socket` as [`Self::bind`] does, for the peers of these rules: where they differ in their rights, anybody
    /// may connect, and is judged by user and groups.
    ///
    /// # Errors
    /// [`ListenError`], which names the remedy.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn bind_for(socket: &Path, rules: AccessRules) -> Result<Self, ListenError> {
        let (socket, file) = listen(socket, rules.are_restricted()).await?;
        Ok(Self { listener: GuardedListener { socket, rules }, file })
    }

    /// Looks if nobody listens on `socket`, and changes nothing: somebody may come before [`Self::bind`].
    ///
    /// # Errors
    /// [`ListenError`], which names the remedy.
    ///
    /// # Panics
    /// Outside of a tokio runtime with I/O.
    pub async fn look(socket: &Path) -> Result<(), ListenError> {
        find(socket).await.map(drop)
    }

    /// Passes requests of clients on to `requests` and replies back, until `stop` comes, and for up to five
    /// seconds more.
    ///
    /// A client that has asked the appliance to stop waits for the end of the socket, which comes back: drop
    /// it last.
    pub async fn serve(
        self,
        requests: mpsc::Sender<Request>,
        stop: impl Future<Output = ()>,
    ) -> ServedSocket {
        let Self { listener, file } = self;
        let (running, stopping) = watch::channel(());
        let stop = async {
            stop.await;
            // Captures end with it.
            drop(running);
        };
        let routes = guarded_routes(requests, listener.rules.clone(), ServerStop(stopping));
        let listener = serve(listener, routes, BOUNDS, stop).await.socket.into_std();
        ServedSocket { _listener: listener, _file: file }
    }
}

/// Routes behind the guard that judges peers by these rules.
fn guarded_routes(requests: mpsc::Sender<Request>, rules: AccessRules, stop: ServerStop) -> Router {
    let guard = middleware::from_fn_with_state(rules, guarded);
    router(RequestSender::new(requests)).layer(Extension(stop)).layer(guard)
}

/// Serves one client on a stream that is no socket, until either side ends the conversation; a client who may not change
/// anything may only look.
pub async fn serve_stream(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    may_change: bool,
    requests: mpsc::Sender<Request>,
) {
    let (_running, stopping) = watch::channel(());
    let (write_group, read_group) = (1, 2);
    let rules = AccessRules::new(Some(write_group), Some(read_group));
    let peer = Peer::of_group(if may_change { write_group } else { read_group });
    let routes = guarded_routes(requests, rules, ServerStop(stopping));
    serve_client(stream, Some(peer), routes, BOUNDS).await;
}

/// Socket on which nobody is answered any more. It is removed with this value, which needs no runtime.
#[derive(Debug)]
pub struct ServedSocket {
    _listener: io::Result<std::os::unix::net::UnixListener>,
    _file: SocketFile,
}
