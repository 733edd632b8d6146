//! A server of the domain name system on the loopback interface, whose answers are put together byte by byte
//! (RFC 1035, section 4).

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub(crate) const A: u16 = 1;
pub(crate) const CNAME: u16 = 5;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;

pub(crate) const NXDOMAIN: u8 = 3;
pub(crate) const SERVFAIL: u8 = 2;

/// Record of an answer.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) owner: &'static str,
    pub(crate) kind: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<u8>,
}

/// Behaviour of the server towards a question.
#[derive(Clone)]
pub(crate) enum Reply {
    Records(Vec<Record>),
    /// Records that go by TCP, as they are too long for a datagram.
    ByTcp(Vec<Record>),
    Code(u8),
    Silence,
}

#[derive(Default)]
struct Zone {
    replies: BTreeMap<(String, u16), Reply>,
    asked: BTreeMap<(String, u16), usize>,
}

pub(crate) struct DnsServer {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Records of addresses.
pub(crate) fn addresses(owner: &'static str, ttl: u32, addresses: &[&str]) -> Vec<Record> {
    let record = |address: &&str| match address.parse().unwrap() {
        IpAddr::V4(address) => Record { owner, kind: A, ttl, data: address.octets().to_vec() },
        IpAddr::V6(address) => Record { owner, kind: AAAA, ttl, data: address.octets().to_vec() },
    };
    addresses.iter().map(record).collect()
}

/// Record of a service: priority, weight and port, and the host.
pub(crate) fn service(owner: &'static str, ttl: u32, host: &str) -> Record {
    let mut data = vec![0, 10, 0, 60, 0x1f, 0x90];
    data.extend(encoded(host));
    Record { owner, kind: SRV, ttl, data }
}

pub(crate) fn alias(owner: &'static str, ttl: u32, of: &str) -> Record {
    Record { owner, kind: CNAME, ttl, data: encoded(of) }
}

impl DnsServer {
    pub(crate) fn new() -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).unwrap();
        udp.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let (zone, stop) = (Arc::<Mutex<Zone>>::default(), Arc::<AtomicBool>::default());
        let threads = vec![
            thread::spawn({
                let (zone, stop) = (Arc::clone(&zone), Arc::clone(&stop));
                move || serve_udp(&udp, &zone, &stop)
            }),
            thread::spawn({
                let (zone, stop) = (Arc::clone(&zone), Arc::clone(&stop));
                move || serve_tcp(&tcp, &zone, &stop)
            }),
        ];
        Self { address, zone, stop, threads }
    }

    /// Has the server behave like this from now on; it knows no name that it was not told of.
    pub(crate) fn reply(&self, name: &str, kind: u16, reply: Reply) {
        self.zone.lock().unwrap().replies.insert((name.to_owned(), kind), reply);
    }

    pub(crate) fn records(&self, name: &str, kind: u16, records: Vec<Record>) {
        self.reply(name, kind, Reply::Records(records));
    }

    /// Number of times that a question has come.
    pub(crate) fn asked(&self, name: &str, kind: u16) -> usize {
        self.zone.lock().unwrap().asked.get(&(name.to_owned(), kind)).copied().unwrap_or(0)
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

fn serve_udp(socket: &UdpSocket, zone: &Mutex<Zone>, stop: &AtomicBool) {
    let mut query = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
        if let Some(answer) = answer(&query[..length], zone, true) {
            socket.send_to(&answer, from).unwrap();
        }
    }
}

fn serve_tcp(listener: &TcpListener, zone: &Mutex<Zone>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Ok((mut stream, _)) = listener.accept() else {
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        stream.set_nonblocking(false).unwrap();
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query).unwrap();
        let Some(answer) = answer(&query, zone, false) else { continue };
        stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
    }
}

/// Answer to a query of one question, if there is one.
fn answer(query: &[u8], zone: &Mutex<Zone>, is_datagram: bool) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    while query[at] != 0 {
        let end = at + 1 + usize::from(query[at]);
        labels.push(String::from_utf8(query[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let question_end = at + 5;
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let key = (labels.join("."), kind);
    let mut zone = zone.lock().unwrap();
    *zone.asked.entry(key.clone()).or_default() += 1;
    let name_exists = zone.replies.keys().any(|(name, _)| *name == key.0);
    let (code, truncated, records) = match zone.replies.get(&key) {
        Some(Reply::Records(records)) => (0, false, records.clone()),
        Some(Reply::ByTcp(_)) if is_datagram => (0, true, Vec::new()),
        Some(Reply::ByTcp(records)) => (0, false, records.clone()),
        Some(Reply::Silence) => return None,
        Some(Reply::Code(code)) => (*code, false, Vec::new()),
        None if name_exists => (0, false, Vec::new()),
        None => (NXDOMAIN, false, Vec::new()),
    };
    let mut answer = query[..2].to_vec();
    answer.extend([0x81 | u8::from(truncated) << 1, 0x80 | code, 0, 1]);
    answer.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
    answer.extend([0; 4]);
    answer.extend(&query[12..question_end]);
    for Record { owner, kind, ttl, data } in records {
        answer.extend(encoded(owner));
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1]);
        answer.extend(ttl.to_be_bytes());
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
