//! The JSON schema of the configuration, for editors.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::Value;

use super::written::file::ConfigFile;

/// JSON schema of a configuration file, as text that ends in a newline.
pub fn schema() -> String {
    // Draft 7 is the newest that the TOML editors know.
    let mut schema = SchemaSettings::draft07().into_generator().into_root_schema_for::<ConfigFile>();
    RecursiveTransform(forget_null).transform(&mut schema);
    RecursiveTransform(join_lines).transform(&mut schema);
    schema.insert("title".to_owned(), "Guideway configuration".into());
    serde_json::to_string_pretty(&schema).expect("a schema has text keys alone") + "\n"
}

/// Removes null from the types of a value: TOML has none, and an absent key is just absent.
fn forget_null(schema: &mut Schema) {
    let is_null = |value: &Value| *value == "null" || value["type"] == "null" || value.is_null();
    for key in ["type", "enum", "anyOf"] {
        let Some(Value::Array(choices)) = schema.get_mut(key) else { continue };
        choices.retain(|choice| !is_null(choice));
        match (key, choices.as_slice()) {
            ("type", [only]) => {
                let only = only.clone();
                schema.insert(key.to_owned(), only);
            }
            ("anyOf", [Value::Object(only)]) => {
                let only = only.clone();
                schema.remove(key);
                schema.ensure_object().extend(only);
            }
            _ => {}
        }
    }
}

/// A description is a text without line breaks; the comment that it comes from may take several lines.
fn join_lines(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}
