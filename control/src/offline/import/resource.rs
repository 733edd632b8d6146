//! Resources: the objects of an export, each with its kind and the fields that are still to be carried over.

use std::collections::BTreeMap;
use std::path::Path;

use guideway_model::config::snake_case;
use serde_json::{Map, Value};

use super::url::Url;

/// Longest name of a table.
pub(super) const MAX_NAME: usize = 63;

/// Kind of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    HealthCheck,
    BackendGroup,
    BackendService,
    ForwardingRule,
    Route,
    /// Virtual machine, which lends its address to the groups that it is in.
    Instance,
    /// Endpoint or instance of the group that the file is named after.
    Endpoint,
}

impl Kind {
    /// Word for such a resource in prose.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::HealthCheck => "health check",
            Self::BackendGroup => "backend group",
            Self::BackendService => "backend service",
            Self::ForwardingRule => "forwarding rule",
            Self::Route => "route",
            Self::Instance => "instance",
            Self::Endpoint => "endpoint",
        }
    }

    /// Kind that a list's key or an object's `kind` names, in snake_case and of one.
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "health_check" | "http_health_check" | "https_health_check" | "region_health_check" => {
                Self::HealthCheck
            }
            "backend_group" | "network_endpoint_group" | "instance_group" => Self::BackendGroup,
            "backend_service" | "region_backend_service" => Self::BackendService,
            "forwarding_rule" => Self::ForwardingRule,
            "route" => Self::Route,
            "instance" => Self::Instance,
            _ => return None,
        })
    }

    /// Kind of an object by its `kind`, by its fields, or by the key of the list that it is in.
    fn of(fields: &Fields, list: Option<&str>) -> Option<Self> {
        if let Some(kind) = fields.peek("kind") {
            return Self::named(&snake_case(kind.rsplit('#').next().unwrap_or_default()));
        }
        let has = |key: &str| fields.has(key);
        if has("network_endpoint_group") {
            return Some(Self::Endpoint);
        }
        let has_any = |keys: &[&str]| keys.iter().any(|key| has(key));
        Some(if has("dest_range") {
            Self::Route
        } else if has("network_endpoint") || has("instance") && has("status") {
            Self::Endpoint
        } else if has_any(&["network_endpoint_type", "endpoints"]) {
            Self::BackendGroup
        } else if has_any(&["network_interfaces", "network_interface"]) {
            Self::Instance
        } else if has("check_interval_sec") || fields.entries.keys().any(|key| key.ends_with("_health_check"))
        {
            Self::HealthCheck
        } else if has_any(&["backends", "backend", "session_affinity", "locality_lb_policy"]) {
            Self::BackendService
        } else if has("ip_address") && has_any(&["ip_protocol", "backend_service", "target", "port_range"]) {
            Self::ForwardingRule
        } else if has("name") {
            return Self::named(list?);
        } else {
            return None;
        })
    }
}

/// Object of an export.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resource {
    pub(super) kind: Kind,
    /// Name in Google Cloud; empty if there is none.
    pub(super) name: String,
    /// Region or zone, or `global`, where the export tells it.
    pub(super) location: Option<String>,
    /// Name of the file that it is from, without its folder and its endings; of an endpoint that names its group, that.
    pub(super) stem: String,
    pub(super) fields: Fields,
}

/// Finds the resources in a value, however deep they lie, and the kinds of the objects that are none of them.
pub(super) fn find(value: Value, file: &str, found: &mut Vec<Resource>, unknown: &mut Vec<String>) {
    descend(value, None, file, found, unknown);
}

/// Keys under which Terraform shows resources a second time, in part or as they were.
const BESIDE_VALUES: [&str; 4] = ["configuration", "prior_state", "resource_changes", "sensitive_values"];

