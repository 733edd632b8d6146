//! The kinds of value that a key can hold: numbers within bounds, names, addresses, prefixes, choices.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use guideway_engine::driver::device::{Device, UnreadableDevice};
use ipnet::IpNet;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use toml::Spanned;
use toml::de::DeValue;

use super::field::{Value, wrong_type};
use crate::config::limits::{MAX_DESCRIPTION, MAX_SOCKET_PATH, MAX_TEXT};
use crate::config::report::Report;

impl Value for bool {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let read = value.get_ref().as_bool();
        if read.is_none() {
            wrong_type(key, "`true` or `false`", value, report);
        }
        read
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "boolean" })
    }
}

/// An integer from `MIN` to `MAX`, both included.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::config) struct Integer<const MIN: u32, const MAX: u32>(pub(in crate::config) u32);

/// A layer-4 port.
pub(in crate::config) type Port = Integer<1, 65_535>;

/// A core, by its number in the kernel.
pub(in crate::config) type Core = Integer<0, 1_023>;

impl<const MIN: u32, const MAX: u32> Integer<MIN, MAX> {
    /// Number in 16 bits, which hold all that is within its bounds.
    pub(in crate::config) fn as_u16(self) -> u16 {
        const { assert!(MAX <= u16::MAX as u32) };
        self.0 as u16
    }
}

impl<const MIN: u32, const MAX: u32> Value for Integer<MIN, MAX> {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let DeValue::Integer(written) = value.get_ref() else {
            wrong_type(key, "an integer", value, report);
            return None;
        };
        let read = u32::from_str_radix(written.as_str(), written.radix()).ok();
        let bounded = read.filter(|number| (MIN..=MAX).contains(number));
        if bounded.is_none() {
            let message = format!("`{key}` must be {MIN} to {MAX}, not {written}");
            report.error(&value.span(), message, format!("write a number from {MIN} to {MAX}"));
        }
        bounded.map(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// A number from 0.0 to 1.0.
#[derive(Clone, Copy, Debug, Serialize)]
pub(in crate::config) struct Ratio(pub(in crate::config) f64);

impl Value for Ratio {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let read = match value.get_ref() {
            DeValue::Float(written) => written.as_str().parse().ok(),
            // 0 and 1 are integers to TOML, ratios to everyone else.
            DeValue::Integer(written) => written.as_str().parse().ok(),
            _ => {
                wrong_type(key, "a number", value, report);
                return None;
            }
        };
        let bounded = read.filter(|ratio| (0.0..=1.0).contains(ratio));
        if bounded.is_none() {
            let help = "0.5 fails over when fewer than half of the primaries are usable";
            report.error(&value.span(), format!("`{key}` must be 0.0 to 1.0"), help);
        }
        bounded.map(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0.0, "maximum": 1.0 })
    }
}

/// Reads the text of a string, or reports that the value is none.
pub(super) fn text<'a>(
    key: &str,
    expected: &str,
    value: &'a Spanned<DeValue<'_>>,
    report: &mut Report,
) -> Option<&'a str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        wrong_type(key, expected, value, report);
    }
    text
}

/// A name: an RFC 1035 label in lower case, as Google Cloud's resources have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::config) struct Name(pub(in crate::config) String);

impl Value for Name {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "a name", value, report)?;
        let valid = is_name(text);
        if !valid {
            let help = match text.rsplit_once('/') {
                Some((_, last)) if is_name(last) => format!("write `{last}`: a name, and no URL"),
                _ => "a name is 1 to 63 lower-case letters, digits and hyphens; it begins with a letter and ends \
                      in no hyphen"
                    .to_owned(),
            };
            report.error(&value.span(), format!("`{text}` is not a name"), help);
        }
        valid.then(|| Self(text.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$" })
    }
}

