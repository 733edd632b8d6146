//! Every key of the schema: its default and its bounds are the parser's, and the reference states them.
//!
//! The keys come from the schema itself, so that none can be forgotten. Each is tried in every table of the fixtures
//! that may hold it; some table must accept it, as a key may be refused for what its table's other keys are.

use std::path::Path;

use guideway_model::config::{Config, ConfigErrors, FileKind, Include, Mentions, NamedFile, Sources, schema};
use serde_json::Value as Json;
use toml::{Table, Value};

/// A key that may be absent, or is bounded, in the table that the schema describes.
struct Key {
    /// Name of the table's definition in the schema.
    table: String,
    name: String,
    /// The key's own schema.
    schema: Json,
}

impl Key {
    fn is_list(&self) -> bool {
        self.schema["type"] == "array"
    }

    /// The schema of the key's value, or of the elements of its list.
    fn one(&self) -> &Json {
        if self.is_list() { &self.schema["items"] } else { &self.schema }
    }

    /// The value itself, or a list of it alone.
    fn holding(&self, value: Value) -> Value {
        if self.is_list() { Value::Array(vec![value]) } else { value }
    }

    /// The schema of the number that the key holds, if that is bounded.
    fn bounded(&self) -> Option<&Json> {
        Some(self.one()).filter(|one| one.get("minimum").is_some())
    }
}

/// A table of a document: the steps that lead to it, and its definition in the schema.
struct TablePath {
    table: String,
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

fn schema_of_file() -> Json {
    serde_json::from_str(&schema()).expect("the schema is JSON")
}

/// Every key of every table, the tables at the top of the file included.
fn keys(schema: &Json) -> Vec<Key> {
    let definitions = schema["definitions"].as_object().expect("the schema has tables");
    let tables = definitions.iter().map(|(table, definition)| (table.as_str(), definition));
    let mut keys = Vec::new();
    for (table, definition) in tables.chain([("", schema)]) {
        for (name, schema) in definition["properties"].as_object().expect("a table has keys") {
            keys.push(Key { table: table.to_owned(), name: name.clone(), schema: schema.clone() });
        }
    }
    keys
}

/// The definition that a schema refers to.
fn referred(schema: &Json) -> Option<&str> {
    schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/definitions/"))
}

/// The definition of the tables that a key holds: of one, and of those of a list.
fn held(property: &Json) -> [Option<&str>; 2] {
    let choices = property["anyOf"].as_array();
    let schemas = || choices.into_iter().flatten().chain([property]);
    [schemas().find_map(referred), schemas().find_map(|schema| referred(&schema["items"]))]
}

/// Adds the tables within `table`, which `steps` lead to and `definition` describes.
fn add_paths(schema: &Json, definition: &str, table: &Table, steps: &[Step], paths: &mut Vec<TablePath>) {
    paths.push(TablePath { table: definition.to_owned(), steps: steps.to_vec() });
    let described = if definition.is_empty() { schema } else { &schema["definitions"][definition] };
    for (key, value) in table {
        let property = &described["properties"][key];
        let below = |more: &[Step]| [steps, &[Step::Key(key.clone())], more].concat();
        let [alone, listed] = held(property);
        match (value, alone, listed) {
            (Value::Table(inner), Some(inner_definition), _) => {
                add_paths(schema, inner_definition, inner, &below(&[]), paths);
            }
            (Value::Array(list), _, Some(element)) => {
                for (i, inner) in list.iter().enumerate() {
                    let inner = inner.as_table().expect("the fixtures are right");
                    add_paths(schema, element, inner, &below(&[Step::Index(i)]), paths);
                }
            }
            _ => {}
        }
    }
}

fn table_paths(schema: &Json, document: &Table) -> Vec<TablePath> {
    let mut paths = Vec::new();
    add_paths(schema, "", document, &[], &mut paths);
    paths
}

/// The table that steps lead to.
fn at<'d>(document: &'d mut Table, steps: &[Step]) -> &'d mut Table {
    let Some((Step::Key(first), rest)) = steps.split_first() else { return document };
    let mut value = document.get_mut(first).expect("the steps are the document's");
    for step in rest {
        value = match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(index) => value.get_mut(index),
        }
        .expect("the steps are the document's");
    }
    value.as_table_mut().expect("steps lead to tables")
}

