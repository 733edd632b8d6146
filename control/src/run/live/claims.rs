//! Claims on interfaces of the kernel that ports forward by: where a second process took one too, both would get every frame,
//! and each would forward it.
//!
//! A claim is an abstract Unix socket of a name. The kernel keeps these apart by network namespaces, as it does interfaces,
//! and gives them up with their process, however that ends.

use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use guideway_model::config::Port;

/// Arguments of virtual devices that name an interface.
const KEYS: [&str; 4] = ["iface", "rx_iface", "rx_iface_in", "tx_iface"];

/// Interfaces of all ports, claimed until this value is dropped.
#[derive(Debug)]
pub(super) struct Claims {
    _sockets: Vec<UnixDatagram>,
}

/// Error: another process has claimed the interface of a port.
#[derive(Debug)]
pub struct Claimed {
    port: String,
    interface: String,
}

impl fmt::Display for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "port `{}`: another appliance forwards by {}, and both would forward each packet: stop it, or name another \
             interface",
            self.port, self.interface
        )
    }
}

impl std::error::Error for Claimed {}

impl Claims {
    /// Claims the interfaces of these ports.
    ///
    /// # Errors
    /// [`Claimed`] where another process has one of them. An operating system that refuses for any other cause keeps nobody from
    /// forwarding.
    pub(super) fn of(ports: &[Port]) -> Result<Self, Claimed> {
        let mut sockets = Vec::new();
        let mut claimed = Vec::new();
        for port in ports {
            for interface in KEYS.iter().filter_map(|key| port.device.argument(key)) {
                if claimed.contains(&interface) {
                    continue;
                }
                claimed.push(interface);
                match claim(interface) {
                    Ok(socket) => sockets.push(socket),
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                        return Err(Claimed { port: port.name.clone(), interface: interface.to_owned() });
                    }
                    Err(error) => {
                        tracing::warn!(
                            port = port.name,
                            "nobody is kept from forwarding by {interface} too: {error}"
                        );
                    }
                }
            }
        }
        Ok(Self { _sockets: sockets })
    }
}

fn claim(interface: &str) -> io::Result<UnixDatagram> {
    let name = format!("guideway-forwards-by-{interface}");
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(test)]
mod tests {
    use guideway_model::config::Config;

    use super::*;

    fn claims(ports: &[(&str, &str)]) -> Result<Claims, String> {
        let number = std::process::id();
        let port = |(name, device): &(&str, &str)| {
            format!(
                "[[port]]\nname = \"{name}\"\ndevice = \"{}\"\n",
                device.replace('#', &format!("gw{number}-"))
            )
        };
        let text: String = ports.iter().map(port).collect();
        let config = Config::parse("test", &text).unwrap_or_else(|errors| panic!("{errors}"));
        Claims::of(&config.ports).map_err(|error| error.to_string().replace(&format!("gw{number}-"), "#"))
    }

    #[test]
    fn an_interface_has_one_claim_until_that_is_dropped() {
        let first = claims(&[("a", "net_af_packet0,iface=#0"), ("b", "net_pcap0,rx_iface=#1,tx_iface=#1")]);
        let first = first.expect("nobody else has them");
        for (device, interface) in [("net_pcap3,iface=#0", "#0"), ("net_af_xdp0,iface=#1", "#1")] {
            assert_eq!(
                claims(&[("lan", device)]).expect_err("it is claimed"),
                format!(
                    "port `lan`: another appliance forwards by {interface}, and both would forward each packet: stop it, \
                     or name another interface"
                )
            );
        }
        assert!(claims(&[("c", "net_af_packet0,iface=#2"), ("d", "net_null0")]).is_ok());
        drop(first);
        assert!(claims(&[("lan", "net_pcap3,iface=#0")]).is_ok());
    }
}
