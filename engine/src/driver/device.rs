//! Names of devices: a PCI function by its address, a virtual device by its driver and arguments.

mod af_packet;
mod bond;

use std::fmt;
use std::str::FromStr;

pub use af_packet::AfPacketRing;

/// Device that DPDK is to drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// PCI function, an SR-IOV VF as a rule: `0000:3b:02.0`.
    Pci(PciAddress),
    /// Virtual device, by DPDK's name for it: `net_af_packet0,iface=eth0`.
    Virtual(String),
}

/// Arguments of virtual devices that name an interface of the kernel.
const INTERFACE_KEYS: [&str; 4] = ["iface", "rx_iface", "rx_iface_in", "tx_iface"];

/// Address of a PCI function: domain, bus, device, function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciAddress {
    domain: u16,
    bus: u8,
    device: u8,
    function: u8,
}

/// Error for a text that names neither a PCI function nor a virtual device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableDevice {
    /// Text that names no device.
    pub text: String,
}

impl fmt::Display for UnreadableDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no device: write a PCI address (`0000:3b:02.0`) or a virtual device \
             (`net_af_packet0,iface=eth0`)",
            self.text
        )
    }
}

impl std::error::Error for UnreadableDevice {}

impl Device {
    /// Name of the device's port in DPDK: the address, or the virtual device's name without its arguments.
    pub fn name(&self) -> String {
        match self {
            Self::Pci(address) => address.to_string(),
            Self::Virtual(arguments) => arguments.split(',').next().unwrap_or_default().to_owned(),
        }
    }

    /// PCI functions that DPDK drives for this device: itself, or the members of a bond.
    pub fn pci_functions(&self) -> Vec<PciAddress> {
        match self {
            Self::Pci(address) => vec![*address],
            Self::Virtual(arguments) => bond::pci_members(arguments),
        }
    }

    /// Names of the members of a bond, as DPDK has them; empty for other devices.
    pub fn members(&self) -> Vec<String> {
        match self {
            Self::Pci(_) => Vec::new(),
            Self::Virtual(arguments) => bond::members(arguments),
        }
    }

    /// Device in the words of DPDK from 23.11 on, or of an older one.
    pub fn in_words_of(&self, is_new: bool) -> String {
        match self {
            Self::Pci(address) => address.to_string(),
            Self::Virtual(arguments) => bond::in_words_of(arguments, is_new),
        }
    }

    /// True for a virtual device of this driver of DPDK, whose name starts the device's.
    pub fn is_driven_by(&self, driver: &str) -> bool {
        matches!(self, Self::Virtual(arguments) if arguments.starts_with(driver))
    }

    /// Value of an argument of a virtual device, such as `iface`; the last one counts.
    pub fn argument(&self, key: &str) -> Option<&str> {
        let Self::Virtual(arguments) = self else { return None };
        let pairs = arguments.split(',').skip(1).filter_map(|argument| argument.split_once('='));
        pairs.filter(|(name, _)| *name == key).last().map(|(_, value)| value)
    }

    /// Names of the kernel's network interfaces that a virtual device takes packets from and sends them by, each once: of `net_pcap`
    /// these may be several.
    pub fn interfaces(&self) -> Vec<&str> {
        let Self::Virtual(arguments) = self else { return Vec::new() };
        let mut interfaces = Vec::new();
        for (key, name) in arguments.split(',').skip(1).filter_map(|argument| argument.split_once('=')) {
            if INTERFACE_KEYS.contains(&key) && !interfaces.contains(&name) {
                interfaces.push(name);
            }
        }
        interfaces
    }
}

impl FromStr for Device {
    type Err = UnreadableDevice;

