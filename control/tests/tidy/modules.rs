//! Circles among modules that lie side by side in one folder.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// Crates whose modules are looked at, by the folder of their code.
const CRATES: [&str; 6] = [
    "dataplane/src/",
    "engine/src/",
    "control/model/src/",
    "control/src/",
    "bench/src/",
    "pcap-fixtures/src/",
];

/// Module: the names on the way to it from the root of its crate.
type Module = Vec<String>;

/// Circles, each as `a -> b -> a`.
pub(crate) fn circles(sources: &[Source]) -> Vec<String> {
    CRATES.iter().flat_map(|folder| circles_of(folder, sources)).collect()
}

fn circles_of(folder: &str, sources: &[Source]) -> Vec<String> {
    let own: Vec<(Module, &Source)> = sources
        .iter()
        .filter_map(|source| Some((module(source.path.strip_prefix(folder)?), source)))
        .collect();
    let known: BTreeSet<&Module> = own.iter().map(|(module, _)| module).collect();
    // By the module that two lie side by side in: who imports whom.
    let mut graphs: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, source) in &own {
        for path in paths(&source.code(), from) {
            let to = (0..=path.len()).rev().map(|len| path[..len].to_vec()).find(|path| known.contains(path));
            let Some(to) = to else { continue };
            let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if common < from.len() && common < to.len() {
                let graph = graphs.entry(from[..common].to_vec()).or_default();
                graph.entry(from[common].clone()).or_default().insert(to[common].clone());
            }
        }
    }
    let mut found = Vec::new();
    for (parent, graph) in &graphs {
        for start in graph.keys() {
            if let Some(circle) = circle_from(start, graph) {
                let place = format!("{folder}{}", parent.join("/"));
                found.push(format!("{place}: {}", circle.join(" -> ")));
            }
        }
    }
    found
}

/// A shortest circle from `start`, where `start` is the first of its names.
fn circle_from(start: &str, graph: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut ways = std::collections::VecDeque::from([vec![start.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way.last().expect("a way has a start");
        for next in graph.get(last).into_iter().flatten() {
            let onward: Vec<String> = way.iter().chain([next]).cloned().collect();
            if next == start {
                return way.iter().all(|name| name.as_str() >= start).then_some(onward);
            }
            if seen.insert(next.clone()) {
                ways.push_back(onward);
            }
        }
    }
    None
}

/// `api/admin/server.rs` is `api::admin::server`; the root is empty.
fn module(path: &str) -> Module {
    let names = path.trim_end_matches(".rs").split('/').map(str::to_owned);
    let module: Module = names.collect();
    let is_root = module.len() == 1 && (module[0] == "lib" || module[0] == "main");
    if is_root { Module::new() } else { module }
}

/// Absolute paths of everything that code of the module `own` names by `crate::` or `super::`.
fn paths(code: &str, own: &Module) -> Vec<Module> {
    let mut found = Vec::new();
    for (start, base) in [("crate::", Module::new()), ("super::", parent(own, 1))] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|letter| letter.is_ascii_alphanumeric() || letter == '_' || letter == ':') {
                continue;
            }
            let mut rest = &code[at + start.len()..];
            let mut base = base.clone();
            let mut ups = 1;
            while let Some(after) = rest.strip_prefix("super::") {
                ups += 1;
                base = parent(own, ups);
                rest = after;
            }
            expand(rest, &base, &mut found);
        }
    }
    found
}

fn parent(own: &Module, levels: usize) -> Module {
    own[..own.len().saturating_sub(levels)].to_vec()
}

/// Adds the paths that `text` begins with, below `base`: `a::b`, `{a, b::{c, d}}`.
fn expand(text: &str, base: &Module, found: &mut Vec<Module>) {
    if let Some(group) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut item = String::new();
        for letter in group.chars() {
            match letter {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if letter == ',' && depth == 0 {
                expand(item.trim(), base, found);
                item.clear();
            } else {
                item.push(letter);
            }
        }
        expand(item.trim(), base, found);
        return;
    }
    let len =
        text.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_')).unwrap_or(text.len());
    if len == 0 {
        return;
    }
    let mut path = base.clone();
    path.push(text[..len].to_owned());
    match text[len..].strip_prefix("::") {
        Some(rest) => expand(rest, &path, found),
        None => found.push(path),
    }
}
