//! Serves routes over HTTP/1.1 on a listening socket, within bounds of number, size and time.

mod impatient_stream;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use impatient_stream::ImpatientStream;

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once; a further one waits until one ends, and so may as many.
    pub(crate) connections: usize,
    /// Connections among these that are kept for clients who have a place.
    pub(crate) reserved: usize,
    /// Longest wait of a write for the client to read.
    pub(crate) write_time: Duration,
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

/// Longest wait of a connection for a slot.
const WAIT_TIME: Duration = Duration::from_secs(30);

/// Client that has connected.
#[derive(Debug)]
pub(crate) struct Visitor<S, P> {
    /// Connection with the client.
    pub(crate) stream: S,
    /// Knowledge of the client.
    pub(crate) peer: P,
    /// True if the client may take a slot that is reserved.
    pub(crate) has_place: bool,
}

/// Socket that listens.
pub(crate) trait Listener {
    /// Type of an accepted connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// Type of what is known of a client.
    type Peer: Clone + Send + Sync + 'static;

    /// Waits for the next connection.
    fn accept(&self) -> impl Future<Output = io::Result<Visitor<Self::Stream, Self::Peer>>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Peer = ();

    async fn accept(&self) -> io::Result<Visitor<TcpStream, ()>> {
        Self::accept(self).await.map(|(stream, _)| Visitor { stream, peer: (), has_place: false })
    }
}

/// Serves `routes` until `stop` comes; then no connection is accepted any more, and answers that were begun
/// have some seconds to end. The socket is returned: its owner closes it last. Requests have their client's
/// [`Listener::Peer`] as an extension.
pub(crate) async fn serve<L: Listener>(
    listener: L,
    routes: Router,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
) -> L {
    let slots = Slots::new(bounds);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.header_time).max_header_size(MAX_HEADER_BYTES);
    let graceful = GracefulShutdown::new();
    let (mut connections, mut waiting) = (JoinSet::new(), JoinSet::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        let admitted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            Some(waited) = waiting.join_next() => waited.ok().flatten(),
            accepted = listener.accept() => match accepted {
                Ok(visitor) => match slots.at_once(visitor.has_place) {
                    Some(slot) => Some((visitor, slot)),
                    None => {
                        // A connection too many is closed at once, so that it takes no descriptor.
                        if waiting.len() < bounds.connections || visitor.has_place {
                            waiting.spawn(slots.clone().admit(visitor));
                        }
                        None
                    }
                },
                Err(_) => {
                    sleep(ACCEPT_PAUSE).await;
                    None
                }
            },
        };
        let Some((Visitor { stream, peer, .. }, slot)) = admitted else { continue };
        let routes = TowerToHyperService::new(routes.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert::<L::Peer>(Clone::clone(&peer));
            routes.call(request)
        });
        let stream = TokioIo::new(ImpatientStream::new(stream, bounds.write_time));
        let connection = graceful.watch(http.serve_connection(stream, service));
        connections.spawn(async move {
            // A connection that breaks or is late is the client's affair.
            let _ = match bounds.connection_time {
                Some(time) => timeout(time, connection).await.unwrap_or(Ok(())),
                None => connection.await,
            };
            drop(slot);
        });
    }
    drop(waiting);
    // Those that are not done by then end with `connections`.
    let _ = timeout(STOP_TIME, graceful.shutdown()).await;
    listener
}

/// Serves one client within the bounds of time, until either side ends the conversation. Requests have `peer` as an extension.
pub(crate) async fn serve_client<S, P>(stream: S, peer: P, routes: Router, bounds: Bounds)
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: Clone + Send + Sync + 'static,
{
    let routes = TowerToHyperService::new(routes);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        routes.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.header_time).max_header_size(MAX_HEADER_BYTES);
    let stream = TokioIo::new(ImpatientStream::new(stream, bounds.write_time));
    // A connection that breaks or is late is the client's affair.
    let _ = http.serve_connection(stream, service).await;
}

/// Slots of connections: some are for those alone who have a place.
#[derive(Clone)]
struct Slots {
    everybody: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    patience: Duration,
}

impl Slots {
    fn new(bounds: Bounds) -> Self {
        let everybody = bounds.connections - bounds.reserved;
        Self {
            everybody: Arc::new(Semaphore::new(everybody)),
            reserved: Arc::new(Semaphore::new(bounds.reserved)),
            patience: WAIT_TIME,
        }
    }

    /// Slot that is free now, and that nobody waits for.
    fn at_once(&self, has_place: bool) -> Option<OwnedSemaphorePermit> {
        let of_all = Arc::clone(&self.everybody).try_acquire_owned().ok();
        of_all.or_else(|| has_place.then(|| Arc::clone(&self.reserved).try_acquire_owned().ok())?)
    }

