//! A backend's nginx: pages, answers to probes, and a certificate.

use std::fs;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Lab;
use super::address::{self, Family, WEB, WEB_PROXY, WEB_TLS, WEB_TLS_PROXY};
use super::backend::Backend;
use super::patience::{PATIENCE, within};
use super::process::Process;

/// Path of the page that probes ask for.
pub(crate) const HEALTH: &str = "/health";
/// Content of the page while all is well.
pub(crate) const ALL_IS_WELL: &str = "all is well";
/// Content of the page while something is wrong.
const OUT_OF_ORDER: &str = "out of order";

/// Weights that a server can report with the page, and a word that is no weight.
const WEIGHTS: [&str; 7] = ["0", "0.2", "2.6", "100", "300", "600", "heavy"];

/// Protocol on the port for TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsPort {
    /// TLS, with HTTP/2 or HTTP/1.1 inside.
    Tls,
    /// TLS, with HTTP/1.1 inside.
    Http1,
    /// HTTP/1.1, without TLS.
    Plain,
}

/// Addresses of a probe that has been answered, as the web server saw them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    /// Addresses in the probe's PROXY header, if it had one: from and to.
    pub(crate) in_header: Option<(IpAddr, IpAddr)>,
}

/// One nginx; it ends with the value.
#[derive(Debug)]
pub(crate) struct WebServer {
    name: String,
    own: SocketAddr,
    prefix: PathBuf,
    nginx: Option<Process>,
}

impl WebServer {
    pub(crate) fn start(lab: &Lab, number: usize) -> Self {
        let name = Backend::name(number);
        let prefix = lab.directory().join(&name);
        fs::create_dir(&prefix).expect("the lab's directory can be written");
        let own = SocketAddr::new(address::backend(number, Family::V4), WEB);
        let mut server = Self { name, own, prefix, nginx: None };
        server.set_right_page(true);
        server.start_again(lab, number, TlsPort::Tls);
        server
    }

    /// Ends nginx: its ports and connections are closed.
    pub(crate) fn stop(&mut self) {
        self.nginx = None;
    }

    /// Starts nginx, after ending it if it runs.
    pub(crate) fn start_again(&mut self, lab: &Lab, number: usize, tls: TlsPort) {
        self.stop();
        let namespace = lab.backend(number);
        fs::write(self.prefix.join("nginx.conf"), self.conf(lab.directory(), tls))
            .expect("the lab's directory can be written");
        let mut command = namespace.command("nginx");
        command.arg("-p").arg(&self.prefix).args(["-e", "stderr", "-c", "nginx.conf"]);
        let mut nginx = Process::start(lab.directory(), &format!("nginx-{}", self.name), command);
        let up = || match nginx.ended() {
            Some(status) => panic!("nginx ended ({status}) before it served"),
            None => namespace.inside(|| TcpStream::connect(self.own)).ok(),
        };
        within(PATIENCE, up).expect("nginx serves");
        self.nginx = Some(nginx);
    }

    /// Sets the page that probes get: the expected one, or another.
    pub(crate) fn set_right_page(&self, rightly: bool) {
        let page = if rightly { ALL_IS_WELL } else { OUT_OF_ORDER };
        fs::write(self.file("health"), page).expect("the lab's directory can be written");
    }

    /// Answers probes with status 503, or no longer.
    pub(crate) fn set_unavailable(&self, unavailable: bool) {
        self.set_flag("unavailable", unavailable);
    }

    /// Answers probes slowly, over many seconds, or no longer.
    pub(crate) fn set_slow(&self, slow: bool) {
        self.set_flag("slow", slow);
    }

    /// Sets the weight that answers to probes report, if any.
    pub(crate) fn set_weight(&self, weight: Option<&str>) {
        assert!(weight.is_none_or(|weight| WEIGHTS.contains(&weight)), "it is configured: {weight:?}");
        for known in WEIGHTS {
            self.set_flag(&format!("weight-{known}"), weight == Some(known));
        }
    }

    /// All probes that have been answered, the latest last.
    pub(crate) fn probes(&self) -> Vec<Probed> {
        let log = fs::read_to_string(self.file("probes.log")).expect("nginx has made it");
        // A line without a newline is still being written.
        let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.map(|line| Probed::parse(line).unwrap_or_else(|| panic!("nginx logs {line:?}"))).collect()
    }

    /// Makes or removes a file that nginx looks for with each answer to a probe.
    fn set_flag(&self, name: &str, set: bool) {
        let file = self.file(name);
        if set {
            fs::write(file, "").expect("the lab's directory can be written");
        } else if file.exists() {
            fs::remove_file(file).expect("the lab's directory can be written");
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.prefix.join(name)
    }

    /// Configuration of nginx: a single process, so that killing it ends all of nginx.
    fn conf(&self, root: &Path, tls: TlsPort) -> String {
        let (name, prefix, root) = (&self.name, self.prefix.display(), root.display());
        let speaks = match tls {
            TlsPort::Tls => "ssl http2",
            TlsPort::Http1 => "ssl",
            TlsPort::Plain => "",
        };
        let weights = WEIGHTS
            .map(|weight| format!("if (-f {prefix}/weight-{weight}) {{ set $weight {weight}; }}\n"))
            .concat();
        format!(
            "daemon off;
            master_process off;
            pid {prefix}/nginx.pid;
            events {{ worker_connections 4096; }}
            http {{
                access_log off;
                log_format probe \"$remote_addr $server_addr \"
                    \"$proxy_protocol_addr $proxy_protocol_server_addr\";
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
                    listen {WEB_TLS} {speaks};
                    listen [::]:{WEB_TLS} ipv6only=on {speaks};
                    listen {WEB_PROXY} proxy_protocol;
                    listen [::]:{WEB_PROXY} ipv6only=on proxy_protocol;
                    listen {WEB_TLS_PROXY} ssl proxy_protocol;
                    listen [::]:{WEB_TLS_PROXY} ipv6only=on ssl proxy_protocol;
                    ssl_certificate {root}/certificate.pem;
                    ssl_certificate_key {root}/key.pem;
                    client_max_body_size 0;
                    location / {{ return 200 \"{name}\\n\"; }}
                    location = /large {{ root {root}; }}
                    location = {HEALTH} {{
                        root {prefix};
                        access_log {prefix}/probes.log probe;
                        if (-f {prefix}/slow) {{ set $limit_rate 20; }}
                        set $weight \"\";
                        {weights}
                        if (-f {prefix}/unavailable) {{ return 503; }}
                        add_header X-Load-Balancing-Endpoint-Weight $weight always;
                    }}
                }}
            }}\n"
        )
    }
}

impl Probed {
    /// Parses a line of the log: four addresses, of which the latter two may be missing.
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let &[from, to, header_from, header_to] = words.as_slice() else { return None };
        let in_header = match (header_from, header_to) {
            ("-", "-") => None,
            (from, to) => Some((from.parse().ok()?, to.parse().ok()?)),
        };
        Some(Self { from: from.parse().ok()?, to: to.parse().ok()?, in_header })
    }
}

/// Makes the certificate and the key of a lab's web servers.
pub(crate) fn make_certificate(lab: &Lab) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=lab"]);
    command.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.arg("-keyout").arg(lab.directory().join("key.pem"));
    command.arg("-out").arg(lab.directory().join("certificate.pem"));
    let made = Process::run(lab.directory(), "openssl", command, PATIENCE);
    assert!(made.status.success(), "openssl req: {}: {}", made.status, made.stderr);
}
