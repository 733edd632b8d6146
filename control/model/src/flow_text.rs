//! Flows as an operator writes them: `tcp 192.0.2.7:40001 > 203.0.113.10:443`, `esp 2001:db8::7 > 2001:db8::10`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use guideway_dataplane::affinity::Tuple;
use guideway_dataplane::flow::{Flow, Fragment};
use guideway_dataplane::wire::protocol;

/// A flow in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowText(pub Flow);

/// An error of a text that is no flow, with the form that a flow has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowTextError(String);

impl fmt::Display for FlowTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; write a flow as `tcp 192.0.2.7:40001 > 203.0.113.10:443` or `icmp 192.0.2.7 > 203.0.113.10`",
            self.0
        )
    }
}

impl std::error::Error for FlowTextError {}

/// Names of protocols; any other protocol is written as its number.
const NAMES: [(&str, u8); 9] = [
    ("tcp", protocol::TCP),
    ("udp", protocol::UDP),
    ("icmp", protocol::ICMP),
    ("icmpv6", protocol::ICMPV6),
    ("esp", protocol::ESP),
    ("gre", protocol::GRE),
    ("ah", 51),
    ("sctp", 132),
    ("ipip", protocol::IPV4),
];

/// Name of a protocol, or its number where it has none.
pub fn protocol_name(protocol: u8) -> String {
    match NAMES.iter().find(|(_, number)| *number == protocol) {
        Some((name, _)) => (*name).to_owned(),
        None => protocol.to_string(),
    }
}

impl FromStr for FlowText {
    type Err = FlowTextError;

    /// Reads `PROTOCOL SOURCE > DESTINATION [fragment]`, with ports if the protocol has them; `fragment` is `first-fragment`
    /// or `later-fragment`.
    fn from_str(text: &str) -> Result<Self, FlowTextError> {
        let wrong = |what: String| FlowTextError(what);
        let words: Vec<&str> = text.split_whitespace().collect();
        let (name, src, dst, fragment) = match words[..] {
            [name, src, ">" | "->", dst] => (name, src, dst, Fragment::No),
            [name, src, ">" | "->", dst, "first-fragment"] => (name, src, dst, Fragment::First),
            [name, src, ">" | "->", dst, "later-fragment"] => (name, src, dst, Fragment::Later),
            _ => return Err(wrong(format!("`{text}` is no flow"))),
        };
        let by_name =
            NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, number)| *number);
        let protocol = by_name
            .or_else(|| name.parse().ok())
            .ok_or_else(|| wrong(format!("`{name}` is neither a protocol's name nor its number")))?;
        let ported = matches!(protocol, protocol::TCP | protocol::UDP) && fragment != Fragment::Later;
        let (src, src_port) = end(src, ported)?;
        let (dst, dst_port) = end(dst, ported)?;
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(wrong(format!("{src} and {dst} are of different families")));
        }
        Ok(Self(Flow { src: src.into(), dst: dst.into(), src_port, dst_port, protocol, fragment }))
    }
}

/// Reads one end of a flow.
fn end(text: &str, ported: bool) -> Result<(IpAddr, u16), FlowTextError> {
    let wrong = |what: &str| FlowTextError(format!("`{text}` is no {what}"));
    if ported {
        let end: SocketAddr =
            text.parse().map_err(|_| wrong("address with a port (IPv6: `[2001:db8::1]:443`)"))?;
        Ok((end.ip().to_canonical(), end.port()))
    } else {
        let address: IpAddr = text.parse().map_err(|_| wrong("address without a port"))?;
        Ok((address.to_canonical(), 0))
    }
}

impl fmt::Display for FlowText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flow = &self.0;
        write!(f, "{} ", protocol_name(flow.protocol))?;
        let (src, dst) = (IpAddr::from(flow.src), IpAddr::from(flow.dst));
        if flow.rule_port().is_some() {
            write!(f, "{} > {}", SocketAddr::new(src, flow.src_port), SocketAddr::new(dst, flow.dst_port))?;
        } else {
            write!(f, "{src} > {dst}")?;
        }
        match flow.fragment {
            Fragment::No => Ok(()),
            Fragment::First => f.write_str(" first-fragment"),
            Fragment::Later => f.write_str(" later-fragment"),
        }
    }
}

/// Describes a tuple in words.
pub fn describe_tuple(tuple: Tuple) -> &'static str {
    match tuple {
        Tuple::One => "1-tuple: source address",
        Tuple::Two => "2-tuple: source and destination address",
        Tuple::Three => "3-tuple: addresses and protocol",
        Tuple::Five => "5-tuple: addresses, protocol and ports",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_survives_being_read_and_written() {
        for text in [
            "tcp 192.0.2.7:40001 > 203.0.113.10:443",
            "udp [2001:db8::7]:53 > [2001:db8::10]:53",
            "esp 192.0.2.7 > 203.0.113.10",
            "89 192.0.2.7 > 203.0.113.10",
            "udp 192.0.2.7:1 > 203.0.113.10:2 first-fragment",
            "udp 192.0.2.7 > 203.0.113.10 later-fragment",
        ] {
            assert_eq!(text.parse::<FlowText>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn an_arrow_may_have_a_shaft() {
        let text = "tcp 192.0.2.7:40001 -> 203.0.113.10:443";
        assert_eq!(text.parse::<FlowText>().unwrap().to_string(), text.replace("->", ">"));
    }

    #[test]
    fn what_is_no_flow_is_told_why() {
        for (text, what) in [
            ("tcp 192.0.2.7:1 203.0.113.10:2", "is no flow"),
            ("tpc 192.0.2.7:1 > 203.0.113.10:2", "neither a protocol's name"),
            ("tcp 192.0.2.7 > 203.0.113.10:2", "address with a port"),
            ("esp 192.0.2.7:1 > 203.0.113.10", "address without a port"),
            ("tcp 192.0.2.7:1 > [2001:db8::1]:2", "different families"),
        ] {
            assert!(text.parse::<FlowText>().unwrap_err().to_string().contains(what), "{text}");
        }
    }
}
