//! Masks addresses in a text: each becomes a number, the same wherever it stands, so that what belongs together still does.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Replaces IP and MAC addresses, and serial numbers of devices. Loopback and unspecified addresses stay.
pub(super) fn addresses(text: &str) -> String {
    let mut names = Names::default();
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        if let Some((before, _)) = line.split_once("Device Serial Number ") {
            masked.push_str(before);
            masked.push_str("Device Serial Number (masked)\n");
            continue;
        }
        let mut rest = line;
        while let Some(start) = rest.find(is_of_address) {
            let (before, from) = rest.split_at(start);
            let end = from.find(|letter| !is_of_address(letter)).unwrap_or(from.len());
            let (word, after) = from.split_at(end);
            masked.push_str(before);
            // A letter before or after belongs to a word that only begins or ends like an address.
            let is_part = before.ends_with(is_of_word) || after.starts_with(is_of_word);
            // The end of a sentence, or a colon after an address.
            let bare = word.trim_end_matches(['.', ':']);
            let bare = if word.ends_with("::") { word } else { bare };
            match names.of(bare).filter(|_| !is_part) {
                Some(name) => {
                    masked.push_str(&name);
                    masked.push_str(&word[bare.len()..]);
                }
                None => masked.push_str(word),
            }
            rest = after;
        }
        masked.push_str(rest);
    }
    masked
}

fn is_of_address(letter: char) -> bool {
    letter.is_ascii_hexdigit() || matches!(letter, '.' | ':')
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Names that addresses have been given so far.
#[derive(Default)]
struct Names {
    given: HashMap<String, String>,
    counts: HashMap<&'static str, usize>,
}

impl Names {
    /// Name for an address; none for other words, and for addresses that tell nothing. An IPv4 address may have a port.
    fn of(&mut self, word: &str) -> Option<String> {
        let (address, port) = match word.split_once(':') {
            Some((address, port))
                if address.contains('.') && port.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                (address, &word[address.len()..])
            }
            _ => (word, ""),
        };
        let kind = if is_mac(address) {
            "mac"
        } else {
            match address.parse::<IpAddr>().ok()? {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED) | IpAddr::V6(Ipv6Addr::UNSPECIFIED) => return None,
                ip if ip.is_loopback() => return None,
                IpAddr::V4(_) => "ipv4",
                IpAddr::V6(_) => "ipv6",
            }
        };
        let counts = &mut self.counts;
        let name = self.given.entry(address.to_ascii_lowercase()).or_insert_with(|| {
            let count = counts.entry(kind).or_default();
            *count += 1;
            format!("({kind}-{count})")
        });
        Some(format!("{name}{port}"))
    }
}

/// True for six pairs of hexadecimal digits with colons between them.
fn is_mac(word: &str) -> bool {
    let pairs: Vec<&str> = word.split(':').collect();
    pairs.len() == 6 && pairs.iter().all(|pair| pair.len() == 2)
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
}
