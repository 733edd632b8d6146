//! A group of the machine's users: its name, or its number.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use toml::Spanned;
use toml::de::DeValue;

use super::field::{Value, wrong_type};
use crate::config::report::Report;

/// Longest name of a group, as of useradd(8).
const MAX_NAME: usize = 32;

/// Group of users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserGroup {
    /// Name of the group.
    Name(String),
    /// Number of the group.
    Number(u32),
}

impl Serialize for UserGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name),
            Self::Number(number) => serializer.serialize_u32(*number),
        }
    }
}

impl Value for UserGroup {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let read = match value.get_ref() {
            DeValue::String(name) => {
                let is_right = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
                let is_name = (1..=MAX_NAME).contains(&name.len())
                    && name.chars().all(is_right)
                    && !name.starts_with('-');
                is_name.then(|| Self::Name(name.to_string()))
            }
            DeValue::Integer(written) => {
                let number = u32::from_str_radix(written.as_str(), written.radix()).ok();
                // The largest number means no group.
                number.filter(|number| *number < u32::MAX).map(Self::Number)
            }
            _ => {
                wrong_type(key, "a group's name or number", value, report);
                return None;
            }
        };
        if read.is_none() {
            let help = "write its name, such as \"guideway-admin\", or its number; `getent group` lists them";
            report.error(&value.span(), format!("`{key}` is no group of users"), help);
        }
        read
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "minLength": 1, "maxLength": MAX_NAME },
            { "type": "integer", "minimum": 0, "maximum": u32::MAX - 1 },
        ] })
    }
}
