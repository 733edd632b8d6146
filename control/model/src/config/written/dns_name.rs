//! Names of the domain name system, as a check of type DNS asks for them.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use toml::Spanned;
use toml::de::DeValue;

use super::field::Value;
use super::value::text;
use crate::config::report::Report;

/// Longest name in text, and longest label (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Name of the domain name system, without the dot at its end; empty is the root.
#[derive(Clone, Debug, Serialize)]
pub(in crate::config) struct DnsName(pub(in crate::config) String);

impl Value for DnsName {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let text = text(key, "a string", value, report)?;
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| (1..=MAX_LABEL).contains(&label.len()) && label.bytes().all(is_plain);
        let is_root = text == ".";
        if !is_root && (name.len() > MAX_NAME || !name.split('.').all(is_label)) {
            let help = "write a name such as `www.example.com`, or `.` for the root: labels of 1 to 63 letters, \
                        digits, hyphens and underscores";
            report.error(&value.span(), format!("`{text}` is no domain name"), help);
            return None;
        }
        Some(Self(name.to_owned()))
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([-_0-9A-Za-z]{1,63}[.])*([-_0-9A-Za-z]{1,63}|[.])$" })
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}
