//! A table that may stand once, as `[key]`, or several times, as `[[key]]`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::field::{Field, FromTable, Value, wrong_type};
use crate::config::report::Report;

/// A table that stands alone, or a list of at most `MOST` of them.
#[derive(Clone, Debug)]
pub(in crate::config) struct OneOrMore<T, const MOST: usize>(pub(in crate::config) Vec<Field<T>>);

/// Tables that stand alone or in a list; none if there is none, or if it is wrong.
pub(in crate::config) fn tables<T, const MOST: usize>(
    written: &Option<Field<OneOrMore<T, MOST>>>,
) -> &[Field<T>] {
    written.as_ref().and_then(Field::get).map_or(&[], |tables| &tables.0)
}

impl<T: FromTable + JsonSchema, const MOST: usize> Value for OneOrMore<T, MOST> {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => Some(Self(vec![Field::read(key, value, report)])),
            DeValue::Array(_) => Vec::read(key, value, report).map(Self),
            _ => {
                wrong_type(key, "a table", value, report);
                None
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let one = T::schema(generator);
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "maxItems": MOST }] })
    }
}
