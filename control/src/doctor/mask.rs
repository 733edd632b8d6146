//! Masks addresses in a text: each becomes a number, the same wherever it stands, so that what belongs together still does.
//!
//! An address is looked for at each beginning of a word, and may end within one: `10.0.0.7:eth0`, `10.0.0.7.40001`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Words before a serial number, which goes to the end of the line.
const SERIALS: [&str; 2] = ["Device Serial Number ", "Serial number: "];

/// Words before an identity of a switch or a port, in hexadecimal digits.
const IDENTITIES: [&str; 4] = ["switchid ", "portid ", "phys_switch_id ", "phys_port_id "];

/// Beginnings of interfaces' names that have a MAC address.
const NAMES_WITH_MAC: [&str; 2] = ["enx", "wlx"];

/// Longest IPv6 address, with an IPv4 address at its end.
const LONGEST: usize = 45;

/// Replaces IP and MAC addresses, identities of switches and serial numbers of devices. Loopback and unspecified addresses
/// stay.
pub(super) fn addresses(text: &str) -> String {
    let mut names = Names::default();
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let serial = SERIALS.iter().find_map(|words| Some(line.find(words)? + words.len()));
        let mut rest = &line[..serial.unwrap_or(line.len())];
        let mut is_in_word = false;
        while let Some(letter) = rest.chars().next() {
            if !is_in_word && let Some((name, length)) = names.at_start(rest) {
                masked.push_str(&name);
                rest = &rest[length..];
                is_in_word = true;
                continue;
            }
            masked.push(letter);
            is_in_word = letter.is_alphanumeric();
            rest = &rest[letter.len_utf8()..];
        }
        if serial.is_some() {
            masked.push_str(if line.ends_with('\n') { "(masked)\n" } else { "(masked)" });
        }
    }
    masked
}

/// Names that addresses have been given so far.
#[derive(Default)]
struct Names {
    given: HashMap<String, String>,
    counts: HashMap<&'static str, usize>,
}

impl Names {
    /// Name of the address that a text begins with, and the length of the address; addresses that tell nothing keep theirs.
    fn at_start(&mut self, text: &str) -> Option<(String, usize)> {
        self.after_word(text)
            .or_else(|| self.mac(text))
            .or_else(|| self.ipv4(text))
            .or_else(|| self.with_colons(text))
    }

    /// Name of a kind of address.
    fn name(&mut self, kind: &'static str, address: &str) -> String {
        let counts = &mut self.counts;
        let name = self.given.entry(address.to_ascii_lowercase()).or_insert_with(|| {
            let count = counts.entry(kind).or_default();
            *count += 1;
            format!("({kind}-{count})")
        });
        name.clone()
    }

    /// Identity of a switch after the word for it, and a MAC address in an interface's name.
    fn after_word(&mut self, text: &str) -> Option<(String, usize)> {
        let digits = |word: &&str| text.strip_prefix(word).map(|rest| (word.len(), run(rest, "")));
        if let Some((start, id)) = IDENTITIES.iter().find_map(digits).filter(|(_, id)| !id.is_empty()) {
            let name = self.name("id", id);
            return Some((format!("{}{name}", &text[..start]), start + id.len()));
        }
        let (start, mac) = NAMES_WITH_MAC.iter().find_map(digits).filter(|(_, mac)| mac.len() == 12)?;
        let name = self.name_of_mac(mac.as_bytes().chunks(2).map(String::from_utf8_lossy));
        Some((format!("{}{name}", &text[..start]), start + mac.len()))
    }

    /// MAC address by the pairs of its digits; a zero at the beginning of a pair may be missing.
    fn name_of_mac(&mut self, pairs: impl Iterator<Item = impl AsRef<str>>) -> String {
        let pairs: Vec<String> = pairs.map(|pair| format!("{:0>2}", pair.as_ref())).collect();
        self.name("mac", &pairs.join(":"))
    }

    /// `02-42-68-57-70-ec`, after a type of hardware too, and `0242.6857.70ec`.
    fn mac(&mut self, text: &str) -> Option<(String, usize)> {
        let dashed = run(text, "-").trim_end_matches('-');
        let pairs: Vec<&str> = dashed.split('-').collect();
        if pairs.len() >= 6 && pairs.iter().all(|pair| pair.len() == 2) {
            let (kind, mac) = if pairs.len() == 7 { pairs.split_at(1) } else { pairs.split_at(0) };
            let kind: String = kind.iter().map(|kind| format!("{kind}-")).collect();
            return Some((kind + &self.name_of_mac(mac.iter()), dashed.len()));
        }
        let dotted = run(text, ".").trim_end_matches('.');
        let parts: Vec<&str> = dotted.split('.').collect();
        if parts.len() == 3 && parts.iter().all(|part| part.len() == 4) {
            let pairs = parts.iter().flat_map(|part| [&part[..2], &part[2..]]);
            return Some((self.name_of_mac(pairs), dotted.len()));
        }
        None
    }

    /// Four numbers, whatever follows.
    fn ipv4(&mut self, text: &str) -> Option<(String, usize)> {
        let end = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
        let numbers: Vec<&str> = text[..end].split('.').take(4).collect();
        let is_number = |number: &&str| number.len() <= 3 && number.parse::<u8>().is_ok();
        if numbers.len() < 4 || !numbers.iter().all(is_number) {
            return None;
        }
        let word = numbers.join(".");
        let tells_nothing =
            word.parse().is_ok_and(|address: IpAddr| address.is_loopback() || address.is_unspecified());
        let name = if tells_nothing { word.clone() } else { self.name("ipv4", &word) };
        Some((name, word.len()))
    }

