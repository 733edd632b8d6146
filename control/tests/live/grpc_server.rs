//! A backend's gRPC server: it answers `grpc.health.v1.Health/Check`, and nothing else.

use std::net::{Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use hyper::http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::address::GRPC;
use super::namespace::Namespace;
use super::server::{PAUSE, Server};

const SERVING: u8 = 1;
const NOT_SERVING: u8 = 2;
const OK: &str = "0";
const UNIMPLEMENTED: &str = "12";

#[derive(Debug)]
pub(crate) struct GrpcServer {
    serving: Arc<AtomicBool>,
    _server: Server,
}

impl GrpcServer {
    pub(crate) fn start(namespace: &Namespace) -> Self {
        let serving = Arc::new(AtomicBool::new(true));
        let told = Arc::clone(&serving);
        let server =
            Server::start(namespace, open, move |(runtime, listener)| accept(runtime, listener, &told));
        Self { serving, _server: server }
    }

    /// Whether it says that it serves.
    pub(crate) fn is_serving(&self, serving: bool) {
        // Relaxed: the flag carries nothing but itself.
        self.serving.store(serving, Ordering::Relaxed);
    }
}

fn open() -> (Runtime, TcpListener) {
    let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), GRPC);
    let listener = StdListener::bind(any).expect("nobody has the port");
    listener.set_nonblocking(true).expect("any socket can be told");
    let runtime = Builder::new_current_thread().enable_all().build().expect("the kernel has epoll");
    let entered = runtime.enter();
    let listener = TcpListener::from_std(listener).expect("it does not block");
    drop(entered);
    (runtime, listener)
}

/// Waits for a connection for a while, in which the others go on.
fn accept(runtime: &Runtime, listener: &TcpListener, serving: &Arc<AtomicBool>) {
    runtime.block_on(async {
        if let Ok(accepted) = timeout(PAUSE, listener.accept()).await {
            let (stream, _) = accepted.expect("a probe connects");
            tokio::spawn(converse(stream, Arc::clone(serving)));
        }
    });
}

async fn converse(stream: TcpStream, serving: Arc<AtomicBool>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, answer))) = connection.accept().await {
        // A probe that has gone hears no answer.
        tokio::spawn(reply(request, answer, serving.load(Ordering::Relaxed)));
    }
}

async fn reply(
    request: Request<RecvStream>,
    mut answer: SendResponse<Bytes>,
    serving: bool,
) -> Result<(), h2::Error> {
    let known = request.uri().path() == "/grpc.health.v1.Health/Check";
    let mut body = request.into_body();
    while let Some(piece) = body.data().await {
        let length = piece?.len();
        body.flow_control().release_capacity(length)?;
    }
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(if known { OK } else { UNIMPLEMENTED }));
    let mut stream = answer.send_response(response, false)?;
    if known {
        // Uncompressed, two bytes: field 1, a number.
        let state = if serving { SERVING } else { NOT_SERVING };
        stream.send_data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 1 << 3, state]), false)?;
    }
    stream.send_trailers(trailers)
}