    /// Waits for a slot; none where that takes too long.
    async fn admit<S, P>(self, visitor: Visitor<S, P>) -> Option<(Visitor<S, P>, OwnedSemaphorePermit)> {
        let Self { everybody, reserved, patience } = self;
        let reserved = async {
            if !visitor.has_place {
                std::future::pending::<()>().await;
            }
            reserved.acquire_owned().await
        };
        let slot = async {
            tokio::select! {
                biased;
                slot = everybody.acquire_owned() => slot,
                slot = reserved => slot,
            }
        };
        let slot = timeout(patience, slot).await.ok()?.expect("nobody closes a semaphore");
        Some((visitor, slot))
    }
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
        reserved: 0,
        header_time: Duration::from_secs(10),
        write_time: Duration::from_secs(15),
        connection_time: Some(Duration::from_secs(60)),
    };

    /// Accepts what a test sends to it, with true for a client that has a place.
    struct Door(Mutex<mpsc::Receiver<(DuplexStream, bool)>>);

    impl Listener for Door {
        type Stream = DuplexStream;
        type Peer = ();

        async fn accept(&self) -> io::Result<Visitor<DuplexStream, ()>> {
            match self.0.lock().await.recv().await {
                Some((stream, has_place)) => Ok(Visitor { stream, peer: (), has_place }),
                None => std::future::pending().await,
            }
        }
    }

    /// A server on a clock that jumps ahead when nobody has anything to do.
    struct Served {
        door: mpsc::Sender<(DuplexStream, bool)>,
        stop: oneshot::Sender<()>,
        server: tokio::task::JoinHandle<Door>,
    }

    impl Served {
        fn start() -> Self {
            Self::start_with(BOUNDS)
        }

        fn start_with(bounds: Bounds) -> Self {
            let ((door, knocks), (stop, stopped)) = (mpsc::channel(8), oneshot::channel::<()>());
            let never = get(std::future::pending::<()>);
            let large = get(|| async { "x".repeat(1 << 20) });
            let routes = Router::new().route("/", get("here")).route("/never", never).route("/large", large);
            let stopped = async { drop(stopped.await) };
            let server = tokio::spawn(serve(Door(Mutex::new(knocks)), routes, bounds, stopped));
            Self { door, stop, server }
        }

        async fn connect(&self) -> DuplexStream {
            self.connect_as(false).await
        }

        async fn connect_as(&self, has_place: bool) -> DuplexStream {
            let (client, server) = duplex(4096);
            self.door.send((server, has_place)).await.unwrap();
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

    const LARGE: &str = "GET /large HTTP/1.1\r\nhost: it\r\nconnection: close\r\n\r\n";

    #[test]
    fn a_client_that_does_not_read_is_cut_and_a_slow_one_is_not() {
        on_a_paused_clock(async {
            let served = Served::start_with(Bounds { connection_time: None, ..BOUNDS });
            let before = Instant::now();
            let mut deaf = served.connect().await;
            ask(&mut deaf, LARGE).await;
            let mut next = served.connect().await;
            ask(&mut next, REQUEST).await;
            next.read_exact(&mut [0; 15]).await.unwrap();
            assert_eq!(before.elapsed().as_secs(), 15, "its slot is free then");
            drop(next);
            assert!(rest(deaf).await.len() < 1 << 20, "it does not get the rest");

            let mut slow = served.connect().await;
            ask(&mut slow, LARGE).await;
            for seconds in (14..300).step_by(14) {
                sleep(Duration::from_secs(14)).await;
                let read = slow.read(&mut [0; 65_536]).await.unwrap();
                assert!(read > 0, "it is cut after {seconds} seconds");
            }
        });
    }

    #[test]
    fn who_has_a_place_gets_it_while_others_hold_all_the_rest() {
        on_a_paused_clock(async {
            let served = Served::start_with(Bounds { connections: 3, reserved: 1, ..BOUNDS });
            let mut stuck = Vec::new();
            // Two are served, three wait, and the others are closed at once.
            for _ in 0..6 {
                let mut client = served.connect().await;
                ask(&mut client, "GET /never HTTP/1.1\r\nhost: it\r\n\r\n").await;
                stuck.push(client);
            }
            let before = Instant::now();
            let mut operator = served.connect_as(true).await;
            ask(&mut operator, REQUEST).await;
            operator.read_exact(&mut [0; 15]).await.unwrap();
            assert_eq!(before.elapsed().as_secs(), 0);
            assert_eq!(rest(stuck.pop().unwrap()).await, "", "nobody holds a descriptor for nothing");
            assert_eq!(before.elapsed().as_secs(), 0);
            rest(stuck.pop().unwrap()).await;
            assert_eq!(before.elapsed(), WAIT_TIME);
        });
    }
}
