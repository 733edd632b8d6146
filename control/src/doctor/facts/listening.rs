//! Addresses that somebody listens on by TCP, as `/proc/net/tcp` and `/proc/net/tcp6` tell them.
//!
//! ```text
//!   sl  local_address rem_address   st …
//!    0: 0100007F:24F8 00000000:0000 0A …      127.0.0.1:9464, listening
//! ```
//!
//! An address is written as 32-bit words of the machine, each in hexadecimal.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// State of a socket that listens: `TCP_LISTEN`.
const LISTEN: &str = "0A";

/// Reads the addresses below `root`, which is `/` but for tests.
pub(super) fn read(root: &Path) -> Vec<SocketAddr> {
    let tables = ["proc/net/tcp", "proc/net/tcp6"];
    let texts = tables.map(|path| fs::read_to_string(root.join(path)).unwrap_or_default());
    texts.iter().flat_map(|text| text.lines().skip(1)).filter_map(listener).collect()
}

fn listener(line: &str) -> Option<SocketAddr> {
    let mut words = line.split_whitespace().skip(1);
    let (local, _, state) = (words.next()?, words.next()?, words.next()?);
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if state != LISTEN {
        return None;
    }
    let mut bytes = Vec::with_capacity(16);
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(&*bytes) {
        Ok(bytes) => IpAddr::V4(Ipv4Addr::from(bytes)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_both_families_are_read_and_connections_are_not() {
        let root = tempfile::tempdir().expect("a directory of its own");
        fs::create_dir_all(root.path().join("proc/net")).expect("a folder can be made");
        let write = |file: &str, lines: &str| {
            fs::write(root.path().join(file), format!("  sl  local_address\n{lines}"))
                .expect("it can be written");
        };
        write(
            "proc/net/tcp",
            "   0: 0100007F:24F8 00000000:0000 0A 00000000:00000000\n   1: 0100007F:24F8 0100007F:9C40 01 0:0\n",
        );
        write("proc/net/tcp6", "   0: 00000000000000000000000001000000:0050 00000000:0000 0A 0:0\n");
        let addresses: Vec<_> = read(root.path()).iter().map(SocketAddr::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:9464", "[::1]:80"]);
    }
}
