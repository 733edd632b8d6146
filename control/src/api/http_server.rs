//! Serves routes over HTTP/1.1 on a listening socket, within bounds of number, size and time.

mod impatient_stream;
mod slots;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use impatient_stream::ImpatientStream;
use slots::{Admission, Slots};

pub(crate) use slots::{Shares, Standing};

/// Limits of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at once; a further one waits until one ends.
    pub(crate) shares: Shares,
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

/// Longest life of a stranger's connection: enough to be told that there is nothing for it.
const STRANGER_TIME: Duration = Duration::from_secs(2);

/// Client that has connected.
#[derive(Debug)]
pub(crate) struct Visitor<S, P> {
    /// Connection with the client.
    pub(crate) stream: S,
    /// Knowledge of the client.
    pub(crate) peer: P,
    /// Standing of the client.
    pub(crate) standing: Standing,
    /// Address that the client comes from; none of a Unix socket's.
    pub(crate) source: Option<IpAddr>,
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

/// Address of this machine that a client has connected to: one of several, where the listener is on all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalAddress(pub(crate) SocketAddr);

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Peer = LocalAddress;

    async fn accept(&self) -> io::Result<Visitor<TcpStream, LocalAddress>> {
        let (stream, address) = Self::accept(self).await?;
        let peer = LocalAddress(stream.local_addr()?);
        Ok(Visitor { stream, peer, standing: Standing::Anybody, source: Some(address.ip()) })
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
    let mut slots = Slots::new(bounds.shares);
    let http = protocol(bounds);
    let graceful = GracefulShutdown::new();
    let (mut connections, mut waiting) = (JoinSet::new(), JoinSet::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        let admitted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            Some(waited) = waiting.join_next() => waited.ok().flatten(),
            accepted = listener.accept() => match accepted.map(|visitor| slots.admit(visitor)) {
                Ok(Admission::Admitted(visitor, slot)) => Some((visitor, slot)),
                Ok(Admission::Waits(one)) => {
                    waiting.spawn(one.admitted());
                    None
                }
                Ok(Admission::Refused) => None,
                Err(_) => {
                    sleep(ACCEPT_PAUSE).await;
                    None
                }
            },
        };
        let Some((Visitor { stream, peer, standing, .. }, slot)) = admitted else { continue };
        let connection_time = match standing {
            Standing::Stranger => Some(STRANGER_TIME),
            _ => bounds.connection_time,
        };
        let service = service(routes.clone(), peer);
        let connection = graceful.watch(http.serve_connection(impatient(stream, bounds), service));
        connections.spawn(async move {
            // A connection that breaks or is late is the client's affair.
            let _ = match connection_time {
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
    // A connection that breaks or is late is the client's affair.
    let _ = protocol(bounds).serve_connection(impatient(stream, bounds), service(routes, peer)).await;
}

/// Service of one connection, whose requests have `peer` as an extension.
fn service<P: Clone + Send + Sync + 'static>(
    routes: Router,
    peer: P,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> {
    let routes = TowerToHyperService::new(routes);
    service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        routes.call(request)
    })
}

/// Stream that ends where its client does not read in time.
fn impatient<S: AsyncRead + AsyncWrite + Unpin>(stream: S, bounds: Bounds) -> TokioIo<ImpatientStream<S>> {
    TokioIo::new(ImpatientStream::new(stream, bounds.write_time))
}

/// HTTP/1.1 within the bounds of time and size.
fn protocol(bounds: Bounds) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.header_time).max_header_size(MAX_HEADER_BYTES);
    http
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::{Mutex, mpsc, oneshot};
    use tokio::time::Instant;

    use super::slots::WAIT_TIME;
    use super::*;

    const SHARES: Shares =
        Shares { everybody: 1, strangers: 0, kept: 0, of_one_source: 100, of_machine: 100 };

    const BOUNDS: Bounds = Bounds {
        shares: SHARES,
        header_time: Duration::from_secs(10),
        write_time: Duration::from_secs(15),
        connection_time: Some(Duration::from_secs(60)),
    };

    /// Client as a test sends it.
    type Knock = Visitor<DuplexStream, ()>;

    /// Accepts what a test sends to it.
    struct Door(Mutex<mpsc::Receiver<Knock>>);

    impl Listener for Door {
        type Stream = DuplexStream;
        type Peer = ();

        async fn accept(&self) -> io::Result<Visitor<DuplexStream, ()>> {
            match self.0.lock().await.recv().await {
                Some(visitor) => Ok(visitor),
                None => std::future::pending().await,
            }
        }
    }

    /// A server on a clock that jumps ahead when nobody has anything to do.
    struct Served {
        door: mpsc::Sender<Knock>,
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
            self.connect_as(Standing::Anybody).await
        }

        async fn connect_as(&self, standing: Standing) -> DuplexStream {
            self.connect_from(standing, None).await
        }

