//! A backend that is a Linux kernel, with the VIP on its loopback, in a network namespace that the test
//! makes: needs root, iproute2 and /dev/net/tun.
//!
//! ```text
//!  Stream -- ProbeTcp -- OutgoingPacket { packet } -- TUN device "probe0" -- kernel, VIP on lo -- std's TcpListener
//! ```

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::Command;
use std::thread;
use std::time::Duration;

use guideway::net::probe_tcp::{Handle, Limits, Peer, ProbeTcp, Stream};
use guideway_dataplane::backend::BackendHandle;
use guideway_dataplane::network::OwnAddresses;
use nix::sched::{CloneFlags, unshare};
use smoltcp::phy::{Device, Medium, RxToken, TunTapInterface, TxToken};
use smoltcp::time::Instant as Moment;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::LocalSet;
use tokio::time::timeout;

use crate::lab::own;

/// Longer than anything takes here: a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const VIPS: [&str; 2] = ["203.0.113.10", "2001:db8:ffff::10"];

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("iproute2 is installed");
    assert!(status.success(), "ip {arguments}");
}

/// Moves this thread, and those that it starts, into a namespace where the kernel has the VIPs and the way back.
fn enter_backend(own: OwnAddresses) -> TunTapInterface {
    unshare(CloneFlags::CLONE_NEWNET).expect("root makes a network namespace");
    let tun = TunTapInterface::new("probe0", Medium::Ip).expect("/dev/net/tun");
    ip("link set lo up");
    ip("link set probe0 up");
    ip(&format!("addr add {}/32 dev lo", VIPS[0]));
    ip(&format!("-6 addr add {}/128 dev lo nodad", VIPS[1]));
    ip(&format!("route add {}/32 dev probe0 src {}", own.ipv4.unwrap(), VIPS[0]));
    ip(&format!("-6 route add {}/128 dev probe0", own.ipv6.unwrap()));
    tun
}

/// Carries packets between the connections and the kernel, and looks for packets each millisecond: smoltcp's
/// TUN device gives out no descriptor that could be waited for safely.
async fn carry(handle: Handle, mut tun: TunTapInterface) {
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    loop {
        handle.poll();
        while let Some(outgoing) = handle.transmit() {
            let packet = outgoing.packet;
            let token = tun.transmit(Moment::ZERO).expect("a TUN device always takes packets");
            token.consume(packet.len(), |bytes| bytes.copy_from_slice(&packet));
        }
        if let Some((packet, _)) = tun.receive(Moment::ZERO) {
            packet.consume(|bytes| handle.receive(bytes));
            continue;
        }
        tokio::select! {
            () = handle.wanted() => {}
            _ = looks.tick() => {}
        }
    }
}

/// Answers a number of connections with their request, up to its end of line, twice. A client that resets at last is no
/// failure.
fn serve(listener: TcpListener, connections: usize) -> thread::JoinHandle<Vec<SocketAddr>> {
    thread::spawn(move || {
        let mut clients = Vec::new();
        for _ in 0..connections {
            let (mut socket, client) = listener.accept().unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            clients.push(client);
            let mut request = Vec::new();
            let mut buffer = [0; 1_000];
            while request.last() != Some(&b'\n') {
                let len = socket.read(&mut buffer).unwrap();
                assert!(len > 0, "the request has an end of line");
                request.extend_from_slice(&buffer[..len]);
            }
            socket.write_all(&request).unwrap();
            socket.write_all(&request).unwrap();
        }
        clients
    })
}

/// Waits for the end of a number of connections, each without a request; returns what their last reads came to.
fn hear_ends(listener: TcpListener, connections: usize) -> thread::JoinHandle<Vec<io::Result<usize>>> {
    thread::spawn(move || {
        let accepted = std::iter::repeat_with(|| listener.accept().unwrap().0).take(connections);
        let end = |mut socket: std::net::TcpStream| {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket.read(&mut [0; 10])
        };
        accepted.map(end).collect()
    })
}

#[test]
fn a_kernel_with_the_vip_on_its_loopback_answers() {
    let tun = enter_backend(own());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listeners = VIPS.map(|vip| TcpListener::bind((vip, 0)).unwrap());
    let peers = listeners.each_ref().map(|listener| {
        let address = listener.local_addr().unwrap();
        Peer { backend: BackendHandle(5), vip: address.ip(), port: address.port() }
    });
    let servers = listeners.map(|listener| serve(listener, 10));
    let quiet = TcpListener::bind((VIPS[0], 0)).unwrap();
    let quiet_port = quiet.local_addr().unwrap().port();
    let ends = hear_ends(quiet, 10);
    LocalSet::new().block_on(&runtime, async {
        let handle = Handle::new(ProbeTcp::new(own(), 11, Limits::default()));
        let carrier = tokio::task::spawn_local(carry(handle.clone(), tun));
        for peer in peers {
            for round in 0..10 {
                // From a few bytes to much more than the buffers hold.
                let request = [vec![b'a' + round; 1 << round << 5], b"\n".to_vec()].concat();
                let exchange = async {
                    let mut stream = Stream::connect(&handle, peer).await?;
                    let mut heard = Vec::new();
                    stream.write_all(&request).await?;
                    stream.read_to_end(&mut heard).await?;
                    stream.shutdown().await?;
                    io::Result::Ok(heard)
                };
                let heard = timeout(PATIENCE, exchange).await.expect("in time").unwrap();
                assert_eq!(heard, [&request[..], &request[..]].concat());
            }
        }
        for _ in 0..10 {
            let to = Peer { port: quiet_port, ..peers[0] };
            timeout(PATIENCE, Stream::connect(&handle, to)).await.expect("in time").unwrap().finish();
        }
        let ends = tokio::task::spawn_blocking(|| ends.join().unwrap()).await.unwrap();
        assert!(ends.iter().all(|end| matches!(end, Ok(0))), "FIN, and no reset: {ends:?}");
        // A port that nobody listens on, at a host that is there.
        let closed = Peer { port: 1, ..peers[0] };
        let refused = timeout(PATIENCE, Stream::connect(&handle, closed)).await.expect("in time");
        assert_eq!(refused.err().unwrap().kind(), ErrorKind::ConnectionRefused);
        // A VIP that the host does not have: it drops what it is to forward.
        let absent = Peer { vip: "203.0.113.11".parse().unwrap(), ..peers[0] };
        assert!(timeout(Duration::from_millis(300), Stream::connect(&handle, absent)).await.is_err());
        tokio::task::yield_now().await;
        assert!(!carrier.is_finished());
        carrier.abort();
        assert!(carrier.await.unwrap_err().is_cancelled());
    });
    let own: [IpAddr; 2] = [own().ipv4.unwrap().into(), own().ipv6.unwrap().into()];
    for (server, own) in servers.into_iter().zip(own) {
        let clients = server.join().unwrap();
        assert!(clients.iter().all(|client| client.ip() == own), "{clients:?}");
        let ports: std::collections::HashSet<_> = clients.iter().map(SocketAddr::port).collect();
        assert_eq!(ports.len(), 10, "each connection has a port of its own");
    }
}