/// True of an RFC 1035 label in lower case.
fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Address of one host: a unicast address in its own family's notation.
impl Value for IpAddr {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "an IP address", value, report)?;
        let Ok(address) = text.parse::<Self>() else {
            let help = "write an IPv4 or IPv6 address, without a port or a prefix length";
            report.error(&value.span(), format!("`{text}` is not an IP address"), help);
            return None;
        };
        unicast(key, text, address, value, report)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] })
    }
}

/// Returns the address, or reports that no host has such an address.
pub(super) fn unicast(
    key: &str,
    text: &str,
    address: IpAddr,
    value: &Spanned<DeValue<'_>>,
    report: &mut Report,
) -> Option<IpAddr> {
    let (kind, help) = match address {
        IpAddr::V6(v6) if let Some(v4) = v6.to_ipv4_mapped() => {
            ("IPv4-mapped", format!("packets never carry one; write `{v4}`"))
        }
        _ if address.is_multicast() => ("multicast", one_host()),
        _ if address.is_unspecified() => ("unspecified", one_host()),
        _ if address.is_loopback() => ("loopback", one_host()),
        IpAddr::V4(v4) if v4.is_broadcast() => ("broadcast", one_host()),
        _ => return Some(address),
    };
    report.error(&value.span(), format!("`{key}` must be a unicast address, `{text}` is {kind}"), help);
    None
}

fn one_host() -> String {
    "write the address of one host that packets on the wire can carry".to_owned()
}

/// A prefix in CIDR notation, without host bits.
impl Value for IpNet {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "a prefix", value, report)?;
        let help = match (text.parse::<Self>(), text.parse::<IpAddr>()) {
            (Ok(Self::V6(prefix)), _)
                if prefix.prefix_len() >= 96 && prefix.addr().to_ipv4_mapped().is_some() =>
            {
                "packets never carry IPv4-mapped addresses; write the prefix in IPv4".to_owned()
            }
            (Ok(prefix), _) if prefix.addr() == prefix.network() => return Some(prefix),
            (Ok(prefix), _) => {
                let message = format!("`{text}` has bits set beyond its length");
                report.error(&value.span(), message, format!("write `{}`", prefix.trunc()));
                return None;
            }
            (Err(_), Ok(address)) => format!("write `{}`", Self::from(address)),
            (Err(_), Err(_)) => "write a prefix such as `192.0.2.0/24` or `2001:db8::/32`".to_owned(),
        };
        report.error(&value.span(), format!("`{text}` is not a prefix in CIDR notation"), help);
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$" })
    }
}

/// Clients that a rule takes: a prefix in CIDR notation, or the address of one client, as Google Cloud writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) struct ClientRange(pub(in crate::config) IpNet);

impl Value for ClientRange {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "a prefix or an address", value, report)?;
        match text.parse::<IpAddr>() {
            Ok(address) => unicast(key, text, address, value, report).map(|address| Self(address.into())),
            Err(_) => IpNet::read(key, value, report).map(Self),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F:.]+(/[0-9]{1,3})?$" })
    }
}

/// Address of an interface, with the length of its link's prefix.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct InterfaceAddress(pub(in crate::config) IpNet);

impl Value for InterfaceAddress {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "an address with a prefix length", value, report)?;
        let Some(prefix) = text.parse::<IpNet>().ok().filter(|prefix| prefix.prefix_len() > 0) else {
            let help = "write the port's own address and the length of its prefix, such as `192.0.2.1/24`";
            report.error(&value.span(), format!("`{text}` is not an address with a prefix length"), help);
            return None;
        };
        let is_network =
            prefix.addr() == prefix.network() && prefix.max_prefix_len() - prefix.prefix_len() > 1;
        let is_broadcast = prefix.addr().is_ipv4()
            && prefix.addr() == prefix.broadcast()
            && prefix.max_prefix_len() - prefix.prefix_len() > 1;
        if is_network || is_broadcast {
            let message = format!("`{text}` names the link, and no interface on it");
            report.error(&value.span(), message, "write the port's own address before the `/`");
            return None;
        }
        unicast(key, text, prefix.addr(), value, report).map(|_| Self(prefix))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$" })
    }
}

