//! The admin interface's server: listens on a Unix socket, and answers until it is told to stop.

use std::io;
use std::path::Path;
use std::time::Duration;

use axum::Extension;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};

use super::capture_body::ServerStop;
use super::routes::router;
use super::socket::{ListenError, SocketFile, listen};
use crate::api::http_server::{Bounds, serve};
use crate::api::request::Request;
use crate::api::request_sender::RequestSender;

/// Bounds of the server: connections at once, and the time for a header.
const BOUNDS: Bounds =
    Bounds { connections: 64, header_time: Duration::from_secs(10), connection_time: None };

/// Admin interface that listens; its socket is removed with it.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
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
        let (listener, file) = listen(socket).await?;
        Ok(Self { listener, file })
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
        let routes = router(RequestSender::new(requests)).layer(Extension(ServerStop(stopping)));
        let listener = serve(listener, routes, BOUNDS, stop).await.into_std();
        ServedSocket { _listener: listener, _file: file }
    }
}

/// Socket on which nobody is answered any more. It is removed with this value, which needs no runtime.
#[derive(Debug)]
pub struct ServedSocket {
    _listener: io::Result<std::os::unix::net::UnixListener>,
    _file: SocketFile,
}