/// The documents that are tried: each fixture of this test, by name.
fn documents() -> [(&'static str, Table); 2] {
    [
        ("sparse.toml", include_str!("config_keys/sparse.toml")),
        ("particular.toml", include_str!("config_keys/particular.toml")),
    ]
    .map(|(name, text)| (name, text.parse().expect("the fixtures are TOML")))
}

/// Parses a document, all of whose other files are there.
fn parse(document: &Table) -> Result<Config, ConfigErrors> {
    let text = document.to_string();
    let Mentions { include, seed_file, token_file, endpoints_files } = Mentions::of(&text);
    let mut sources = Sources::of_text("config.toml", text);
    sources.includes =
        include.into_iter().map(|pattern| Include { pattern, files: Ok(Vec::new()) }).collect();
    let named = |kind, path: String, text: &str| NamedFile {
        kind,
        named_in: 0,
        name: path.clone(),
        path,
        text: Ok(text.to_owned()),
        is_public: false,
    };
    sources
        .named
        .extend(seed_file.map(|path| named(FileKind::Seed, path, "000102030405060708090a0b0c0d0e0f")));
    sources
        .named
        .extend(token_file.map(|path| named(FileKind::Token, path, "000102030405060708090a0b0c0d0e0f")));
    sources.named.extend(endpoints_files.into_iter().map(|path| named(FileKind::Endpoints, path, "[]")));
    Config::parse_sources(&sources)
}

fn toml_of(json: &Json) -> Value {
    Value::try_from(json).expect("the schema holds what TOML can hold")
}

/// Results of the parser for each document in which the key is set to a value, for every table that may hold it.
fn tried(
    schema: &Json,
    key: &Key,
    value: &Value,
    replace: bool,
) -> Vec<(Config, Result<Config, ConfigErrors>)> {
    let mut tried = Vec::new();
    for (name, document) in documents() {
        let base = parse(&document).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        for path in table_paths(schema, &document).iter().filter(|path| path.table == key.table) {
            let mut changed = document.clone();
            let table = at(&mut changed, &path.steps);
            if table.insert(key.name.clone(), value.clone()).is_none() || replace {
                tried.push((base.clone(), parse(&changed)));
            }
        }
    }
    tried
}

#[test]
fn a_key_left_out_is_its_default() {
    let schema = schema_of_file();
    let mut defaults = 0;
    for key in keys(&schema) {
        let Some(default) = key.schema.get("default") else { continue };
        defaults += 1;
        let tried = tried(&schema, &key, &toml_of(default), false);
        let accepted: Vec<_> =
            tried.iter().filter_map(|(base, stated)| Some((base, stated.as_ref().ok()?))).collect();
        let Key { table, name, .. } = &key;
        assert!(!accepted.is_empty(), "no fixture accepts `{name} = {default}` in {table}");
        for (left_out, stated) in accepted {
            assert_eq!(left_out, stated, "`{name} = {default}` in {table}");
        }
    }
    assert!(defaults >= 40, "{defaults} keys have defaults");
}

/// Tables without required keys: an empty one, and none at all.
#[test]
fn a_table_left_out_is_an_empty_one() {
    let schema = schema_of_file();
    let mut empty = 0;
    for (name, document) in documents() {
        let base = parse(&document).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        for path in table_paths(&schema, &document) {
            let Some((Step::Key(key), outer)) = path.steps.split_last() else { continue };
            let mut changed = document.clone();
            if !at(&mut changed, &path.steps).is_empty() {
                continue;
            }
            empty += 1;
            at(&mut changed, outer).remove(key);
            let without = parse(&changed).unwrap_or_else(|errors| panic!("{name} without {key}: {errors}"));
            assert_eq!(base, without, "{name} without {key}");
        }
    }
    assert!(empty >= 9, "{empty} tables are empty");
}

/// Values one beyond the bounds of a number.
fn beyond(number: &Json) -> [Value; 2] {
    let (minimum, maximum) = (&number["minimum"], &number["maximum"]);
    match (minimum.as_i64(), maximum.as_i64()) {
        (Some(minimum), Some(maximum)) => [Value::Integer(minimum - 1), Value::Integer(maximum + 1)],
        _ => {
            let [minimum, maximum] = [minimum, maximum].map(|bound| bound.as_f64().expect("it is a number"));
            [Value::Float(minimum - 0.001), Value::Float(maximum + 0.001)]
        }
    }
}

#[test]
fn bounds_are_accepted_and_what_is_beyond_them_is_not() {
    let schema = schema_of_file();
    let mut numbers = 0;
    for key in keys(&schema) {
        let Some(number) = key.bounded() else { continue };
        numbers += 1;
        let Key { table, name, .. } = &key;
        for bound in ["minimum", "maximum"].map(|bound| &number[bound]) {
            let tried = tried(&schema, &key, &key.holding(toml_of(bound)), true);
            let accepted = tried.iter().any(|(_, parsed)| parsed.is_ok());
            assert!(accepted, "no fixture accepts `{name} = {bound}` in {table}");
        }
        for beyond in beyond(number) {
            let tried = tried(&schema, &key, &key.holding(beyond.clone()), true);
            assert!(!tried.is_empty(), "no fixture has a {table}");
            for (_, parsed) in tried {
                let Err(errors) = parsed else { panic!("`{name} = {beyond}` in {table} is accepted") };
                let about_it = [format!("`{name}` must be "), format!("`{name}[0]` must be ")];
                let refused = |message: &str| about_it.iter().any(|start| message.starts_with(start));
                assert!(errors.errors().iter().any(|error| refused(&error.message)), "{errors}");
            }
        }
    }
    assert!(numbers >= 20, "{numbers} keys are bounded");
}

/// Limits of a text or of a list: the fewest characters or elements, and the most.
fn limits(schema: &Json, noun: &str) -> [Option<usize>; 2] {
    ["min", "max"].map(|bound| schema[format!("{bound}{noun}")].as_u64().map(|limit| limit as usize))
}

/// A text alone, or in a list of one, has its limits: of two texts, one of which is a path, one is accepted at a limit
/// and refused beyond it by the same table.
#[test]
fn texts_are_accepted_up_to_their_limits_and_not_beyond() {
    let schema = schema_of_file();
    let mut limited = 0;
    for key in keys(&schema) {
        let Key { table, name, .. } = &key;
        let limits = limits(key.one(), "Length");
        for (limit, beyond) in limits.into_iter().zip([-1, 1]).filter_map(|(limit, by)| Some((limit?, by))) {
            limited += 1;
            let beyond = limit.checked_add_signed(beyond).expect("a limit of none is no limit");
            let text_of = |length: usize, first: &str| {
                let text = first.chars().chain(std::iter::repeat('a')).take(length);
                key.holding(Value::String(text.collect()))
            };
            let holds = ["a", "/"].iter().any(|first| {
                let at_limit = tried(&schema, &key, &text_of(limit, first), true);
                let beyond = tried(&schema, &key, &text_of(beyond, first), true);
                at_limit
                    .iter()
                    .zip(beyond)
                    .any(|((_, at_limit), (_, beyond))| at_limit.is_ok() && beyond.is_err())
            });
            assert!(holds, "{table}: `{name}` has {limit} characters, not {beyond}");
        }
    }
    assert!(limited >= 14, "{limited} limits of texts");
}

/// An element of a list, right by itself.
fn element(items: &Json) -> Value {
    if let Some(minimum) = items.get("minimum") {
        return toml_of(minimum);
    }
    let is_prefix = items["pattern"].as_str().is_some_and(|pattern| pattern.contains('/'));
    let is_address = items.get("anyOf").is_some();
    Value::String(
        if is_prefix {
            "10.0.0.1/32"
        } else if is_address {
            "10.0.0.1"
        } else {
            "a"
        }
        .to_owned(),
    )
}

/// Errors of every document in which the list of a key has so many elements, all alike.
fn errors_of_lists(schema: &Json, key: &Key, length: usize) -> Vec<String> {
    let mut messages = Vec::new();
    for (_, document) in documents() {
        for path in table_paths(schema, &document).iter().filter(|path| path.table == key.table) {
            let mut changed = document.clone();
            let table = at(&mut changed, &path.steps);
            let written = table.get(&key.name).and_then(|list| list.get(0)).cloned();
            if written.is_none() && referred(&key.schema["items"]).is_some() {
                continue;
            }
            let element = written.unwrap_or_else(|| element(&key.schema["items"]));
            table.insert(key.name.clone(), Value::Array(vec![element; length]));
            let errors = parse(&changed).err();
            let found = errors.iter().flat_map(ConfigErrors::errors);
            messages.push(found.map(|error| format!("{}\n", error.message)).collect());
        }
    }
    messages
}

/// Lists of more than two elements: those of equal elements may be refused for that, but not for their length.
#[test]
fn lists_are_accepted_up_to_their_limits_and_not_beyond() {
    let schema = schema_of_file();
    let mut limited = 0;
    for key in keys(&schema) {
        let Key { table, name, .. } = &key;
        let [fewest, most] = limits(&key.schema, "Items");
        if let Some(fewest) = fewest {
            let errors = errors_of_lists(&schema, &key, fewest - 1);
            assert!(!errors.is_empty(), "no fixture has a {table}");
            assert!(errors.iter().all(|errors| !errors.is_empty()), "{table}: `{name}` may be shorter");
        }
        if let Some(most) = most.filter(|most| *most > 2) {
            limited += 1;
            let told = [format!("at most {most} "), format!("at most {most}\n")];
            let is_told = |length: usize| {
                let errors = errors_of_lists(&schema, &key, length).join("");
                told.iter().any(|told| errors.contains(told))
            };
            assert!(!is_told(most), "{table}: `{name}` may have {most} elements");
            assert!(is_told(most + 1), "{table}: `{name}` may not have more than {most} elements");
        }
    }
    assert!(limited >= 14, "{limited} lists have limits");
}

/// The key that holds tables of this definition, alone or in a list.
fn holder<'s>(definition: &'s Json, table: &str) -> Option<&'s str> {
    let properties = definition["properties"].as_object().expect("a table has keys");
    let holds = |property: &Json| held(property).contains(&Some(table));
    properties.iter().find_map(|(key, property)| holds(property).then_some(key.as_str()))
}