        async fn connect_from(&self, standing: Standing, source: Option<IpAddr>) -> DuplexStream {
            let (client, stream) = duplex(4096);
            let visitor = Visitor { stream, peer: (), standing, source };
            self.door.send(visitor).await.unwrap();
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

    const NEVER: &str = "GET /never HTTP/1.1\r\nhost: it\r\n\r\n";

    /// Asks once, and expects the answer at once.
    async fn is_served(client: &mut DuplexStream) {
        let before = Instant::now();
        ask(client, REQUEST).await;
        client.read_exact(&mut [0; 15]).await.unwrap();
        assert_eq!(before.elapsed().as_secs(), 0);
    }

    #[test]
    fn who_has_a_place_gets_it_while_others_hold_all_the_rest() {
        on_a_paused_clock(async {
            let served =
                Served::start_with(Bounds { shares: Shares { everybody: 2, kept: 1, ..SHARES }, ..BOUNDS });
            let mut stuck = Vec::new();
            // Two are served, two wait, and the others are closed at once.
            for _ in 0..5 {
                let mut client = served.connect().await;
                ask(&mut client, NEVER).await;
                stuck.push(client);
            }
            let before = Instant::now();
            let kept = [Standing::Owner, Standing::Reader, Standing::Writer];
            let mut operators = Vec::new();
            for standing in kept {
                let mut operator = served.connect_as(standing).await;
                is_served(&mut operator).await;
                operators.push(operator);
            }
            assert_eq!(rest(stuck.pop().unwrap()).await, "", "nobody holds a descriptor for nothing");
            assert_eq!(before.elapsed().as_secs(), 0);
            // Idle ones of a standing keep out their like alone.
            for (standing, operator) in kept.into_iter().zip(operators).rev() {
                let mut further = served.connect_as(standing).await;
                ask(&mut further, REQUEST).await;
                drop(operator);
                further.read_exact(&mut [0; 15]).await.unwrap();
            }
            assert_eq!(before.elapsed().as_secs(), 0);
            rest(stuck.pop().unwrap()).await;
            assert_eq!(before.elapsed(), WAIT_TIME);
        });
    }

    #[test]
    fn strangers_are_told_in_a_moment_and_take_nobodys_slot() {
        on_a_paused_clock(async {
            let served = Served::start_with(Bounds { shares: Shares { strangers: 2, ..SHARES }, ..BOUNDS });
            let before = Instant::now();
            let mut strangers = Vec::new();
            for _ in 0..9 {
                strangers.push(served.connect_as(Standing::Stranger).await);
            }
            is_served(&mut served.connect().await).await;
            for stranger in strangers.split_off(2) {
                assert_eq!(rest(stranger).await, "", "nobody waits to be told that there is nothing for him");
            }
            assert_eq!(before.elapsed().as_secs(), 0);
            is_served(&mut strangers[0]).await;
            for stranger in strangers {
                rest(stranger).await;
            }
            assert_eq!(before.elapsed(), STRANGER_TIME);
            is_served(&mut served.connect_as(Standing::Stranger).await).await;
        });
    }

    #[test]
    fn users_of_this_machine_are_many_and_leave_slots_to_others() {
        on_a_paused_clock(async {
            let shares = Shares { everybody: 4, of_one_source: 1, of_machine: 3, ..SHARES };
            let served = Served::start_with(Bounds { shares, ..BOUNDS });
            let connect = |text: &str| {
                served.connect_from(Standing::Anybody, Some(text.parse().expect("it is an address")))
            };
            let mut users = Vec::new();
            for address in ["127.0.0.1", "127.9.9.9", "::1"] {
                let mut user = connect(address).await;
                is_served(&mut user).await;
                users.push(user);
            }
            assert_eq!(rest(connect("::ffff:127.0.0.1").await).await, "");
            is_served(&mut connect("192.0.2.1").await).await;
        });
    }

    #[test]
    fn one_source_holds_a_part_of_all_slots() {
        on_a_paused_clock(async {
            let shares = Shares { everybody: 4, of_one_source: 2, ..SHARES };
            let served = Served::start_with(Bounds { shares, ..BOUNDS });
            let address = |text: &str| Some(text.parse().expect("it is an address"));
            for [first, second, third, other] in [
                ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.2"],
                ["2001:db8::1", "2001:db8::1:2:3:4", "2001:db8::5", "2001:db8:0:1::1"],
            ] {
                let before = Instant::now();
                let connect = |text| served.connect_from(Standing::Anybody, address(text));
                let (mut one, mut two) = (connect(first).await, connect(second).await);
                is_served(&mut one).await;
                is_served(&mut two).await;
                assert_eq!(rest(connect(third).await).await, "");
                is_served(&mut connect(other).await).await;
                drop(one);
                tokio::task::yield_now().await;
                sleep(Duration::from_millis(1)).await;
                is_served(&mut connect(third).await).await;
                assert_eq!(before.elapsed().as_secs(), 0);
                drop(two);
                sleep(Duration::from_millis(1)).await;
            }
        });
    }
}
