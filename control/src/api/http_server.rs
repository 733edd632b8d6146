//! Serves routes over HTTP/1.1 on a listening socket, within bounds of number, size and time.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once; a further one waits until one ends.
    pub(crate) connections: usize,
    /// Longest wait for a request's header. An idle connection ends after it too.
    pub(crate) header_time: Duration,
    /// Longest life of a connection, whatever it does.
    pub(crate) connection_time: Option<Duration>,
}

/// Longest request line with its headers.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Time that answers already begun have to end once the server stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// Pause after a connection could not be accepted, as when no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Socket that listens.
pub(crate) trait Listener {
    /// Type of an accepted connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Listener for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        Self::accept(self).await.map(|(stream, _)| stream)
    }
}

/// Serves `routes` until `stop` comes; then no connection is accepted any more, and answers that were begun
/// have some seconds to end. The socket is returned: its owner closes it last.
pub(crate) async fn serve<L: Listener>(
    listener: L,
    routes: Router,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
) -> L {
    let permits = Arc::new(Semaphore::new(bounds.connections));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.header_time).max_header_size(MAX_HEADER_BYTES);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let permit = Arc::clone(&permits).acquire_owned().await.expect("nobody closes the semaphore");
            (listener.accept().await, permit)
        };
        let (stream, permit) = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            next = next => next,
        };
        let Ok(stream) = stream else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let service = TowerToHyperService::new(routes.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async move {
            // A connection that breaks or is late is the client's affair.
            let _ = match bounds.connection_time {
                Some(time) => timeout(time, connection).await.unwrap_or(Ok(())),
                None => connection.await,
            };
            drop(permit);
        });
    }
    // Those that are not done by then end with `connections`.
    let _ = timeout(STOP_TIME, graceful.shutdown()).await;
    listener
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::{Mutex, mpsc, oneshot};
    use tokio::time::Instant;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        connections: 1,
        header_time: Duration::from_secs(10),
        connection_time: Some(Duration::from_secs(60)),
    };

    /// Accepts what a test sends to it.
    struct Door(Mutex<mpsc::Receiver<DuplexStream>>);

    impl Listener for Door {
        type Stream = DuplexStream;

        async fn accept(&self) -> io::Result<DuplexStream> {
            match self.0.lock().await.recv().await {
                Some(stream) => Ok(stream),
                None => std::future::pending().await,
            }
        }
    }

    /// A server on a clock that jumps ahead when nobody has anything to do.
    struct Served {
        door: mpsc::Sender<DuplexStream>,
        stop: oneshot::Sender<()>,
        server: tokio::task::JoinHandle<Door>,
    }

    impl Served {
        fn start() -> Self {
            let ((door, knocks), (stop, stopped)) = (mpsc::channel(8), oneshot::channel::<()>());
            let never = get(std::future::pending::<()>);
            let routes = Router::new().route("/", get("here")).route("/never", never);
            let stopped = async { drop(stopped.await) };
            let server = tokio::spawn(serve(Door(Mutex::new(knocks)), routes, BOUNDS, stopped));
            Self { door, stop, server }
        }

        async fn connect(&self) -> DuplexStream {
            let (client, server) = duplex(4096);
            self.door.send(server).await.unwrap();
            client
        }
    }

    async fn ask(stream: &mut DuplexStream, request: &str) {
        stream.write_all(request.as_bytes()).await.unwrap();
    }

    async fn rest(mut stream: DuplexStream) -> String {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text).await;
        text
    }

    fn on_a_paused_clock(test: impl Future<Output = ()>) {
        let builder = &mut tokio::runtime::Builder::new_current_thread();
        let test = async { timeout(Duration::from_secs(600), test).await.expect("an end in time") };
        builder.enable_time().start_paused(true).build().unwrap().block_on(test);
    }

    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: it\r\n\r\n";

    #[test]
    fn a_header_that_does_not_come_ends_its_connection() {
        on_a_paused_clock(async {
            let served = Served::start();
            let before = Instant::now();
            let mut slow = served.connect().await;
            ask(&mut slow, "GET / HTTP/1.1\r\nhost").await;
            rest(slow).await;
            assert_eq!(before.elapsed().as_secs(), BOUNDS.header_time.as_secs());
        });
    }

    #[test]
    fn who_comes_after_the_last_place_waits_until_one_is_free() {
        on_a_paused_clock(async {
            let served = Served::start();
            let first = served.connect().await;
            let mut second = served.connect().await;
            ask(&mut second, REQUEST).await;
            let mut answer = [0; 15];
            let waited = timeout(Duration::from_secs(5), second.read_exact(&mut answer)).await;
            assert!(waited.is_err(), "the first holds the only connection");
            drop(first);
            second.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
        });
    }

    #[test]
    fn a_connection_has_its_time() {
        on_a_paused_clock(async {
            let served = Served::start();
            let before = Instant::now();
            let mut stuck = served.connect().await;
            ask(&mut stuck, "GET /never HTTP/1.1\r\nhost: it\r\n\r\n").await;
            rest(stuck).await;
            assert_eq!(before.elapsed().as_secs(), 60);
        });
    }

    #[test]
    fn a_server_that_stops_ends_idle_connections_at_once_and_others_after_a_while() {
        on_a_paused_clock(async {
            let served = Served::start();
            let mut idle = served.connect().await;
            ask(&mut idle, REQUEST).await;
            idle.read_exact(&mut [0; 15]).await.unwrap();
            let before = Instant::now();
            served.stop.send(()).unwrap();
            served.server.await.unwrap();
            assert_eq!(before.elapsed().as_secs(), 0);

            let served = Served::start();
            let mut busy = served.connect().await;
            ask(&mut busy, "GET /never HTTP/1.1\r\nhost: it\r\n\r\n").await;
            sleep(Duration::from_millis(1)).await;
            let before = Instant::now();
            served.stop.send(()).unwrap();
            sleep(Duration::from_secs(1)).await;
            assert!(!served.door.is_closed(), "the socket goes last");
            let listener = served.server.await.unwrap();
            assert_eq!(before.elapsed().as_secs(), STOP_TIME.as_secs());
            assert!(!served.door.is_closed(), "whoever has it closes it");
            drop(listener);
            assert!(served.door.is_closed());
        });
    }
}