/// The titles of the reference's sections that may describe a table: `x` for one at the top of the file; `x.y`, or `x`
/// again, for one within it.
fn titles(schema: &Json, table: &str) -> Vec<String> {
    if let Some(key) = holder(schema, table) {
        return vec![key.to_owned()];
    }
    let definitions = schema["definitions"].as_object().expect("the schema has tables");
    let (outer, inner) = definitions
        .iter()
        .find_map(|(outer, definition)| Some((holder(schema, outer)?, holder(definition, table)?)))
        .expect("a table is at the top of the file or within one that is");
    vec![format!("{outer}.{inner}"), outer.to_owned()]
}

/// Cells of the rows of the sections that may describe a table.
fn rows<'r>(schema: &Json, table: &str, reference: &'r str) -> Vec<Vec<&'r str>> {
    let titles = titles(schema, table);
    let sections = reference.split("\n## ").flat_map(|section| section.split("\n### "));
    let described = |section: &&str| {
        let starts = |title: &String| {
            section.starts_with(&format!("`[{title}]`")) || section.starts_with(&format!("`[[{title}]]`"))
        };
        titles.iter().any(starts)
    };
    let lines = sections.filter(described).flat_map(str::lines).filter(|line| line.starts_with('|'));
    lines.map(|line| line.split('|').map(str::trim).skip(1).collect()).collect()
}

