//! The far end of an appliance's cable: sends frames as they are, and hears those that the appliance sends.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::sockopt::RcvBufForce;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
};

use super::namespace::Namespace;

/// Bytes that wait to be heard: every frame that a test sends.
const RECEIVE_BUFFER: usize = 16 << 20;

/// Device of the kernel at the far end of a cable, by a packet socket.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: OwnedFd,
}

impl Wire {
    /// Listens to a device of a namespace; None while there is no such device.
    pub(crate) fn open(namespace: &Namespace, device: &str) -> Option<Self> {
        namespace.inside(|| {
            let address = link_address(device)?;
            let (family, kind) = (AddressFamily::Packet, SockType::Raw);
            let socket = socket(family, kind, SockFlag::SOCK_NONBLOCK, SockProtocol::EthAll);
            let socket = socket.unwrap_or_else(|error| panic!("no packet socket: {error}"));
            setsockopt(&socket, RcvBufForce, &RECEIVE_BUFFER).expect("root may");
            bind(socket.as_raw_fd(), &address).unwrap_or_else(|error| panic!("bind to {device}: {error}"));
            Some(Self { socket })
        })
    }

    /// Sends a frame; what its headers say is nobody's business here.
    pub(crate) fn send(&self, frame: &[u8]) {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty());
        assert_eq!(sent, Ok(frame.len()), "a frame of {} bytes", frame.len());
    }

    /// Sends frames as fast as the device takes them.
    pub(crate) fn flood(&self, frames: impl IntoIterator<Item = Vec<u8>>) {
        for frame in frames {
            loop {
                match send(self.socket.as_raw_fd(), &frame, MsgFlags::empty()) {
                    Ok(_) => break,
                    Err(Errno::EAGAIN | Errno::ENOBUFS) => std::thread::yield_now(),
                    Err(error) => panic!("a frame of {} bytes: {error}", frame.len()),
                }
            }
        }
    }

    /// Takes the frames for one receiver that have come since, in order. The kernel has removed their VLAN tags.
    pub(crate) fn receive(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = [0; 1 << 16];
        loop {
            match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) if buffer[0] & 1 == 0 => frames.push(buffer[..length].to_vec()),
                Ok(_) => {}
                Err(Errno::EAGAIN) => return frames,
                Err(error) => panic!("a packet socket: {error}"),
            }
        }
    }
}

fn link_address(device: &str) -> Option<LinkAddr> {
    let mut interfaces = getifaddrs().expect("the kernel lists its interfaces");
    interfaces.find_map(|one| {
        let address = one.address.filter(|_| one.interface_name == device)?;
        address.as_link_addr().copied()
    })
}
