//! Writes the captures into a folder: `cargo run -p pcap-fixtures -- pcap-fixtures`.

use std::path::PathBuf;
use std::{env, fs, io};

use pcap_fixtures::capture::capture;
use pcap_fixtures::packet::{Packet, tcp};

/// A capture's name and its frames, each with its time in nanoseconds since the epoch.
type Scenario = (&'static str, Vec<(u64, Vec<u8>)>);

/// When every scenario starts: 2026-01-01 00:00 UTC.
const START: u64 = 1_767_225_600_000_000_000;

const MILLISECOND: u64 = 1_000_000;

fn main() -> io::Result<()> {
    let Some(folder) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "name the folder to write to"));
    };
    let scenarios: Vec<Scenario> = vec![tcp_handshake()];
    for (name, frames) in scenarios {
        let file = capture(frames.iter().map(|(nanos, frame)| (*nanos, &frame[..])));
        fs::write(folder.join(name), file)?;
    }
    Ok(())
}

/// A client opens a connection and sends a request; what the backend answers does not pass the appliance.
fn tcp_handshake() -> Scenario {
    let client = Packet::between("198.51.100.7", "203.0.113.10");
    let frames = vec![
        (START, client.clone().tcp(40_000, 443, tcp::SYN).seq(1_000).build()),
        (START + 20 * MILLISECOND, client.clone().tcp(40_000, 443, tcp::ACK).seq(1_001).ack(5_001).build()),
        (
            START + 21 * MILLISECOND,
            client.tcp(40_000, 443, tcp::ACK | tcp::PSH).seq(1_001).ack(5_001).payload_len(517).build(),
        ),
    ];
    ("tcp-handshake.in.pcap", frames)
}
