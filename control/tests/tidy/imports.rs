//! Directions of imports: between crates, and between the rooms of `control`.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::source::{Source, read};

/// Crates of the project that each crate may depend on, its tests aside.
const CRATES: [(&str, &[&str]); 12] = [
    (
        "bench",
        &[
            "guideway",
            "guideway-dataplane",
            "guideway-dpdk-sys",
            "guideway-engine",
            "guideway-model",
            "guideway-report",
            "pcap-fixtures",
        ],
    ),
    ("control", &["guideway-dataplane", "guideway-engine", "guideway-model", "guideway-report"]),
    ("control/fuzz", &["guideway", "guideway-dataplane", "guideway-engine", "guideway-model"]),
    ("control/model", &["guideway-dataplane", "guideway-engine"]),
    // Charts and pages know no packets: the benchmarks, which do without the control thread, have them too.
    ("control/report", &[]),
    (
        "control/simulation",
        &["guideway", "guideway-dataplane", "guideway-engine", "guideway-model", "pcap-fixtures"],
    ),
    ("dataplane", &[]),
    ("engine", &["guideway-dataplane", "guideway-dpdk-sys"]),
    ("engine/capsule", &["guideway-dataplane", "guideway-engine", "guideway-model"]),
    ("engine/capsule/ffi", &[]),
    ("engine/dpdk-sys", &[]),
    ("pcap-fixtures", &[]),
];

/// Crates that no more than the control thread may bring along, on its way or on that of any other dependency.
const CONTROL_ONLY: [&str; 5] = ["axum", "guideway", "h2", "hyper", "rustls"];

/// Crates below the control thread, each with the lock file that names its dependencies.
const LIGHT: [(&str, &str); 2] =
    [("guideway-capsule", "engine/capsule/Cargo.lock"), ("guideway-model", "Cargo.lock")];

/// Rooms of `control` that each room may import.
const ROOMS: [(&str, &[&str]); 11] = [
    ("log", &[]),
    ("config_file", &[]),
    ("drop_help", &[]),
    ("net", &[]),
    ("words", &[]),
    ("health", &["net", "words"]),
    ("announce", &["log", "words"]),
    ("offline", &["config_file", "drop_help"]),
    ("api", &["announce", "drop_help", "health", "net"]),
    ("run", &["announce", "api", "config_file", "health", "log", "net"]),
    ("doctor", &["announce", "api", "config_file", "health", "run"]),
];

/// Dependencies on crates of the project that the table does not allow, and crates that it does not have.
pub(crate) fn wrong_dependencies(manifests: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for manifest in manifests {
        let folder = manifest.path.trim_end_matches("/Cargo.toml");
        let Some((_, allowed)) = CRATES.iter().find(|(name, _)| *name == folder) else {
            wrong.push(format!("{}: the crate is not in the table", manifest.path));
            continue;
        };
        let names = dependencies(&manifest.text.parse().expect("manifests are TOML"));
        let ours = names.into_iter().filter(|name| name.starts_with("guideway") || name == "pcap-fixtures");
        let unwanted = ours.filter(|name| !allowed.contains(&name.as_str()));
        wrong.extend(unwanted.map(|name| format!("{}: {name}", manifest.path)));
    }
    let lost = CRATES.iter().filter(|(folder, _)| {
        manifests.iter().all(|manifest| manifest.path != format!("{folder}/Cargo.toml"))
    });
    wrong.extend(lost.map(|(folder, _)| format!("{folder}: in the table, and not there")));
    wrong
}

/// Names in `[dependencies]` and `[build-dependencies]`, for every target and for some.
fn dependencies(manifest: &Table) -> BTreeSet<String> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    let tables = [manifest].into_iter().chain(targets).flat_map(|holder| {
        ["dependencies", "build-dependencies"].into_iter().filter_map(|name| holder.get(name)?.as_table())
    });
    let package = |(name, value): (&String, &Value)| {
        value.get("package").and_then(Value::as_str).unwrap_or(name).to_owned()
    };
    tables.flatten().map(package).collect()
}

/// Crates of the control thread among what a crate below it depends on, by whichever way.
pub(crate) fn heavy_dependencies() -> Vec<String> {
    let mut wrong = Vec::new();
    for (root, path) in LIGHT {
        let below = dependency_tree(root, &read(path).parse().expect("lock files are TOML"));
        assert!(below.contains("guideway-dataplane") && below.len() > 20, "{path}: {below:?}");
        let heavy = below.iter().filter(|name| CONTROL_ONLY.contains(&name.as_str()));
        wrong.extend(heavy.map(|name| format!("{root}: {name}, by {path}")));
    }
    wrong
}

/// Names of all that `root` depends on, directly or not, tests included.
fn dependency_tree(root: &str, lock: &Table) -> BTreeSet<String> {
    let packages = lock["package"].as_array().expect("a lock file lists packages");
    let mut found = BTreeSet::new();
    let mut next = vec![root.to_owned()];
    while let Some(name) = next.pop() {
        let own = packages.iter().filter(|package| package["name"].as_str() == Some(&name));
        let below = own.filter_map(|package| package.get("dependencies")?.as_array()).flatten();
        // A name alone, or with the version where there are several.
        let names = below.filter_map(|entry| entry.as_str()?.split(' ').next());
        next.extend(names.map(str::to_owned).filter(|name| found.insert(name.clone())));
    }
    found
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

#[test]
fn dependencies_of_builds_and_of_targets_count_and_those_of_tests_do_not() {
    let manifest = r#"
        [dependencies]
        a = "1"
        b = { package = "guideway", path = ".." }
        [build-dependencies]
        c = "1"
        [dev-dependencies]
        d = "1"
        [target.'cfg(unix)'.dependencies]
        e.workspace = true
    "#;
    let names = dependencies(&manifest.parse().expect("it is TOML"));
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "c", "e", "guideway"]);
}
