//! Probes of every type end with a judgement, or are timed out, whatever a server says and in whatever pieces,
//! and have read no more than their bound.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use guideway::health::probe::{MAX_READ_BYTES, Target, probe};
use guideway_model::config::{Config, HealthCheck};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::virtual_time;

/// Types of health checks over streams, with what the server is to answer.
const TYPES: [(&str, &str); 6] = [
    ("TCP", "response = \"needle\""),
    ("SSL", "response = \"needle\""),
    ("HTTP", "response = \"needle\""),
    ("HTTPS", ""),
    ("HTTP2", "response = \"needle\""),
    ("GRPC", ""),
];

/// Bytes that are on the way at one time.
const IN_FLIGHT: usize = 4_096;

static CHECKS: OnceLock<Vec<HealthCheck>> = OnceLock::new();

/// Runs the target on these bytes.
pub(crate) fn run(bytes: &[u8]) {
    let Some((choice, said)) = bytes.split_first() else { return };
    let checks = CHECKS.get_or_init(checks);
    let check = &checks[usize::from(*choice) % checks.len()];
    let piece = 1 + usize::from(*choice) / checks.len() * 61;
    let source = SocketAddr::from(([192, 0, 2, 1], 4_000));
    let target = Target { vip: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10)), port: 80, source };
    virtual_time(async {
        let (ours, mut theirs) = duplex(IN_FLIGHT);
        let server = async {
            let _ = theirs.read(&mut [0; 1_024]).await;
            let mut taken = 0;
            for piece in said.chunks(piece) {
                if theirs.write_all(piece).await.is_err() {
                    break;
                }
                taken += piece.len();
            }
            taken
        };
        let asked = tokio::time::timeout(Duration::from_secs(5), probe(ours, check, &target));
        let (_, taken) = tokio::join!(asked, server);
        assert!(taken <= MAX_READ_BYTES + IN_FLIGHT, "{taken} bytes were read");
    });
}

fn checks() -> Vec<HealthCheck> {
    let table = |(word, response): &(&str, &str)| {
        format!(
            "[[health_check]]\nname = \"{}\"\ntype = \"{word}\"\nport = 80\n{response}\n",
            word.to_lowercase()
        )
    };
    let text: String = TYPES.iter().map(table).collect();
    Config::parse("checks.toml", &text).unwrap_or_else(|errors| panic!("{errors}")).health_checks
}