    /// IPv6 address, or MAC address with colons: the longest that ends where a group does.
    fn with_colons(&mut self, text: &str) -> Option<(String, usize)> {
        let whole = run(text, ".:");
        let is_in_word = text[whole.len()..].starts_with(|letter: char| letter.is_alphanumeric());
        let mut word = if is_in_word { cut(whole)? } else { whole };
        // Addresses of InfiniBand have 20 pairs.
        let pairs = |word: &str| {
            let pairs: Vec<String> = word.split(':').map(str::to_owned).collect();
            let is_pair = |pair: &String| matches!(pair.len(), 1 | 2) && !pair.contains('.');
            pairs.iter().all(is_pair).then_some(pairs)
        };
        let bare = word.trim_end_matches([':', '.']);
        if let Some(pairs) = pairs(bare).filter(|pairs| pairs.len() > 8) {
            return Some((self.name_of_mac(pairs.iter()), bare.len()));
        }
        while word.len() > LONGEST {
            word = cut(word)?;
        }
        loop {
            let bare = word.trim_end_matches('.');
            let bare = if bare.ends_with("::") { bare } else { bare.trim_end_matches(':') };
            if let Some(pairs) = pairs(bare).filter(|pairs| pairs.len() == 6) {
                return Some((self.name_of_mac(pairs.iter()), bare.len()));
            }
            if let Ok(address) = bare.parse::<Ipv6Addr>() {
                let tells_nothing = address.is_loopback() || address.is_unspecified();
                let name = if tells_nothing { bare.to_owned() } else { self.name("ipv6", bare) };
                return Some((name, bare.len()));
            }
            word = cut(bare)?;
        }
    }
}

/// Hexadecimal digits at the beginning of a text, and these signs between them.
fn run<'t>(text: &'t str, signs: &str) -> &'t str {
    let is_other = |letter: char| !letter.is_ascii_hexdigit() && !signs.contains(letter);
    &text[..text.find(is_other).unwrap_or(text.len())]
}

/// Word without its last group, and without the sign before that but for a double colon; none without a sign.
fn cut(word: &str) -> Option<&str> {
    let end = word.rfind([':', '.'])?;
    let is_double = word[..end].ends_with(':') && end + 1 < word.len();
    Some(&word[..if is_double { end + 1 } else { end }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_number_everywhere() {
        for (text, masked) in [
            ("10.0.0.7:40001 > 10.0.0.10:80, 10.0.0.7", "(ipv4-1):40001 > (ipv4-2):80, (ipv4-1)"),
            ("\"2001:db8::1/64\" fe80::1, FE80::1.", "\"(ipv6-1)/64\" (ipv6-2), (ipv6-2)."),
            ("link/ether 02:00:00:aa:00:01 brd ff:ff:ff:ff:ff:ff", "link/ether (mac-1) brd (mac-2)"),
            (
                "0000:3b:02.0 at 14:54:47, DPDK 22.11.4, [8086:1889]",
                "0000:3b:02.0 at 14:54:47, DPDK 22.11.4, [8086:1889]",
            ),
            (
                "listen = \"127.0.0.1:9477\", [::1]:80, :: and 0.0.0.0",
                "listen = \"127.0.0.1:9477\", [::1]:80, :: and 0.0.0.0",
            ),
            (
                "Capabilities: [140 v1] Device Serial Number ab-cd\nnext",
                "Capabilities: [140 v1] Device Serial Number (masked)\nnext",
            ),
            ("v10.0.0.7 is a version", "v10.0.0.7 is a version"),
        ] {
            assert_eq!(addresses(text), masked);
        }
    }

    #[test]
    fn an_address_is_found_beside_what_belongs_to_it() {
        for (text, masked) in [
            (
                "bridge_id 8000.2:42:68:57:70:ec address 02:42:68:57:70:EC",
                "bridge_id 8000.(mac-1) address (mac-1)",
            ),
            (
                "ip=10.9.8.7::10.9.8.1:255.255.255.0:host:eth0:off quiet",
                "ip=(ipv4-1)::(ipv4-2):(ipv4-3):host:eth0:off quiet",
            ),
            ("BOOTIF=01-02-42-68-57-70-ec, 0242.6857.70ec", "BOOTIF=01-(mac-1), (mac-1)"),
            ("02-42-68-57-70-ec. enx0242685770ec: up", "(mac-1). enx(mac-1): up"),
            ("10.9.8.7:443:x 10.9.8.7:eth0 10.9.8.7.40001", "(ipv4-1):443:x (ipv4-1):eth0 (ipv4-1).40001"),
            (
                "2001:db8::1:eth0 2001:db8::1.443 [2001:DB8::1]:443 2001:db8::1%lo 2001:db8::e1x",
                "(ipv6-1):eth0 (ipv6-1).443 [(ipv6-1)]:443 (ipv6-1)%lo (ipv6-2)e1x",
            ),
            ("net_10.9.8.7 02:00:00:00:00:01.100", "net_(ipv4-1) (mac-1).100"),
            ("switchid 506b4b0300a1b2c3 portid 506b", "switchid (id-1) portid (id-2)"),
            ("[SN] Serial number: MT1234\n", "[SN] Serial number: (masked)\n"),
            ("::ffff:10.9.8.7 1:2:3:4:5:6:7:8", "(ipv6-1) (ipv6-2)"),
            ("80:00:02:08:fe:80:00:00:00:00:00:00:e4:1d:2d:03:00:a5:f2:c1", "(mac-1)"),
            (
                "vendor::fe std::net 6.1.0-18, 3b:02.0, 12:00:01.123",
                "vendor::fe std::net 6.1.0-18, 3b:02.0, 12:00:01.123",
            ),
        ] {
            assert_eq!(addresses(text), masked);
        }
    }
}
