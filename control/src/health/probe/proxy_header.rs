//! The PROXY protocol header, version 1, that precedes a probe.

use std::net::IpAddr;

use guideway_model::config::ProxyHeader;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{ProbeError, Target};

/// Sends the header, where one is configured: in plain text, before TLS too.
pub(super) async fn send<S>(stream: &mut S, header: ProxyHeader, target: &Target) -> Result<(), ProbeError>
where
    S: AsyncWrite + Unpin,
{
    match header {
        ProxyHeader::None => return Ok(()),
        ProxyHeader::ProxyV1 => stream.write_all(version_1(target).as_bytes()).await,
    }
    .map_err(|error| ProbeError::from_io(&error))?;
    stream.flush().await.map_err(|error| ProbeError::from_io(&error))
}

/// The header of proxy-protocol.txt, section 2.1, with the addresses of the connection itself: nobody is proxied.
fn version_1(target: &Target) -> String {
    let Target { vip, port, source } = target;
    let family = match (source.ip(), vip) {
        (IpAddr::V4(_), IpAddr::V4(_)) => "TCP4",
        (IpAddr::V6(_), IpAddr::V6(_)) => "TCP6",
        _ => return "PROXY UNKNOWN\r\n".to_owned(),
    };
    format!("PROXY {family} {} {vip} {} {port}\r\n", source.ip(), source.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(vip: &str, source: &str) -> String {
        let vip = vip.parse().expect("an address");
        version_1(&Target { vip, port: 443, source: source.parse().expect("an address with a port") })
    }

    #[test]
    fn the_header_tells_the_connection_of_the_probe() {
        assert_eq!(
            header("192.0.2.10", "198.51.100.7:40001"),
            "PROXY TCP4 198.51.100.7 192.0.2.10 40001 443\r\n"
        );
        assert_eq!(
            header("2001:db8::10", "[2001:db8::7]:40001"),
            "PROXY TCP6 2001:db8::7 2001:db8::10 40001 443\r\n"
        );
    }

    #[test]
    fn addresses_of_two_families_are_not_told() {
        assert_eq!(header("2001:db8::10", "198.51.100.7:40001"), "PROXY UNKNOWN\r\n");
    }
}