/// Words of a cell, without the punctuation around them.
fn words(cell: &str) -> Vec<String> {
    let trimmed = |word: &str| word.trim_matches(['`', ',', ';', ':', '(', ')']).to_owned();
    cell.split_whitespace().map(trimmed).collect()
}

#[test]
fn the_reference_states_defaults_and_bounds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let reference = std::fs::read_to_string(path).expect("the reference is there");
    let schema = schema_of_file();
    for key in keys(&schema).iter().filter(|key| !key.table.is_empty()) {
        let Key { table, name, .. } = key;
        let rows = rows(&schema, table, &reference);
        let own: Vec<_> = rows.iter().filter(|row| row[0] == format!("`{name}`")).collect();
        if let Some(default) = key.schema.get("default") {
            let in_column = match default.as_str() {
                Some(text) => [format!("`{text}`"), format!("`\"{text}\"`")],
                None => [default.to_string(), format!("`{default}`")],
            };
            let in_row = [name, "=", &default.to_string()].map(str::to_owned);
            let stated = own.iter().any(|row| in_column.iter().any(|shown| row[2] == shown))
                || rows.iter().flatten().any(|cell| words(cell).windows(3).any(|words| words == in_row));
            assert!(stated, "{table}: the default of `{name}` is {default}");
        }
        if let Some(number) = key.bounded() {
            let range = format!("{}–{}", number["minimum"], number["maximum"]);
            let stated = own.iter().any(|row| words(row[1]).contains(&range));
            let written: Vec<&str> = own.iter().map(|row| row[1]).collect();
            assert!(stated, "{table}: `{name}` is {range}, not {}", written.join(" or "));
        }
    }
}