/// A device, as DPDK names it.
impl Value for Device {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "a device", value, report)?;
        match text.parse() {
            Ok(device) => Some(device),
            Err(UnreadableDevice { text }) => {
                let help =
                    "write a PCI address (`0000:3b:02.0`) or a virtual device (`net_af_packet0,iface=eth0`)";
                report.error(&value.span(), format!("`{text}` is no device"), help);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// Path of a Unix socket.
impl Value for PathBuf {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = absolute_path(key, value, "/run/guideway/admin.sock", report)?;
        is_short(text, ("a socket's", MAX_SOCKET_PATH), value, report).then(|| text.into())
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX_SOCKET_PATH })
    }
}

/// Path of a file that the appliance writes.
#[derive(Clone, Debug, Serialize)]
pub(in crate::config) struct FilePath(pub(in crate::config) PathBuf);

impl Value for FilePath {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = absolute_path(key, value, "/var/lib/guideway/state.toml", report)?;
        is_short(text, ("a file's", MAX_TEXT), value, report).then(|| Self(text.into()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX_TEXT })
    }
}

/// Path of a file that the configuration goes on in: absolute, or relative to the file that names it.
#[derive(Clone, Debug)]
pub(in crate::config) struct NamedPath(pub(in crate::config) String);

impl Value for NamedPath {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "a path", value, report)?;
        if text.is_empty() || text.ends_with('/') || text.contains('\0') {
            let help = "write the path of a file, absolute or from the folder of this file on";
            report.error(&value.span(), format!("`{text}` is no path of a file"), help);
            return None;
        }
        is_short(text, ("a file's", MAX_TEXT), value, report).then(|| Self(text.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX_TEXT })
    }
}

/// Reads the absolute path of a file, such as `example`.
fn absolute_path<'v>(
    key: &str,
    value: &'v Spanned<DeValue<'_>>,
    example: &str,
    report: &mut Report,
) -> Option<&'v str> {
    let text = text(key, "a path", value, report)?;
    if !text.starts_with('/') || text.ends_with('/') || text.contains('\0') {
        let help = format!("write the whole path of a file, such as `{example}`");
        report.error(&value.span(), format!("`{text}` is no absolute path"), help);
        return None;
    }
    Some(text)
}

/// Checks that a path is no longer than one of its kind may be.
fn is_short(
    path: &str,
    (whose, limit): (&str, usize),
    value: &Spanned<DeValue<'_>>,
    report: &mut Report,
) -> bool {
    let is_short = path.len() <= limit;
    if !is_short {
        let message = format!("a path of {} bytes, and {whose} has at most {limit}", path.len());
        report.error(&value.span(), message, "write a shorter path");
    }
    is_short
}

/// Address and port that a listener listens on.
impl Value for SocketAddr {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "an address and a port", value, report)?;
        let parsed = text.parse::<Self>().ok().filter(|listen| listen.port() != 0);
        if parsed.is_none() {
            let help = "write an IP address and a port, such as `127.0.0.1:9477` or `[::1]:9477`";
            report.error(&value.span(), format!("`{text}` is no address with a port"), help);
        }
        parsed
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// MAC address of one interface.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Mac(pub(in crate::config) [u8; 6]);

impl Value for Mac {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "a MAC address", value, report)?;
        let Some(bytes) = hex_bytes::<6>(text, Some(':')) else {
            let help = "write six bytes in hexadecimal with colons, such as `02:00:00:00:00:01`";
            report.error(&value.span(), format!("`{text}` is not a MAC address"), help);
            return None;
        };
        // IEEE 802: the lowest bit of the first byte marks a group address.
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            let help = "write the MAC address of one interface: not zero, and its first byte even";
            report.error(&value.span(), format!("`{text}` is not the address of an interface"), help);
            return None;
        }
        Some(Self(bytes))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$" })
    }
}

/// Seed of a fleet.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Seed(pub(in crate::config) [u8; 16]);

