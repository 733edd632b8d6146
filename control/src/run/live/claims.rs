//! Claims on interfaces of the kernel that ports forward by: where a second process took one too, both would get every frame,
//! and each would forward it.
//!
//! A claim is an abstract Unix socket of a name. The kernel keeps these apart by network namespaces, as it does interfaces,
//! and gives them up with their process, however that ends. Such a name has no permissions, and any local user may take it: the socket
//! listens, so that the kernel tells a second process whose it is.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread;
use std::time::Duration;

use guideway_model::config::Port;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket};
use nix::unistd::{Uid, User};

/// Interfaces of all ports, claimed until this value is dropped.
#[derive(Debug)]
pub(super) struct Claims {
    _sockets: Vec<UnixListener>,
}

/// Looks at a claim that another process has, until its holder is known: one that starts may not listen yet, or may just have ended.
const LOOKS: u32 = 20;

/// Pause between two of these.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Process that has a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    /// Number of the process; 0 if it is not of this namespace of processes.
    process: i32,
    user: u32,
}

/// Error: another process has claimed the interface of a port.
#[derive(Debug)]
pub struct Claimed {
    port: String,
    interface: String,
    /// None where the process does not answer, as an appliance does.
    holder: Option<Holder>,
}

impl fmt::Display for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, interface, holder } = self;
        let name = name(interface);
        let Some(holder) = holder else {
            return write!(
                f,
                "port `{port}`: a process that is no appliance, or hangs, holds the claim on {interface}: end it (`ss -xap | \
                 grep {name}` shows which), or name another interface"
            );
        };
        let process = match holder.process {
            0 => String::new(),
            number => format!(" {number}"),
        };
        if holder.user == 0 || holder.user == Uid::effective().as_raw() {
            let which = if process.is_empty() { process } else { format!(" (process{process})") };
            return write!(
                f,
                "port `{port}`: another appliance forwards by {interface}, and both would forward each packet: stop it{which}, \
                 or name another interface"
            );
        }
        let user = User::from_uid(Uid::from_raw(holder.user)).ok().flatten();
        let user = user.map_or_else(|| holder.user.to_string(), |user| user.name);
        write!(
            f,
            "port `{port}`: process{process} of user {user} holds the claim on {interface} (the abstract socket @{name}): if \
             it is an appliance, both would forward each packet; end it, or name another interface"
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
            for interface in port.device.interfaces() {
                if claimed.contains(&interface) {
                    continue;
                }
                claimed.push(interface);
                match claim(interface) {
                    Ok(Ok(socket)) => sockets.push(socket),
                    Ok(Err(holder)) => {
                        return Err(Claimed {
                            port: port.name.clone(),
                            interface: interface.to_owned(),
                            holder,
                        });
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

/// Claims an interface, or finds the process that has.
fn claim(interface: &str) -> io::Result<Result<UnixListener, Option<Holder>>> {
    let name = name(interface);
    let address = SocketAddr::from_abstract_name(&name)?;
    for _ in 0..LOOKS {
        match UnixListener::bind_addr(&address) {
            Ok(socket) => return Ok(Ok(socket)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(error),
        }
        if let Some(holder) = holder(&name) {
            return Ok(Err(Some(holder)));
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    Ok(Err(None))
}

/// Name of the abstract socket that claims an interface.
fn name(interface: &str) -> String {
    format!("guideway-forwards-by-{interface}")
}

/// Process that listens by an abstract socket; none where it does not listen, or its queue is full.
fn holder(name: &str) -> Option<Holder> {
    // Connections are never accepted: whoever waited for room in the queue would do so for ever.
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None).ok()?;
    connect(socket.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes()).ok()?).ok()?;
    let credentials = getsockopt(&socket, PeerCredentials).ok()?;
    Some(Holder { process: credentials.pid(), user: credentials.uid() })
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
        let pcap = "net_pcap0,rx_iface=#3,rx_iface=#1,tx_iface=#1";
        let first = claims(&[("a", "net_af_packet0,iface=#0"), ("b", pcap)]);
        let first = first.expect("nobody else has them");
        for (device, interface) in [
            ("net_pcap3,iface=#0", "#0"),
            ("net_af_xdp0,iface=#1", "#1"),
            ("net_pcap3,rx_iface=#4,tx_iface=#3", "#3"),
        ] {
            assert_eq!(
                claims(&[("lan", device)]).expect_err("it is claimed"),
                format!(
                    "port `lan`: another appliance forwards by {interface}, and both would forward each packet: stop it \
                     (process {}), or name another interface",
                    std::process::id()
                )
            );
        }
        assert!(claims(&[("c", "net_af_packet0,iface=#2"), ("d", "net_null0")]).is_ok());
        drop(first);
        assert!(claims(&[("lan", "net_pcap3,iface=#0")]).is_ok());
    }

    #[test]
    fn whoever_holds_a_claim_is_named_with_the_way_to_end_it() {
        let said =
            |holder| Claimed { port: "lan".to_owned(), interface: "eth0".to_owned(), holder }.to_string();
        // No user has the last number but one, which has no name.
        let user = u32::MAX - 2;
        assert_eq!(
            said(Some(Holder { process: 4_711, user })),
            format!(
                "port `lan`: process 4711 of user {user} holds the claim on eth0 (the abstract socket \
                 @guideway-forwards-by-eth0): if it is an appliance, both would forward each packet; end it, or name another \
                 interface"
            )
        );
        assert_eq!(
            said(Some(Holder { process: 0, user: 0 })),
            "port `lan`: another appliance forwards by eth0, and both would forward each packet: stop it, or name another \
             interface"
        );
        assert_eq!(
            said(None),
            "port `lan`: a process that is no appliance, or hangs, holds the claim on eth0: end it (`ss -xap | grep \
             guideway-forwards-by-eth0` shows which), or name another interface"
        );
    }

    #[test]
    fn a_name_that_nobody_listens_by_and_one_whose_queue_is_full_keep_no_start_waiting() {
        let name = format!("guideway-test-of-claims-{}", std::process::id());
        let address = UnixAddr::new_abstract(name.as_bytes()).unwrap();
        let bound = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        nix::sys::socket::bind(bound.as_raw_fd(), &address).unwrap();
        assert_eq!(holder(&name), None);
        nix::sys::socket::listen(&bound, nix::sys::socket::Backlog::new(1).unwrap()).unwrap();
        let process = i32::try_from(std::process::id()).unwrap();
        let known = Holder { process, user: Uid::effective().as_raw() };
        let looks: Vec<_> = (0..4).map(|_| holder(&name)).collect();
        assert_eq!((looks[0], looks[3]), (Some(known), None), "{looks:?}");
    }
}