    fn from_str(text: &str) -> Result<Self, UnreadableDevice> {
        if let Some(rest) = text.strip_prefix("net_") {
            let named = rest.starts_with(|first: char| first.is_ascii_alphanumeric());
            return if named && text.chars().all(|char| char.is_ascii_graphic()) {
                Ok(Self::Virtual(text.to_owned()))
            } else {
                Err(UnreadableDevice { text: text.to_owned() })
            };
        }
        parse_address(text).map(Self::Pci).ok_or_else(|| UnreadableDevice { text: text.to_owned() })
    }
}

/// Parses `DDDD:BB:DD.F`, in hexadecimal; only the domain may be left out.
fn parse_address(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.rsplit_once('.')?;
    let mut parts = rest.rsplit(':');
    let (device, bus) = (parts.next()?, parts.next()?);
    let domain = parts.next().unwrap_or("0000");
    if parts.next().is_some() {
        return None;
    }
    let number = |digits: &str, len: usize, end: u16| {
        let hexadecimal = digits.len() == len && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|number| hexadecimal && *number <= end)
    };
    Some(PciAddress {
        domain: number(domain, 4, u16::MAX)?,
        bus: number(bus, 2, 0xff)? as u8,
        device: number(device, 2, 0x1f)? as u8,
        function: number(function, 1, 7)? as u8,
    })
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pci(address) => address.fmt(f),
            Self::Virtual(arguments) => f.write_str(arguments),
        }
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pci_address_is_read_with_and_without_its_domain() {
        for text in ["0000:3b:02.0", "3b:02.0", "0000:3B:02.0"] {
            assert_eq!(text.parse::<Device>().unwrap().name(), "0000:3b:02.0");
        }
        assert_eq!("10ab:ff:1f.7".parse::<Device>().unwrap().to_string(), "10ab:ff:1f.7");
    }

    #[test]
    fn a_virtual_device_is_named_by_what_stands_before_its_arguments() {
        let device: Device = "net_af_packet0,iface=eth0,qpairs=2".parse().unwrap();
        assert_eq!(device.name(), "net_af_packet0");
        assert_eq!(device.to_string(), "net_af_packet0,iface=eth0,qpairs=2");
    }

    #[test]
    fn arguments_of_a_virtual_device_are_found_by_their_names() {
        let device: Device = "net_af_packet0,iface=eth0,qpairs=2,qpairs=4".parse().unwrap();
        assert_eq!(
            ["iface", "qpairs", "qpair", "net_af_packet0"].map(|key| device.argument(key)),
            [Some("eth0"), Some("4"), None, None]
        );
        assert!(device.is_driven_by("net_af_packet") && !device.is_driven_by("net_af_xdp"));
        let vf: Device = "0000:3b:02.0".parse().unwrap();
        assert!(vf.argument("iface").is_none() && !vf.is_driven_by("net_af_packet"));
    }

    #[test]
    fn interfaces_of_a_virtual_device_are_those_of_all_its_arguments() {
        for (device, interfaces) in [
            ("net_af_packet0,iface=eth0,qpairs=2", &["eth0"][..]),
            ("net_pcap0,rx_iface=eth0,rx_iface=eth1,tx_iface=eth2", &["eth0", "eth1", "eth2"]),
            ("net_pcap0,rx_iface_in=eth0,tx_iface=eth0", &["eth0"]),
            ("net_pcap0,rx_pcap=in.pcap,tx_iface=eth0", &["eth0"]),
            ("net_null0", &[]),
            ("0000:3b:02.0", &[]),
        ] {
            assert_eq!(device.parse::<Device>().unwrap().interfaces(), interfaces, "{device}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_examples_of_both() {
        for text in [
            "",
            "eth0",
            "3b:20.0",
            "3b:02.8",
            "3b:02",
            "0:0000:3b:02.0",
            "3b:+2.0",
            "net_",
            "net_tap0,\0",
            "net_tap 0",
        ] {
            let error = text.parse::<Device>().expect_err(text).to_string();
            assert!(error.contains("0000:3b:02.0") && error.contains("net_af_packet0"), "{error}");
        }
    }
}
