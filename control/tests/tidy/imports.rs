//! Directions of imports: between crates, and between the rooms of `control`.

use crate::source::Source;

/// Crates of the project that each crate may depend on, its tests aside.
const CRATES: [(&str, &[&str]); 8] = [
    ("dataplane", &[]),
    ("engine", &["guideway-dataplane", "guideway-dpdk-sys"]),
    ("engine/dpdk-sys", &[]),
    ("engine/capsule", &["guideway-dataplane", "guideway-engine", "guideway-model"]),
    ("control/model", &["guideway-dataplane", "guideway-engine"]),
    ("control/fuzz", &["guideway-dataplane", "guideway-engine", "guideway-model"]),
    ("control", &["guideway-dataplane", "guideway-engine", "guideway-model"]),
    ("pcap-fixtures", &[]),
];

/// Rooms of `control` that each room may import.
const ROOMS: [(&str, &[&str]); 8] = [
    ("log", &[]),
    ("config_file", &[]),
    ("net", &[]),
    ("health", &["net"]),
    ("announce", &["log"]),
    ("offline", &["config_file"]),
    ("api", &["announce", "health", "net"]),
    ("run", &["announce", "api", "config_file", "health", "log", "net"]),
];

/// Dependencies on crates of the project that the table does not allow.
pub(crate) fn wrong_dependencies(manifests: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (folder, allowed) in CRATES {
        let path = format!("{folder}/Cargo.toml");
        let manifest = manifests.iter().find(|manifest| manifest.path == path).expect("every crate is there");
        let tables = manifest.text.split("\n[");
        for table in tables.filter(|table| table.starts_with("dependencies]")) {
            for line in table.lines() {
                let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
                let is_ours = name.starts_with("guideway") || name == "pcap-fixtures";
                if is_ours && !allowed.contains(&name) {
                    wrong.push(format!("{path}: {line}"));
                }
            }
        }
    }
    wrong
}

/// Imports between rooms that the table does not allow, and rooms that it does not have.
pub(crate) fn wrong_rooms(sources: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in sources {
        let Some(inside) = source.path.strip_prefix("control/src/") else { continue };
        let room = inside.split(['/', '.']).next().unwrap_or_default();
        if ["lib", "main", "cli"].contains(&room) {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: room `{room}` is not in the table", source.path));
            continue;
        };
        for (index, line) in source.code().lines().enumerate() {
            let mentioned = line.split("crate::").skip(1).filter_map(|rest| rest.split(is_no_name).next());
            for other in mentioned.filter(|other| *other != room && !allowed.contains(other)) {
                wrong.push(format!(
                    "{}, line {} of code: `{room}` imports `{other}`",
                    source.path,
                    index + 1
                ));
            }
        }
    }
    wrong
}

/// Uses of the engine by the model beyond the description of devices.
pub(crate) fn engine_in_model(sources: &[Source]) -> Vec<String> {
    let model = sources.iter().filter(|source| source.path.starts_with("control/model/src/"));
    let mut wrong = Vec::new();
    for source in model {
        let code = source.code();
        let uses = code.split("guideway_engine::").skip(1);
        for rest in uses.filter(|rest| !rest.starts_with("driver::device::")) {
            let path = rest.split([';', ' ']).next().unwrap_or_default();
            wrong.push(format!("{}: guideway_engine::{path}", source.path));
        }
    }
    wrong
}

fn is_no_name(letter: char) -> bool {
    !(letter.is_ascii_alphanumeric() || letter == '_')
}
