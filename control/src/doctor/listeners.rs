//! Check of the addresses that the appliance listens on, which nobody else does, and of what confines their thread.

use std::net::SocketAddr;

use super::facts::{AdminSocket, Facts};
use super::finding::{Finding, quoted};

/// Admin socket and exporter of metrics. Those of a running appliance are its own.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    if facts.config.is_some() || facts.admin_socket != AdminSocket::Free {
        findings.push(admin_socket(facts));
    }
    if let Some(config) = facts.config.as_ref().filter(|_| !facts.is_running()) {
        findings.push(metrics(facts, config.metrics.listen));
    }
    findings.extend(facts.has_landlock.map(|is_there| landlock(facts, is_there)));
    findings
}

/// Landlock of the kernel, by which the threads of listeners and workers are kept from files.
fn landlock(facts: &Facts, is_there: bool) -> Finding {
    let engine = facts.config.as_ref().map(|config| &config.engine);
    let keys = [
        ("listeners", "confine_listeners", engine.is_none_or(|engine| engine.confine_listeners)),
        ("workers", "confine_workers", engine.is_none_or(|engine| engine.confine_workers)),
    ];
    if let Some((threads, key, _)) = keys.into_iter().find(|(.., is_confined)| !is_confined) {
        let found = format!("`[engine] {key} = false`: {threads} may reach every file that the process may");
        let remedy = format!("grep -n {key} {}", quoted(&facts.config_path));
        return Finding::note("Landlock", found).should_be(format!("`{key} = true`, the default"), remedy);
    }
    if is_there {
        let abi = facts.landlock_abi.map_or_else(String::new, |abi| match abi.left_out() {
            None => format!(" (ABI {})", abi.0),
            Some(left_out) => format!(" (ABI {}, which has no rules for {left_out})", abi.0),
        });
        let found = format!("the kernel keeps listeners and workers from files{abi}");
        return Finding::ok("Landlock", found);
    }
    Finding::note(
        "Landlock",
        "the kernel has none that is on: listeners may reach every file that the process may",
    )
    .should_be("`landlock` in `lsm=` of the kernel's command line", "cat /sys/kernel/security/lsm")
}

/// Admin socket that was asked: that of the command line, or of the configuration.
fn admin_socket(facts: &Facts) -> Finding {
    let subject = format!("admin socket {}", facts.socket.display());
    let socket = quoted(&facts.socket.to_string_lossy());
    if facts.status.is_some() {
        return Finding::ok(subject, "the running appliance answers");
    }
    match (&facts.admin_socket, &facts.socket_folder_fault) {
        (AdminSocket::Free, None) => Finding::ok(subject, "nobody listens on it"),
        (AdminSocket::Free, Some(fault)) => {
            let expected = "root, or a folder that this process may write to (`RuntimeDirectory=` in a unit)";
            Finding::warning(subject, format!("nobody listens on it, and it cannot be made: {fault}"))
                .should_be(expected, format!("namei -l {socket}"))
        }
        (AdminSocket::NotASocket, _) => Finding::fault(subject, "it is there already and is no socket")
            .should_be("free", format!("rm {socket}")),
        (AdminSocket::Forbidden, _) => Finding::warning(subject, "this process may not connect to it")
            .should_be("root, or a member of the socket's group", format!("ls -l {socket}")),
        (AdminSocket::Silent(answer), _) => Finding::fault(subject, answer).should_be(
            "an answer; where the journal tells no cause, `systemctl restart guideway`",
            "journalctl -u guideway -n 50 --no-pager",
        ),
        (AdminSocket::Stranger(answer), _) => {
            Finding::fault(subject, format!("somebody answers, but no appliance: {answer}"))
                .should_be("free", format!("fuser -v {socket}"))
        }
    }
}

/// Address of the exporter of metrics.
fn metrics(facts: &Facts, listen: SocketAddr) -> Finding {
    let subject = format!("metrics {listen}");
    let is_taken = |other: &&SocketAddr| {
        let (own, other) = (listen.ip(), other.ip());
        own == other || own.is_unspecified() || other.is_unspecified()
    };
    let mut same_port =
        facts.listening.iter().filter(|other| listen.port() != 0 && other.port() == listen.port());
    match same_port.find(is_taken) {
        None => Finding::ok(subject, "nobody listens on it"),
        Some(other) => Finding::fault(subject, format!("somebody listens on {other} already")).should_be(
            "free, or another `[metrics] listen`",
            format!("ss -ltnp 'sport = :{}'", listen.port()),
        ),
    }
}
