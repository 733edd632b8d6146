//! Requests of the client: curl, ping, and datagrams from sockets that a test holds itself.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::Lab;
use super::address::{self, Family, Vip};
use super::namespace::Namespace;
use super::patience::{PATIENCE, seconds};
use super::process::{Ended, Process};

/// Number of times that a datagram is sent before it counts as lost; the first may wait for a neighbour's answer.
const TRIES: usize = 5;

/// Number of connections that show which backends get new ones: enough for each of them to have some.
const NEW_CONNECTIONS: usize = 100;

impl Lab {
    /// Gets a page `count` times, each by a connection of its own; returns the answers.
    pub(crate) fn curl(&self, server: SocketAddr, count: usize) -> Vec<String> {
        let mut command = self.client().command("curl");
        // curl's globbing makes the requests one by one; the server ends each connection.
        command.args([
            "--silent",
            "--show-error",
            "--fail",
            "--fail-early",
            "--noproxy",
            "*",
            "--max-time",
            &seconds(20),
        ]);
        command.args(["--header", "Connection: close"]).arg(format!("http://{server}/?[1-{count}]"));
        let Ended { status, stdout, stderr } = Process::run(self.directory(), "curl", command, PATIENCE * 2);
        assert!(status.success(), "curl http://{server}/: {status}: {stderr}");
        stdout.lines().map(str::to_owned).collect()
    }

    /// Checks that connections that begin now go to these backends, and to no others.
    pub(crate) fn new_connections_go_to(&self, family: Family, expected: &[&str]) {
        let pages = self.curl(Vip::OnLink.web(family), NEW_CONNECTIONS);
        assert_eq!(names(&pages), expected.iter().copied().collect(), "{family:?}");
    }

    /// Sends a file by curl; returns the answer.
    pub(crate) fn curl_upload(&self, server: SocketAddr, file: &str) -> String {
        let mut command = self.client().command("curl");
        command.args(["--silent", "--show-error", "--fail", "--noproxy", "*", "--max-time", &seconds(60)]);
        command.args(["--header", "Expect:", "--data-binary"]).arg(format!("@{file}"));
        command.arg(format!("http://{server}/"));
        let Ended { status, stdout, stderr } = Process::run(self.directory(), "curl", command, PATIENCE * 3);
        assert!(status.success(), "curl to http://{server}/: {status}: {stderr}");
        stdout.trim().to_owned()
    }

    /// Sends echo requests to an address; fails with ping's output if they are not answered.
    pub(crate) fn ping(&self, address: IpAddr) -> Result<(), String> {
        let mut command = self.client().command("ping");
        command.args(["-c", "3", "-i", "0.2", "-W", "5"]).arg(address.to_string());
        let Ended { status, stdout, stderr } = Process::run(self.directory(), "ping", command, PATIENCE);
        if status.success() { Ok(()) } else { Err(format!("{stdout}{stderr}")) }
    }

    /// MAC address that the client's kernel has for a neighbour.
    pub(crate) fn neighbour(&self, address: IpAddr) -> Option<String> {
        let mut command = self.client().command("ip");
        command.args(["neighbour", "show", "to"]).arg(address.to_string());
        let Ended { stdout, .. } = Process::run(self.directory(), "ip", command, PATIENCE);
        let mut words = stdout.split_whitespace().skip_while(|word| *word != "lladdr");
        words.nth(1).map(str::to_owned)
    }

    /// Sends a datagram from a source port; returns the name of the backend that has answered.
    pub(crate) fn ask(&self, server: SocketAddr, src_port: u16) -> String {
        let family = if server.is_ipv4() { Family::V4 } else { Family::V6 };
        let own = SocketAddr::new(address::client(family), src_port);
        let socket = self.client().inside(|| UdpSocket::bind(own)).expect("each port is asked from once");
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("it is no zero");
        let mut answer = [0; 64];
        for _ in 0..TRIES {
            socket.send_to(b"who?", server).expect("there is a way to the VIP");
            match socket.recv_from(&mut answer) {
                Ok((length, from)) => {
                    assert_eq!(from, server, "the VIP answers, not the backend's own address");
                    return String::from_utf8_lossy(&answer[..length]).into_owned();
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => panic!("{server}: {error}"),
            }
        }
        panic!("{server} answers none of {TRIES} datagrams from port {src_port}")
    }
}

/// Number of segments that the client's TCP has sent again, of all its connections.
pub(crate) fn retransmissions(lab: &Lab) -> u64 {
    counted(lab.client(), "Tcp", "RetransSegs")
}

/// Count of a host's kernel, as `/proc/net/snmp` has it.
pub(crate) fn counted(host: &Namespace, protocol: &str, name: &str) -> u64 {
    let output = host.command("cat").arg("/proc/net/snmp").output().expect("`ip` can be run");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.strip_prefix(protocol)?.strip_prefix(": "));
    let mut lines = lines.map(str::split_whitespace);
    let (names, mut counts) = (lines.next().expect("names"), lines.next().expect("counts"));
    let index = names.into_iter().position(|known| known == name).expect("it is counted");
    counts.nth(index).and_then(|count| count.parse().ok()).expect("a number")
}

/// Distinct names among answers.
pub(crate) fn names(answers: &[String]) -> BTreeSet<&str> {
    answers.iter().map(String::as_str).collect()
}
