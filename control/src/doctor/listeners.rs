//! Check of the addresses that the appliance listens on: nobody else does.

use std::net::SocketAddr;

use super::facts::{AdminSocket, Facts};
use super::finding::Finding;

/// Admin socket and exporter of metrics. Those of a running appliance are its own.
pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(config) = &facts.config else { return Vec::new() };
    let socket = config.admin.socket.display();
    let subject = format!("admin socket {socket}");
    if facts.is_running() {
        return vec![Finding::ok(subject, "the running appliance answers")];
    }
    let admin = match &facts.admin_socket {
        AdminSocket::Free => Finding::ok(subject, "free"),
        AdminSocket::NotASocket => Finding::fault(subject, "it is there already and is no socket")
            .should_be("free", format!("rm {socket}")),
        AdminSocket::Forbidden => Finding::warning(subject, "this process may not connect to it")
            .should_be("root, or a member of the socket's group", format!("ls -l {socket}")),
        AdminSocket::Stranger(answer) => {
            Finding::fault(subject, format!("somebody answers, but no appliance: {answer}"))
                .should_be("free", format!("fuser -v {socket}"))
        }
    };
    let listen = config.metrics.listen;
    let is_taken = |other: &&SocketAddr| {
        let (own, other) = (listen.ip(), other.ip());
        own == other || own.is_unspecified() || other.is_unspecified()
    };
    let same_port =
        || facts.listening.iter().filter(|other| listen.port() != 0 && other.port() == listen.port());
    let metrics = match same_port().find(is_taken) {
        None => Finding::ok(format!("metrics {listen}"), "free"),
        Some(other) => {
            Finding::fault(format!("metrics {listen}"), format!("somebody listens on {other} already"))
                .should_be(
                    "free, or another `[metrics] listen`",
                    format!("ss -ltnp 'sport = :{}'", listen.port()),
                )
        }
    };
    vec![admin, metrics]
}
