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

/// An error of a text that is no flow, with a flow of the protocol that was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowTextError {
    what: String,
    /// True if the flow's protocol has ports; [`None`] if the text does not tell.
    has_ports: Option<bool>,
}

impl fmt::Display for FlowTextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (with_ports, without) =
            ("tcp 192.0.2.7:40001 > 203.0.113.10:443", "icmp 192.0.2.7 > 203.0.113.10");
        let what = &self.what;
        match self.has_ports {
            Some(true) => write!(f, "{what}; write a flow as `{with_ports}`"),
            Some(false) => write!(f, "{what}; write a flow as `{without}`"),
            None => write!(f, "{what}; write a flow as `{with_ports}` or `{without}`"),
        }
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
        let wrong = |what: String| FlowTextError { what, has_ports: None };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (name, src, dst, fragment) = match words[..] {
            [name, src, ">" | "->", dst] => (name, src, dst, Fragment::No),
            [name, src, ">" | "->", dst, "first-fragment"] => (name, src, dst, Fragment::First),
            [name, src, ">" | "->", dst, "later-fragment"] => (name, src, dst, Fragment::Later),
            _ => return Err(wrong(missing(text, &words))),
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
            let family = |address: IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
            let what = format!("{src} is an {} address, and {dst} an {} one", family(src), family(dst));
            return Err(FlowTextError { what, has_ports: Some(ported) });
        }
        Ok(Self(Flow { src: src.into(), dst: dst.into(), src_port, dst_port, protocol, fragment }))
    }
}

/// Part of a flow that a text lacks, or has too many of.
fn missing(text: &str, words: &[&str]) -> String {
    let Some(arrow) = words.iter().position(|word| matches!(*word, ">" | "->")) else {
        return match text.trim() {
            "" => "the flow is empty".to_owned(),
            text if text.contains('>') => format!("`{text}` has no spaces around its `>`"),
            text => format!("`{text}` has no `>` between source and destination"),
        };
    };
    let is_end = |word: &str| word.parse::<IpAddr>().is_ok() || word.parse::<SocketAddr>().is_ok();
    match (&words[..arrow], &words[arrow + 1..]) {
        ([] | [_], _) if words[..arrow].iter().all(|word| is_end(word)) => {
            format!("`{text}` names no protocol before its source")
        }
        ([_], _) => format!("`{text}` has no source between its protocol and `>`"),
        ([_, _], []) => format!("`{text}` has no destination after `>`"),
        ([_, _], [_, rest @ ..]) => format!(
            "`{}` is no end of a flow: after the destination, there may be `first-fragment` or `later-fragment`",
            rest.join(" ")
        ),
        (before, _) => {
            format!("`{}` is more than a protocol and a source before `>`", before.join(" "))
        }
    }
}

/// Reads one end of a flow.
fn end(text: &str, ported: bool) -> Result<(IpAddr, u16), FlowTextError> {
    let wrong = |what: String| FlowTextError { what, has_ports: Some(ported) };
    let address = text.parse::<IpAddr>();
    let with_port = text.parse::<SocketAddr>();
    match (ported, address, with_port) {
        (true, _, Ok(end)) => Ok((end.ip().to_canonical(), end.port())),
        (false, Ok(address), _) => Ok((address.to_canonical(), 0)),
        (true, Ok(address @ IpAddr::V6(_)), _) => {
            Err(wrong(format!("`{text}` has no port: write `[{address}]:443`")))
        }
        (true, Ok(address), _) => Err(wrong(format!("`{text}` has no port: write `{address}:443`"))),
        (false, _, Ok(end)) => {
            Err(wrong(format!("`{text}` has a port, which this protocol has not: write `{}`", end.ip())))
        }
        (true, ..) => Err(wrong(format!("`{text}` is no IP address with a port"))),
        (false, ..) => Err(wrong(format!("`{text}` is no IP address"))),
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
            ("", "the flow is empty"),
            ("tcp 192.0.2.7:1 203.0.113.10:2", "has no `>` between source and destination"),
            ("tcp 192.0.2.7:1>203.0.113.10:2", "has no spaces around its `>`"),
            ("192.0.2.7:1 > 203.0.113.10:2", "names no protocol before its source"),
            ("> 203.0.113.10:2", "names no protocol before its source"),
            ("tcp > 203.0.113.10:2", "has no source between its protocol and `>`"),
            ("tcp 192.0.2.7:1 >", "has no destination after `>`"),
            ("tcp 192.0.2.7:1 > 203.0.113.10:2 fragment", "`fragment` is no end of a flow"),
            (
                "tcp from 192.0.2.7:1 > 203.0.113.10:2",
                "`tcp from 192.0.2.7:1` is more than a protocol and a source",
            ),
            ("tpc 192.0.2.7:1 > 203.0.113.10:2", "neither a protocol's name"),
            ("tcp 192.0.2.7 > 203.0.113.10:2", "`192.0.2.7` has no port: write `192.0.2.7:443`"),
            ("tcp 2001:db8::7 > [2001:db8::1]:2", "`2001:db8::7` has no port: write `[2001:db8::7]:443`"),
            ("tcp client:1 > 203.0.113.10:2", "`client:1` is no IP address with a port"),
            ("esp 192.0.2.7:1 > 203.0.113.10", "has a port, which this protocol has not: write `192.0.2.7`"),
            ("icmp here > 203.0.113.10", "`here` is no IP address"),
            ("tcp 192.0.2.7:1 > [2001:db8::1]:2", "an IPv4 address, and 2001:db8::1 an IPv6 one"),
        ] {
            let told = text.parse::<FlowText>().unwrap_err().to_string();
            assert!(told.contains(what), "{text}: {told}");
            // The example is right, and of the protocol that was meant.
            let example = told.rsplit('`').nth(1).unwrap();
            assert!(example.parse::<FlowText>().is_ok(), "{told}");
            let wants_ports = text.starts_with("tcp") && told.contains("port");
            assert!(!wants_ports || example.starts_with("tcp"), "{told}");
        }
    }
}
