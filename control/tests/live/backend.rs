//! A backend: a web server and a UDP echo server on every VIP, both of which answer with the backend's name.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::LazyLock;

use super::address::{self, Family, Vip, WEB};
use super::decapsulation;
use super::lab::Lab;
use super::patience::{PATIENCE, within};
use super::process::Process;
use super::server::{PAUSE, Server};

/// How long the file is that takes a while: more than all socket buffers on its way hold.
const LARGE_LENGTH: usize = 32 << 20;

/// Everything that runs on a backend; it ends with the value.
#[derive(Debug)]
pub(crate) struct Backend {
    _nginx: Process,
    _servers: Vec<Server>,
}

impl Backend {
    /// The name that a backend answers with.
    pub(crate) fn name(number: usize) -> String {
        format!("b{number}")
    }

    /// Starts the servers of all backends of a lab.
    pub(crate) fn all(lab: &Lab, count: usize) -> Vec<Self> {
        fs::write(lab.directory().join("large"), &*LARGE).expect("the lab's directory can be written");
        (0..count).map(|number| Self::start(lab, number)).collect()
    }

    fn start(lab: &Lab, number: usize) -> Self {
        let namespace = lab.backend(number);
        let name = Self::name(number);
        let prefix = lab.directory().join(&name);
        fs::create_dir(&prefix).expect("the lab's directory can be written");
        fs::write(prefix.join("nginx.conf"), nginx_conf(&name, &prefix, lab.directory()))
            .expect("the lab's directory can be written");
        let mut command = namespace.command("nginx");
        command.arg("-p").arg(&prefix).args(["-e", "stderr", "-c", "nginx.conf"]);
        let mut nginx = Process::start(lab, &format!("nginx-{name}"), command);

        let vips = Vip::BOTH.into_iter().flat_map(|vip| Family::BOTH.map(|family| vip.echo(family)));
        let mut servers: Vec<_> = vips.map(|vip| echo(lab, number, vip)).collect();
        servers.push(decapsulation::start(namespace));

        let own = SocketAddr::new(address::backend(number, Family::V4), WEB);
        let up = || match nginx.ended() {
            Some(status) => panic!("nginx ended ({status}) before it served"),
            None => namespace.inside(|| TcpStream::connect(own)).ok(),
        };
        within(PATIENCE, up).expect("nginx serves");
        Self { _nginx: nginx, _servers: servers }
    }
}

/// The large file: no two blocks of it are alike.
pub(crate) static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let words = 0..(LARGE_LENGTH / 8) as u64;
    words.flat_map(|word| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()).collect()
});

/// One process, so that it ends whole when it is killed.
fn nginx_conf(name: &str, prefix: &Path, root: &Path) -> String {
    let (prefix, root) = (prefix.display(), root.display());
    format!(
        "daemon off;
        master_process off;
        pid {prefix}/nginx.pid;
        events {{ worker_connections 4096; }}
        http {{
            access_log off;
            client_body_temp_path {prefix}/body;
            proxy_temp_path {prefix}/proxy;
            fastcgi_temp_path {prefix}/fastcgi;
            uwsgi_temp_path {prefix}/uwsgi;
            scgi_temp_path {prefix}/scgi;
            default_type text/plain;
            keepalive_timeout 300s;
            keepalive_requests 10000000;
            lingering_time 120s;
            lingering_timeout 60s;
            send_timeout 120s;
            server {{
                listen {WEB} backlog=4096;
                listen [::]:{WEB} ipv6only=on backlog=4096;
                client_max_body_size 0;
                location / {{ return 200 \"{name}\\n\"; }}
                location = /large {{ root {root}; }}
            }}
        }}\n"
    )
}

/// Answers from the VIP that was asked.
fn echo(lab: &Lab, number: usize, vip: SocketAddr) -> Server {
    let open = || {
        let socket = UdpSocket::bind(vip).expect("the VIP is on `lo`, and nobody else has its port");
        socket.set_read_timeout(Some(PAUSE)).expect("a pause is no zero");
        socket
    };
    let name = Backend::name(number);
    Server::start(lab.backend(number), open, move |socket| {
        let mut question = [0; 2048];
        match socket.recv_from(&mut question) {
            // A client that has gone asks no more.
            Ok((_, client)) => drop(socket.send_to(name.as_bytes(), client)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // ICMP errors about earlier answers.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => panic!("echo server at {vip}: {error}"),
        }
    })
}
