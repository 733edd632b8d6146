//! Reads TOML tables into typed fields, and reports every key that is missing, unknown or of the wrong type.
//!
//! Plain serde stops at the first error; a file is corrected faster if all are known. So a wrong value is reported
//! here, its field stays without a value, and reading goes on: code that finds no value in a field need not report
//! anything.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::google_key::{is_of_google_alone, snake_case};
use crate::config::report::{Report, Span};

/// Value of a key, with its span in the file.
#[derive(Clone, Debug)]
pub(in crate::config) struct Field<T> {
    value: Option<T>,
    span: Span,
}

impl<T> Field<T> {
    /// Field that is not read from TOML: a value, or [`None`] if it was wrong, which has been reported.
    pub(in crate::config) const fn new(value: Option<T>, span: Span) -> Self {
        Self { value, span }
    }

    /// Value, to complete it; [`None`] if it was wrong or missing.
    pub(in crate::config) fn get_mut(&mut self) -> Option<&mut T> {
        self.value.as_mut()
    }

    /// Value; [`None`] if it was wrong or missing, which has been reported.
    pub(in crate::config) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    /// Span of the value; of a missing one, the span of its table.
    pub(in crate::config) fn span(&self) -> &Span {
        &self.span
    }
}

impl<T: Value> Field<T> {
    /// Reads the value of `key`, or reports why it cannot be one.
    pub(in crate::config) fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Self {
        Self { value: T::read(key, value, report), span: value.span() }
    }
}

impl<T: Copy> Field<T> {
    /// Copy of the value.
    pub(in crate::config) fn copied(&self) -> Option<T> {
        self.value
    }
}

/// A key that may be absent.
pub(in crate::config) trait Optional {
    /// Type of the value.
    type Value: Clone;

    /// Value, or the default if the key is absent; [`None`] if it was wrong, which has been reported.
    fn value_or(&self, default: Self::Value) -> Option<Self::Value>;

    /// Value, if a right one is written.
    fn written(&self) -> Option<&Self::Value>;

    /// Value of a table, or a table without any key if it is absent; [`None`] if it was wrong, which has been reported.
    fn value_or_default(&self) -> Option<Self::Value>
    where
        Self::Value: Default,
    {
        self.value_or(Self::Value::default())
    }
}

impl<T: Clone> Optional for Option<Field<T>> {
    type Value = T;

    fn value_or(&self, default: T) -> Option<T> {
        match self {
            None => Some(default),
            Some(field) => field.value.clone(),
        }
    }

    fn written(&self) -> Option<&T> {
        self.as_ref().and_then(Field::get)
    }
}

/// Elements of a list; none if it is absent or wrong.
pub(in crate::config) fn elements<T>(list: &Option<Field<Vec<Field<T>>>>) -> &[Field<T>] {
    list.as_ref().and_then(Field::get).map_or(&[], Vec::as_slice)
}

/// A type that a value in the file can have.
pub(in crate::config) trait Value: Sized {
    /// True of tables: a list of them is an array of tables.
    const IS_TABLE: bool = false;

    /// Reads the value of `key`, or reports why it cannot be one.
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self>;

    /// Schema of such a value, for editors.
    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

/// Reports that the value of `key` is of another type than the `expected` one.
pub(in crate::config) fn wrong_type(
    key: &str,
    expected: &str,
    value: &Spanned<DeValue<'_>>,
    report: &mut Report,
) {
    let found = value.get_ref().type_str();
    let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
    let help = match (expected, value.get_ref()) {
        ("an array of tables", DeValue::Table(_)) => format!("write `[[{key}]]` in place of `[{key}]`"),
        ("a table", DeValue::Array(_)) => format!("write `[{key}]` in place of `[[{key}]]`, once"),
        ("an integer", DeValue::String(_)) => "write the number without quotes".to_owned(),
        ("`true` or `false`", DeValue::String(_)) => "write it without quotes".to_owned(),
        ("an array" | "an array of tables", DeValue::String(_) | DeValue::Integer(_)) => {
            "put brackets around it: `[…]`".to_owned()
        }
        _ => format!("write {expected}"),
    };
    report.error(&value.span(), format!("`{key}` must be {expected}, not {article} {found}"), help);
}

/// A table of the file that knows its keys.
pub(in crate::config) trait FromTable: JsonSchema + Sized {
    /// Reads every key that the table knows.
    fn from_table(table: &mut Table<'_, '_>) -> Self;
}

/// A table while it is read.
pub(in crate::config) struct Table<'a, 'i> {
    entries: &'a DeTable<'i>,
    span: Span,
    known: Vec<&'static str>,
    report: &'a mut Report,
}

impl<'a, 'i> Table<'a, 'i> {
    /// Reads a table, and reports the keys that it does not know.
    pub(in crate::config) fn read<T: FromTable>(
        entries: &'a DeTable<'i>,
        span: Span,
        report: &'a mut Report,
    ) -> T {
        let mut table = Self { entries, span, known: Vec::new(), report };
        let read = T::from_table(&mut table);
        table.report_unknown();
        read
    }

