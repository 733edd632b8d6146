//! Connections as tokio's streams, with the owner's loop beside them, on tokio's paused clock.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use guideway::net::probe_tcp::{ConnectError, Handle, Limits, Peer, ProbeTcp, Stream};
use guideway_dataplane::backend::BackendHandle;
use smoltcp::socket::tcp::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::far_end::FarEnd;
use crate::lab::{PORT, own, peer, vip};

/// An owner whose packets all go to one backend, which answers at once.
async fn own_and_answer(handle: Handle, far: Rc<RefCell<FarEnd>>) {
    let epoch = Instant::now();
    loop {
        let now = epoch.elapsed();
        // Until nothing moves: an answer may bring another packet.
        loop {
            handle.poll();
            let outgoing = handle.transmit();
            let answers = far.borrow_mut().turn(outgoing.as_ref().map(|it| it.packet.as_slice()), now);
            for answer in &answers {
                handle.receive(answer);
            }
            if outgoing.is_none() && answers.is_empty() {
                break;
            }
        }
        let far_due = far.borrow_mut().next(now).map(|due| epoch + due);
        let due = [handle.next_poll(), far_due].into_iter().flatten().min();
        tokio::select! {
            () = handle.wanted() => {}
            () = sleep_until(due.unwrap_or(epoch)), if due.is_some() => {}
        }
    }
}

/// Runs a probe of a backend, and gives what is left of the connections and the backend.
fn with_backend<T>(far: FarEnd, limits: Limits, probe: impl AsyncFnOnce(Handle) -> T) -> (T, Handle, FarEnd) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let far = Rc::new(RefCell::new(far));
    let (result, handle) = LocalSet::new().block_on(&runtime, async {
        let handle = Handle::new(ProbeTcp::new(own(), 3, limits));
        let owner = tokio::task::spawn_local(own_and_answer(handle.clone(), far.clone()));
        let result = probe(handle.clone()).await;
        // The owner gets to send what the last stream left.
        tokio::time::sleep(Duration::from_millis(1)).await;
        owner.abort();
        assert!(owner.await.unwrap_err().is_cancelled());
        (result, handle)
    });
    (result, handle, Rc::into_inner(far).expect("the owner's loop is over").into_inner())
}

#[test]
fn a_stream_writes_a_request_and_reads_the_answer_to_its_end() {
    let answer: Vec<u8> = (0..20_000).map(|index| index as u8).collect();
    let far = FarEnd::new(vip(), PORT, 1, &answer);
    let request = [&[b'x'; 9_000][..], b"\n"].concat();
    let (heard, handle, far) = with_backend(far, Limits::default(), async |handle| {
        let mut stream = Stream::connect(&handle, peer(1)).await.unwrap();
        stream.write_all(&request).await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        heard
    });
    assert_eq!(heard, answer);
    assert_eq!(far.requests().collect::<Vec<_>>(), [request.as_slice()]);
    assert_eq!(handle.connections(), 0, "the stream was dropped");
}

#[test]
fn a_stream_that_is_dropped_resets_its_connection() {
    let far = FarEnd::new(vip(), PORT, 1, b"well");
    let ((), handle, far) = with_backend(far, Limits::default(), async |handle| {
        let stream = Stream::connect(&handle, peer(1)).await.unwrap();
        assert_eq!(handle.connections(), 1);
        drop(stream);
    });
    assert_eq!((handle.connections(), far.state()), (0, State::Closed));
}

#[test]
fn a_stream_that_is_finished_closes_its_connection_and_makes_room_for_another() {
    let far = FarEnd::new(vip(), PORT, 2, b"well");
    let limits = Limits { connections: 1, ..Limits::default() };
    let ((), handle, far) = with_backend(far, limits, async |handle| {
        let stream = Stream::connect(&handle, peer(1)).await.unwrap();
        stream.finish();
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(handle.connections(), 1, "the server has not closed its half");
        drop(Stream::connect(&handle, peer(1)).await.unwrap());
    });
    assert_eq!((handle.connections(), far.state()), (0, State::Closed));
}

#[test]
fn a_connection_that_is_refused_says_so() {
    let far = FarEnd::new(vip(), PORT, 0, b"");
    let (error, handle, _) = with_backend(far, Limits::default(), async |handle| {
        Stream::connect(&handle, peer(1)).await.err().expect("nobody listens")
    });
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert!(error.to_string().contains("refused a connection to 203.0.113.10:80"), "{error}");
    assert_eq!(handle.connections(), 0);
}

#[test]
fn a_timeout_ends_a_connection_to_nobody() {
    let far = FarEnd::new("203.0.113.99".parse().unwrap(), PORT, 1, b"");
    let (waited, handle, _) = with_backend(far, Limits::default(), async |handle| {
        let start = Instant::now();
        let connected = timeout(Duration::from_secs(5), Stream::connect(&handle, peer(1))).await;
        assert!(connected.is_err(), "it waits for longer");
        start.elapsed()
    });
    assert_eq!(waited, Duration::from_secs(5));
    assert_eq!((handle.connections(), handle.next_poll()), (0, None));
}

#[test]
fn what_the_appliance_cannot_try_is_told_apart_from_a_refusal() {
    let far = FarEnd::new(vip(), PORT, 1, b"");
    let limits = Limits { connections: 1, ..Limits::default() };
    with_backend(far, limits, async |handle| {
        let _first = Stream::connect(&handle, peer(1)).await.unwrap();
        let error = Stream::connect(&handle, peer(1)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Other);
        let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<ConnectError>());
        assert_eq!(reason, Some(&ConnectError::TooManyConnections));
    });
}

#[test]
fn many_streams_share_one_thread() {
    let far = FarEnd::new(vip(), PORT, 100, b"well");
    let (heard, ..) = with_backend(far, Limits::default(), async |handle| {
        let probes: Vec<_> = (0..100)
            .map(|backend| {
                let handle = handle.clone();
                tokio::task::spawn_local(async move {
                    let to = Peer { backend: BackendHandle(backend), ..peer(0) };
                    let mut stream = Stream::connect(&handle, to).await.unwrap();
                    stream.write_all(b"how are you?\n").await.unwrap();
                    let mut heard = String::new();
                    stream.read_to_string(&mut heard).await.unwrap();
                    heard
                })
            })
            .collect();
        let mut heard = Vec::new();
        for probe in probes {
            heard.push(probe.await.unwrap());
        }
        heard
    });
    assert_eq!(heard, vec!["well"; 100]);
}