fn descend(
    value: Value,
    list: Option<&str>,
    file: &str,
    found: &mut Vec<Resource>,
    unknown: &mut Vec<String>,
) {
    match value {
        Value::Array(values) => {
            for value in values {
                descend(value, list, file, found, unknown);
            }
        }
        Value::Object(object) => {
            let mut fields = Fields::new(object, "");
            if let Some(kind) = Kind::of(&fields, list) {
                found.push(Resource::new(kind, fields, file));
            } else if let Some(kind) = fields.peek("kind").filter(|kind| !kind.ends_with("List")) {
                unknown.push(format!("an object of kind `{kind}`"));
            } else {
                // A list as the REST interface gives it, a map of lists, or what Terraform wraps around each resource.
                fields.entries.remove("kind");
                let kind = fields.peek("type").and_then(|kind| kind.strip_prefix("google_compute_"));
                let kind = kind.map(str::to_owned).filter(|_| fields.has("values"));
                for (key, (_, value)) in fields.entries {
                    let list = kind.as_deref().unwrap_or(key.trim_end_matches('s'));
                    if !BESIDE_VALUES.contains(&key.as_str()) {
                        descend(value, Some(list), file, found, unknown);
                    }
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl Resource {
    fn new(kind: Kind, mut fields: Fields, file: &str) -> Self {
        let name = fields.scalar("name").unwrap_or_default();
        let link = fields.peek("self_link").and_then(|link| Url::new(link).location());
        let place = ["zone", "region"].iter().find_map(|key| fields.peek(key));
        let location = link.or(place.map(|place| Url::new(place).name().to_owned()));
        let file = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
        let stem = file.split('.').next().unwrap_or_default();
        // Terraform's endpoints name their group.
        let group = (kind == Kind::Endpoint).then(|| fields.scalar("network_endpoint_group")).flatten();
        let stem = group.map_or(stem.to_owned(), |group| Url::new(&group).name().to_owned());
        Self { kind, name, location, stem, fields }
    }

    /// Group that has a name and nothing else.
    pub(super) fn group(name: &str) -> Self {
        Self {
            kind: Kind::BackendGroup,
            name: name.to_owned(),
            location: None,
            stem: String::new(),
            fields: Fields::default(),
        }
    }
}

/// Fields of an object, which are taken out one by one; those that stay are not carried over.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Fields {
    /// Way to the object from its resource, as Google Cloud writes it: `failoverPolicy.`.
    way: String,
    /// Each field as Google Cloud writes its name, by its name in snake_case.
    entries: BTreeMap<String, (String, Value)>,
}

impl Fields {
    fn new(object: Map<String, Value>, way: &str) -> Self {
        let written = object.into_iter().filter(|(_, value)| !value.is_null());
        let entries = written.map(|(key, value)| (snake_case(&key), (key, value)));
        Self { way: way.to_owned(), entries: entries.collect() }
    }

    /// Text of a field that stays.
    pub(super) fn peek(&self, key: &str) -> Option<&str> {
        self.entries.get(key)?.1.as_str()
    }

    /// True if there is such a field.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Number in a field that stays.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.entries.get(key)?.1.as_u64()
    }

    /// Takes a field that is a text, a number or a boolean.
    pub(super) fn scalar(&mut self, key: &str) -> Option<String> {
        let text = scalar(&self.entries.get(key)?.1)?;
        self.entries.remove(key);
        Some(text)
    }

    /// Takes a list of texts, numbers or booleans; none if there is no such list.
    pub(super) fn scalars(&mut self, key: &str) -> Vec<String> {
        let list = self.entries.get(key).and_then(|(_, value)| value.as_array());
        let texts: Option<Vec<String>> = list.and_then(|list| list.iter().map(scalar).collect());
        if texts.is_some() {
            self.entries.remove(key);
        }
        texts.unwrap_or_default()
    }

    /// Takes an object, or the one object of a list, as Terraform writes it.
    pub(super) fn object(&mut self, key: &str) -> Option<Self> {
        let value = &self.entries.get(key)?.1;
        let one = match value.as_array().map(Vec::as_slice) {
            Some([one]) => one,
            _ => value,
        };
        let object = one.as_object()?.clone();
        let (written, _) = self.entries.remove(key)?;
        Some(Self::new(object, &format!("{}{written}.", self.way)))
    }

    /// Takes a list: its objects, and its texts as objects with the one field `instance`.
    pub(super) fn objects(&mut self, key: &str) -> Vec<Self> {
        if !self.entries.get(key).is_some_and(|(_, value)| value.is_array()) {
            return Vec::new();
        }
        let Some((written, Value::Array(list))) = self.entries.remove(key) else { return Vec::new() };
        let way = |index: usize| format!("{}{written}[{index}].", self.way);
        let object = |(index, value)| match value {
            Value::Object(object) => Self::new(object, &way(index)),
            other => Self::new(Map::from_iter([("instance".to_owned(), other)]), &way(index)),
        };
        list.into_iter().enumerate().map(object).collect()
    }

    /// Fields that were not taken: the way to each as Google Cloud writes it, its name in snake_case, and its value.
    pub(super) fn rest(self) -> impl Iterator<Item = (String, String, Value)> {
        let way = self.way;
        let entries = self.entries.into_iter();
        entries.map(move |(key, (written, value))| (format!("{way}{written}"), key, value))
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kinds(value: Value) -> Vec<Kind> {
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        find(value, "export.json", &mut found, &mut unknown);
        found.iter().map(|resource| resource.kind).collect()
    }

    #[test]
    fn resources_are_known_by_their_kind() {
        for (kind, known) in [
            ("compute#backendService", Kind::BackendService),
            ("compute#forwardingRule", Kind::ForwardingRule),
            ("compute#healthCheck", Kind::HealthCheck),
            ("compute#httpsHealthCheck", Kind::HealthCheck),
            ("compute#networkEndpointGroup", Kind::BackendGroup),
            ("compute#instanceGroup", Kind::BackendGroup),
            ("compute#instance", Kind::Instance),
            ("compute#route", Kind::Route),
        ] {
            assert_eq!(kinds(json!([{ "kind": kind, "name": "x" }])), [known], "{kind}");
        }
    }

    #[test]
    fn resources_without_a_kind_are_known_by_their_fields_or_their_list() {
        for (value, known) in [
            (json!({ "name": "x", "backends": [] }), Kind::BackendService),
            (json!({ "IPAddress": "192.0.2.1", "IPProtocol": "TCP" }), Kind::ForwardingRule),
            (json!({ "name": "x", "type": "TCP", "tcpHealthCheck": {} }), Kind::HealthCheck),
            (json!({ "name": "x", "endpoints": [] }), Kind::BackendGroup),
            (json!({ "networkEndpoint": { "ipAddress": "10.0.0.1" } }), Kind::Endpoint),
            (json!({ "destRange": "10.0.0.0/8" }), Kind::Route),
            (json!({ "instanceGroups": [{ "name": "x" }] }), Kind::BackendGroup),
        ] {
            assert_eq!(kinds(value.clone()), [known], "{value}");
        }
    }

    #[test]
    fn lists_of_the_rest_interface_are_opened() {
        let list =
            json!({ "kind": "compute#routeList", "items": [{ "kind": "compute#route", "name": "r" }] });
        assert_eq!(kinds(list), [Kind::Route]);
        let scopes = json!({ "kind": "compute#backendServiceAggregatedList", "items": {
            "regions/a": { "backendServices": [{ "name": "s", "protocol": "TCP" }] },
            "regions/b": { "warning": { "code": "NO_RESULTS_ON_PAGE" } },
        } });
        assert_eq!(kinds(scopes), [Kind::BackendService]);
    }

    #[test]
    fn resources_are_taken_out_of_what_terraform_wraps_around_them() {
        let state = json!({ "values": { "root_module": { "resources": [{
            "mode": "managed", "type": "google_compute_instance_group", "name": "spare", "provider_name": "google",
            "values": { "name": "spare" }, "sensitive_values": { "backend": [] },
        }] } }, "configuration": { "backends": [] } });
        assert_eq!(kinds(state), [Kind::BackendGroup]);
    }

    #[test]
    fn other_kinds_are_told() {
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        let address = json!({ "kind": "compute#address", "name": "a", "address": "192.0.2.1" });
        find(address, "export.json", &mut found, &mut unknown);
        assert_eq!((found.len(), unknown), (0, vec!["an object of kind `compute#address`".to_owned()]));
    }
}
