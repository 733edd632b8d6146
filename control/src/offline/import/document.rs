//! Documents: the text of an export, JSON or YAML, as values.

use serde_json::Value;

/// Reads every document of a text: JSON values one after the other, or YAML documents.
///
/// # Errors
///
/// The reason why the text is neither.
pub(super) fn read(text: &str) -> Result<Vec<Value>, String> {
    let text = text.trim_start_matches('\u{feff}');
    if !text.trim_start().starts_with(['{', '[']) {
        return yaml(text);
    }
    let json: Result<Vec<_>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    // YAML has flow collections in braces and brackets too; a text that is wrong in both is most likely meant as JSON.
    json.or_else(|error| yaml(text).map_err(|_| format!("not JSON: {error}")))
}

/// Reads the documents of a YAML text. The reader bounds what aliases may multiply and how deep values may lie.
fn yaml(text: &str) -> Result<Vec<Value>, String> {
    serde_saphyr::from_multiple(text).map_err(|error| {
        let shown = error.to_string();
        format!("neither JSON nor YAML: {}", shown.lines().next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_yaml_are_told_apart() {
        let rule = json!({ "name": "web", "ports": ["80"], "allPorts": false });
        for text in [
            r#"{"name": "web", "ports": ["80"], "allPorts": false}"#,
            "\u{feff} {\"name\": \"web\", \"ports\": [\"80\"], \"allPorts\": false}\n",
            "name: web\nports:\n- '80'\nallPorts: false\n",
            "---\nallPorts: false\nname: web\nports: ['80']\n",
            "{name: web, ports: ['80'], allPorts: false}",
        ] {
            assert_eq!(read(text).as_deref(), Ok(&[rule.clone()][..]), "{text}");
        }
    }

    #[test]
    fn a_text_may_hold_several_documents() {
        let both = [json!({ "name": "a" }), json!({ "name": "b" })];
        for text in ["{\"name\": \"a\"}\n{\"name\": \"b\"}", "name: a\n---\nname: b\n"] {
            assert_eq!(read(text).as_deref(), Ok(&both[..]), "{text}");
        }
    }

    #[test]
    fn a_text_that_is_neither_says_so() {
        assert!(read("{\"name\": ").is_err_and(|error| error.starts_with("not JSON: ")));
        assert!(read("name: [").is_err_and(|error| error.starts_with("neither JSON nor YAML: ")));
    }

    #[test]
    fn aliases_that_multiply_are_refused() {
        let mut text = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for pair in ["ab", "bc", "cd", "de", "ef", "fg", "gh", "hi"] {
            let (from, to) = pair.split_at(1);
            text += &format!("{to}: &{to} [{}]\n", vec![format!("*{from}"); 9].join(", "));
        }
        assert!(read(&text).is_err());
    }
}