impl Value for Seed {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let seed = hex_bytes(text(key, "a string of 32 hexadecimal digits", value, report)?, None);
        if seed.is_none() {
            let help = "make one with `openssl rand -hex 16` and give it to every appliance of the fleet";
            report.error(&value.span(), format!("`{key}` must be 32 hexadecimal digits"), help);
        }
        seed.map(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9a-fA-F]{32}$" })
    }
}

impl Seed {
    /// Seed of these digits, with spaces and line ends around them; [`None`] if they are no seed.
    pub(in crate::config) fn of_file(text: &str) -> Option<Self> {
        hex_bytes(text.trim_ascii(), None).map(Self)
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }
}

/// Reads exactly `N` bytes of two hexadecimal digits each, with a separator between them or none.
fn hex_bytes<const N: usize>(text: &str, separator: Option<char>) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut digits = text.chars();
    for (i, byte) in bytes.iter_mut().enumerate() {
        if i > 0 && separator.is_some() && digits.next() != separator {
            return None;
        }
        let (high, low) = (digits.next()?.to_digit(16)?, digits.next()?.to_digit(16)?);
        *byte = (high << 4 | low) as u8;
    }
    digits.next().is_none().then_some(bytes)
}

/// First and last port of a range.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct PortRange(pub(in crate::config) u16, pub(in crate::config) u16);

impl Value for PortRange {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "a range of ports", value, report)?;
        let range = text
            .split_once('-')
            .and_then(|(first, last)| Some((first.parse::<u16>().ok()?, last.parse::<u16>().ok()?)));
        match range {
            Some((first, last)) if 0 < first && first <= last => Some(Self(first, last)),
            _ => {
                let help = "write the first and the last port, such as `8000-8100`, each 1 to 65535";
                report.error(&value.span(), format!("`{text}` is not a range of ports"), help);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,5}-[0-9]{1,5}$" })
    }
}

/// Element of a list of ports: a port as a number or as text, or a range of ports as text, as Google Cloud writes them.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct ListedPorts(pub(in crate::config) u16, pub(in crate::config) u16);

impl Value for ListedPorts {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = match value.get_ref() {
            DeValue::Integer(_) => {
                let port = Port::read(key, value, report)?.as_u16();
                return Some(Self(port, port));
            }
            _ => text(key, "a port", value, report)?,
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let has_digits_alone = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first_port), Ok(last_port))
                if has_digits_alone(first)
                    && has_digits_alone(last)
                    && (1..=last_port).contains(&first_port) =>
            {
                Some(Self(first_port, last_port))
            }
            _ => {
                let help = "write a port such as `443`, or a range such as `\"8000-8100\"`, each 1 to 65535";
                report.error(&value.span(), format!("`{text}` is not a port"), help);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": 65_535,
            "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$"
        })
    }
}

/// Text for people, of at most [`MAX_DESCRIPTION`] characters; nothing depends on it.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Description;

impl Value for Description {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let length = text(key, "a string", value, report)?.chars().count();
        if length > MAX_DESCRIPTION {
            let message = format!("`{key}` must be at most {MAX_DESCRIPTION} characters long, not {length}");
            report.error(&value.span(), message, "shorten it");
            return None;
        }
        Some(Self)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX_DESCRIPTION })
    }
}

/// ASCII text of at most [`MAX_TEXT`] bytes.
#[derive(Clone, Debug, Serialize)]
pub(in crate::config) struct Ascii(pub(in crate::config) String);

impl Value for Ascii {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "a string", value, report)?;
        if !text.is_ascii() {
            report.error(&value.span(), format!("`{key}` must be ASCII"), "leave out what is not ASCII");
            return None;
        }
        if text.len() > MAX_TEXT {
            let message = format!("`{key}` must be at most {MAX_TEXT} bytes long, not {}", text.len());
            report.error(&value.span(), message, "shorten it");
            return None;
        }
        Some(Self(text.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX_TEXT })
    }
}
