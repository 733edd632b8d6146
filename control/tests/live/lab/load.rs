//! Load: wrk on the client, and its summary of the requests.

use std::net::SocketAddr;
use std::time::Duration;

use super::Lab;
use super::patience::PATIENCE;
use super::process::{Ended, Process};

/// Use of connections: one for many requests, or one for each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connections {
    Kept,
    OneEach,
}

/// wrk at work; it ends with the value.
#[derive(Debug)]
pub(crate) struct Load {
    wrk: Process,
    time: Duration,
}

/// Counts of wrk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) requests: u64,
    /// Number of failed connects, reads and writes, and of requests that took too long.
    pub(crate) socket_errors: u64,
    /// Number of answers with a status other than 2xx and 3xx.
    pub(crate) bad_answers: u64,
}

impl Load {
    /// Starts to send requests, for this many seconds and over 16 connections at once.
    pub(crate) fn start(lab: &Lab, server: SocketAddr, connections: Connections, seconds: u64) -> Self {
        let mut command = lab.client().command("wrk");
        command.args(["--threads", "1", "--connections", "16", "--timeout", "15s"]);
        command.arg("--duration").arg(format!("{seconds}s"));
        if connections == Connections::OneEach {
            command.args(["--header", "Connection: close"]);
        }
        command.arg(format!("http://{server}/"));
        Self { wrk: Process::start(lab.directory(), "wrk", command), time: Duration::from_secs(seconds) }
    }

    pub(crate) fn runs(&mut self) -> bool {
        self.wrk.ended().is_none()
    }

    pub(crate) fn finish(mut self) -> Summary {
        let Ended { status, stdout, stderr } = self.wrk.finish(self.time + PATIENCE);
        assert!(status.success(), "wrk: {status}: {stdout}{stderr}");
        Summary::parse(&stdout)
    }
}

impl Summary {
    /// Reads `73516 requests in 5.01s, ...`, `Socket errors: connect 0, read 0, write 0, timeout 0` and
    /// `Non-2xx or 3xx responses: 7`; wrk leaves out the latter two lines if their counts are zero.
    fn parse(text: &str) -> Self {
        let numbers = |line: &str| -> Vec<u64> {
            line.split(|letter: char| !letter.is_ascii_digit()).filter_map(|word| word.parse().ok()).collect()
        };
        let mut summary = Self::default();
        let mut complete = false;
        for line in text.lines().map(str::trim) {
            if line.contains(" requests in ") {
                summary.requests = numbers(line).into_iter().next().unwrap_or(0);
                complete = true;
            } else if let Some(errors) = line.strip_prefix("Socket errors:") {
                summary.socket_errors = numbers(errors).into_iter().sum();
            } else if let Some(answers) = line.strip_prefix("Non-2xx or 3xx responses:") {
                summary.bad_answers = numbers(answers).into_iter().sum();
            }
        }
        assert!(complete, "wrk reports no number of requests: {text}");
        summary
    }
}

#[test]
fn a_summary_of_wrk_is_parsed() {
    let text = "  73516 requests in 5.01s, 11.4MB read\n  \
                Socket errors: connect 1, read 20, write 0, timeout 300\n  \
                Non-2xx or 3xx responses: 7\nRequests/sec: 14674.27\n";
    let expected = Summary { requests: 73_516, socket_errors: 321, bad_answers: 7 };
    assert_eq!(Summary::parse(text), expected);
}
