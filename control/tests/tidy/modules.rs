//! Circles among modules that lie side by side in one folder.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::Source;

/// Crates whose modules are looked at, by the folder of their code.
const CRATES: [&str; 7] = [
    "dataplane/src/",
    "engine/src/",
    "control/model/src/",
    "control/report/src/",
    "control/src/",
    "bench/src/",
    "pcap-fixtures/src/",
];

/// Module: the names on the way to it from the root of its crate.
type Module = Vec<String>;

/// Names that modules import, each with the path of the thing itself.
type Imports = BTreeMap<Module, BTreeMap<String, Module>>;

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
    let imports: Imports =
        own.iter().map(|(module, source)| (module.clone(), imports(&source.code(), module))).collect();
    // By the module that two lie side by side in: who imports whom.
    let mut graphs: BTreeMap<Module, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for (from, source) in &own {
        for path in paths(&source.code(), from) {
            let to = module_of(&path, &known, &imports);
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

/// The module that holds what `path` names, whichever modules re-export it on the way.
fn module_of(path: &Module, known: &BTreeSet<&Module>, imports: &Imports) -> Module {
    let mut path = path.clone();
    let mut seen = BTreeSet::new();
    loop {
        let len =
            (0..=path.len()).rev().find(|len| known.contains(&path[..*len].to_vec())).unwrap_or_default();
        let module = path[..len].to_vec();
        let target = path.get(len).and_then(|name| imports.get(&module)?.get(name));
        let Some(target) = target.filter(|_| seen.insert(path.clone())) else { return module };
        path = [&target[..], &path[len + 1..]].concat();
    }
}

/// Names that `use` brings into the module `own`, with the paths from the root that they stand for.
fn imports(code: &str, own: &Module) -> BTreeMap<String, Module> {
    let mut found = BTreeMap::new();
    for (at, _) in code.match_indices("use ") {
        let line = code[..at].rsplit('\n').next().unwrap_or_default();
        if !(line.is_empty() || line.starts_with("pub")) {
            continue;
        }
        let item = code[at + "use ".len()..].split(';').next().unwrap_or_default();
        let mut base = own.clone();
        let mut rest = item;
        if let Some(after) = rest.strip_prefix("crate::") {
            (base, rest) = (Module::new(), after);
        }
        rest = rest.strip_prefix("self::").unwrap_or(rest);
        while let Some(after) = rest.strip_prefix("super::") {
            (base, rest) = (parent(&base, 1), after);
        }
        let mut paths = Vec::new();
        expand(rest, &base, &mut paths);
        found.extend(paths.into_iter().filter_map(|path| Some((path.last()?.clone(), path))));
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

#[test]
fn an_import_from_the_module_above_is_one_from_the_module_that_it_comes_from() {
    let source = |path: &str, text: &str| Source { path: path.to_owned(), text: text.to_owned() };
    let mut sources = vec![
        source("engine/src/lib.rs", "mod driver;\n"),
        source(
            "engine/src/driver.rs",
            "mod lcore;\nmod queue;\npub use lcore::{Lcore, Other};\npub(super) use queue::Queue;\n",
        ),
        source("engine/src/driver/lcore.rs", "use super::Queue;\n"),
        source("engine/src/driver/queue.rs", "fn f() {}\n"),
    ];
    assert_eq!(circles(&sources), [""; 0]);
    sources[3].text = "use super::{\n    Lcore,\n    Unknown,\n};\n".to_owned();
    assert_eq!(circles(&sources), ["engine/src/driver: lcore -> queue -> lcore"]);
    sources[3].text = "use super::super::driver::Other;\n".to_owned();
    assert_eq!(circles(&sources), ["engine/src/driver: lcore -> queue -> lcore"]);
}