    fn value<T: Value>(&mut self, key: &'static str) -> Option<Field<T>> {
        self.known.push(key);
        let value = self.entries.get(key)?;
        Some(Field::read(key, value, self.report))
    }

    fn report_unknown(self) {
        for key in self.entries.keys().filter(|key| !self.known.contains(&key.get_ref().as_ref())) {
            let written = key.get_ref().as_ref();
            let in_snake_case = snake_case(written);
            let same = self.known.iter().copied().find(|known| *known == in_snake_case);
            let is_google = is_of_google_alone(&in_snake_case);
            let likely = || closest(written, self.known.iter().copied()).filter(|_| !is_google);
            let help = match same.or_else(likely) {
                Some(known) => format!("did you mean `{known}`?"),
                None if is_google => {
                    "leave it out: `guideway import gcloud` takes over what has a counterpart".to_owned()
                }
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.report.error(&key.span(), format!("unknown key `{}`", key.get_ref()), help);
        }
    }
}

/// A type that a key is read into: a [`Field`] of a key that must be there, an [`Option`] of one that may.
pub(in crate::config) trait FromKey: Sized {
    /// Reads one key of a table.
    fn from_key(table: &mut Table<'_, '_>, key: &'static str) -> Self;
}

impl<T: Value> FromKey for Option<Field<T>> {
    fn from_key(table: &mut Table<'_, '_>, key: &'static str) -> Self {
        table.value(key)
    }
}

impl<T: Value> FromKey for Field<T> {
    fn from_key(table: &mut Table<'_, '_>, key: &'static str) -> Self {
        table.value(key).unwrap_or_else(|| {
            table.report.error(&table.span, format!("`{key}` is missing"), format!("add `{key} = …`"));
            Self { value: None, span: table.span.clone() }
        })
    }
}

impl<T: FromTable> Value for T {
    const IS_TABLE: bool = true;

    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(entries) => Some(Table::read(entries, value.span(), report)),
            _ => {
                wrong_type(key, "a table", value, report);
                None
            }
        }
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Self>()
    }
}

/// A list, each of whose elements is right or wrong by itself.
impl<T: Value> Value for Vec<Field<T>> {
    fn read(key: &str, value: &Spanned<DeValue<'_>>, report: &mut Report) -> Option<Self> {
        let DeValue::Array(elements) = value.get_ref() else {
            wrong_type(key, if T::IS_TABLE { "an array of tables" } else { "an array" }, value, report);
            return None;
        };
        let element =
            |(i, value): (usize, &Spanned<DeValue<'_>>)| Field::read(&format!("{key}[{i}]"), value, report);
        Some(elements.iter().enumerate().map(element).collect())
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": T::schema(generator) })
    }
}

impl<T: Value> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Field".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::schema(generator)
    }
}

/// Finds the one of `known` that a writer most likely meant, if any is close.
pub(in crate::config) fn closest<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let likeness = |known: &str| strsim::jaro_winkler(&known.to_lowercase(), &written.to_lowercase());
    known
        .into_iter()
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Gives the default of a key the type of the key's value, which infers the bounds of an integer.
pub(in crate::config) fn default_of<K: Optional>(default: K::Value) -> K::Value {
    default
}

/// Declares the tables of the file: a struct whose fields are the table's keys, read in this order.
///
/// A key that may be absent can be followed by its default, `key: Option<Field<T>> = default`. The schema shows it,
/// and a method named like the key returns the value that is written, else the default.
macro_rules! tables {
    ($(
        $(#[$meta:meta])*
        $name:ident { $($(#[$key_meta:meta])* $key:ident: $kind:ty $(= $default:expr)?,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(in crate::config) struct $name {
            $(
                $(#[$key_meta])*
                $(#[schemars(extend(
                    "default" = $crate::config::written::field::default_of::<$kind>($default)
                ))])?
                pub(in crate::config) $key: $kind,
            )*
        }

        impl $name {$($(
            pub(in crate::config) fn $key(
                &self,
            ) -> Option<<$kind as $crate::config::written::field::Optional>::Value> {
                $crate::config::written::field::Optional::value_or(&self.$key, $default)
            }
        )?)*}

        impl $crate::config::written::field::FromTable for $name {
            fn from_table(table: &mut $crate::config::written::field::Table<'_, '_>) -> Self {
                Self { $($key: $crate::config::written::field::FromKey::from_key(
                    table,
                    stringify!($key).trim_start_matches("r#"),
                ),)* }
            }
        }
    )*};
}
pub(in crate::config) use tables;
