//! Files of endpoints: JSON in the form of Prometheus's file-based service discovery, read into a group's endpoints. Answers
//! of the domain name system have the same form.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::DeValue;

use super::endpoints_dns::DnsQuestion;
use super::limits::MAX_WEIGHT;
use super::report::Report;
use super::source::{Bases, FileKind, NamedFile, Remark, Sources};
use super::written::field::Field;
use super::written::file::{BackendGroupFile, ConfigFile, EndpointFile, EndpointsDnsFile};
use super::written::value::{Integer, Mac, Name, NamedPath};

/// Targets that share their labels.
#[derive(Deserialize)]
struct TargetGroup {
    targets: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Reason why a text gives a group no endpoints, as an operator reads it; [`None`] if it gives some.
pub fn fault_of_endpoints(text: &str) -> Option<String> {
    let mut report = Report::default();
    let endpoints = read(text, 0, &mut report);
    if let Some((span, message)) = report.first() {
        let before = &text[..span.start];
        let line = 1 + before.matches('\n').count();
        let column = 1 + before.rsplit('\n').next().unwrap_or("").chars().count();
        return Some(format!("line {line}, column {column}: {message}"));
    }
    endpoints.is_none_or(|endpoints| endpoints.is_empty()).then(|| "it has no target".to_owned())
}

/// Index of no file, for answers of the domain name system, which are known by their questions.
const ASKED: usize = usize::MAX;

/// Files of endpoints by where they are named, each with the first byte of its text in the count of spans.
struct Files<'s> {
    bases: Bases,
    by_path: HashMap<(usize, &'s str), (&'s NamedFile, usize)>,
}

impl<'s> Files<'s> {
    fn new(sources: &'s Sources) -> Self {
        let bases = Bases::of(&sources.texts());
        // Readable ones have a text, in the same order, after those of the configuration itself.
        let mut index = sources.files().count();
        let mut by_path = HashMap::new();
        for file in sources.endpoints_files() {
            let base = file.text.as_ref().map_or(0, |_| bases.base(index));
            index += usize::from(file.text.is_ok());
            let named_in = if file.kind == FileKind::Dns { ASKED } else { file.named_in };
            by_path.insert((named_in, &*file.path), (file, base));
        }
        Self { bases, by_path }
    }

    fn answer(&self, question: &DnsQuestion) -> Option<(&'s NamedFile, usize)> {
        let path = question.to_string();
        self.by_path.get(&(ASKED, &*path)).copied()
    }

    fn get(&self, field: &Field<NamedPath>, path: &str) -> Option<(&'s NamedFile, usize)> {
        self.by_path.get(&(self.bases.index(field.span().start), path)).copied()
    }
}

/// Fills the groups whose endpoints are in files or answers of the domain name system, and reports those that have none.
pub(super) fn fill(file: &mut ConfigFile, sources: &Sources, remarks: &mut Vec<Remark>, report: &mut Report) {
    let files = Files::new(sources);
    let groups = file.backend_group.as_mut().and_then(Field::get_mut).into_iter().flatten();
    for field in groups {
        let span = field.span().clone();
        let Some(group) = field.get_mut() else { continue };
        let is_one = is_one(group, report);
        if let Some(endpoints_file) = &group.endpoints_file {
            let found = endpoints_file.get().and_then(|path| files.get(endpoints_file, &path.0));
            let endpoints = is_one.then(|| of_file(group, endpoints_file, found, remarks, report)).flatten();
            group.endpoints = Some(Field::new(endpoints, endpoints_file.span().clone()));
            // From here on, the file is known by where it is.
            if let (Some(path), Some((found, _))) =
                (group.endpoints_file.as_mut().and_then(Field::get_mut), found)
            {
                path.0.clone_from(&found.name);
            }
        } else if let Some(dns) = &group.endpoints_dns {
            let endpoints = is_one.then(|| of_dns(group, dns, &files, remarks, report)).flatten();
            group.endpoints = Some(Field::new(endpoints, dns.span().clone()));
        } else if group.endpoints.is_none() {
            let help = "add `endpoints = […]`, an `endpoints_file` or `endpoints_dns`";
            report.error(&span, "`endpoints` is missing", help);
        }
    }
}

/// True if a group has at most one source of endpoints; others are reported.
fn is_one(group: &BackendGroupFile, report: &mut Report) -> bool {
    let written = [
        ("endpoints", group.endpoints.as_ref().map(Field::span)),
        ("endpoints_file", group.endpoints_file.as_ref().map(Field::span)),
        ("endpoints_dns", group.endpoints_dns.as_ref().map(Field::span)),
    ];
    let mut written = written.into_iter().filter_map(|(key, span)| Some((key, span?)));
    let Some((first, first_span)) = written.next() else { return true };
    let mut is_one = true;
    for (key, span) in written {
        let message = format!("both `{first}` and `{key}`");
        let related = [(first_span, "the other".to_owned())];
        report.error_beside(span, message, "leave one of them out", related);
        is_one = false;
    }
    is_one
}

/// Endpoints of a group that names a file; [`None`] if there is an error, which is reported.
fn of_file(
    group: &BackendGroupFile,
    field: &Field<NamedPath>,
    found: Option<(&NamedFile, usize)>,
    remarks: &mut Vec<Remark>,
    report: &mut Report,
) -> Option<Vec<Field<EndpointFile>>> {
    let NamedPath(path) = field.get()?;
    let Some((found, base)) = found else {
        let help = "read the configuration from a file of the same machine, or write the `endpoints`";
        report.error(field.span(), format!("`{path}` did not come with the configuration"), help);
        return None;
    };
    let text = match &found.text {
        Ok(text) => text,
        Err(error) => {
            let help = "have your discovery write it, or write `[]` into it";
            report.error(field.span(), format!("cannot read `{}`: {error}", found.name), help);
            return None;
        }
    };
    let endpoints = read(text, base, report)?;
    if endpoints.is_empty() {
        let name = group.name.get().map_or("", |name| &name.0);
        remarks.push(Remark {
            text: format!("{} has no target, so that backend group `{name}` is empty", found.name),
            remedy: "look at the discovery that writes it".to_owned(),
        });
    }
    Some(endpoints)
}

/// Endpoints of a group that asks the domain name system, none before an answer; [`None`] if there is an error, which is
/// reported.
fn of_dns(
    group: &BackendGroupFile,
    field: &Field<EndpointsDnsFile>,
    files: &Files<'_>,
    remarks: &mut Vec<Remark>,
    report: &mut Report,
) -> Option<Vec<Field<EndpointFile>>> {
    let dns = field.get()?;
    dns.check(report);
    let question = dns.question()?;
    if let Some((NamedFile { text: Ok(text), .. }, base)) = files.answer(&question) {
        return read(text, base, report);
    }
    let name = group.name.get().map_or("", |name| &name.0);
    remarks.push(Remark {
        text: format!("DNS has not been asked for {question}, so that backend group `{name}` is empty here"),
        remedy: "a running appliance asks, and `guideway backend list` shows what it has got".to_owned(),
    });
    Some(Vec::new())
}

/// Reads a text whose first byte is `base` in the count of spans; [`None`] if it is no list of targets, which is reported.
fn read(text: &str, base: usize, report: &mut Report) -> Option<Vec<Field<EndpointFile>>> {
    let groups: Vec<TargetGroup> = match serde_json::from_str(text) {
        Ok(groups) => groups,
        Err(error) => {
            let at = base + offset(text, error.line(), error.column());
            let message = error.to_string();
            let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
            let help = "write `[{ \"targets\": [\"192.0.2.11\"], \"labels\": { \"weight\": \"2\" } }]`";
            report.error(&(at..at), format!("no list of targets in JSON: {message}"), help);
            return None;
        }
    };
    let mut endpoints = Vec::new();
    let mut cursor = 0;
    for TargetGroup { targets, labels } in &groups {
        for target in targets {
            let span = find(text, target, &mut cursor);
            let span = base + span.start..base + span.end;
            let endpoint = endpoint(target, labels, targets.len() == 1, &span, report);
            endpoints.push(Field::new(endpoint, span));
        }
    }
    Some(endpoints)
}

/// The endpoint of a target; [`None`] if its address is none, which is reported.
fn endpoint(
    target: &str,
    labels: &BTreeMap<String, String>,
    is_alone: bool,
    span: &Range<usize>,
    report: &mut Report,
) -> Option<EndpointFile> {
    let Some(address) = address(target) else {
        let help = "write the IP address of a backend; a port after it has no effect";
        report.error(span, format!("`{target}` is no IP address"), help);
        return None;
    };
    let string = |text: &str| Spanned::new(span.clone(), DeValue::String(text.to_owned().into()));
    let name = match labels.get("name") {
        Some(_) if !is_alone => {
            let help = "give each target a list entry of its own, or leave the label `name` out";
            report.error(span, "one label `name` for several targets", help);
            None
        }
        Some(name) => Some(Field::<Name>::read("name", &string(name), report)),
        None => Some(Field::new(Some(Name(name_of(address))), span.clone())),
    };
    let weight = labels.get("weight").map(|written| {
        let weight = written.parse().ok().filter(|weight| *weight <= u32::from(MAX_WEIGHT));
        if weight.is_none() {
            let message = format!("the label `weight` must be 0 to {MAX_WEIGHT}, not `{written}`");
            report.error(span, message, format!("write a number from 0 to {MAX_WEIGHT} in quotes"));
        }
        Field::new(weight.map(Integer), span.clone())
    });
    let mac_address =
        labels.get("mac_address").map(|written| Field::<Mac>::read("mac_address", &string(written), report));
    Some(EndpointFile {
        name: name?,
        description: None,
        ip_address: Field::read("targets", &string(&address.to_string()), report),
        mac_address,
        weight,
    })
}

/// Address of a target: alone, or before a port, which Prometheus needs and packets do not.
fn address(target: &str) -> Option<IpAddr> {
    let with_port = || target.parse::<SocketAddr>().map(|address| address.ip());
    target.parse().or_else(|_| with_port()).ok()
}

/// Name of an endpoint that is given none: of its address, such as `ip-192-0-2-11`.
fn name_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("ip-{address}").replace('.', "-"),
        IpAddr::V6(address) => {
            address.segments().iter().fold("ip".to_owned(), |name, segment| format!("{name}-{segment:x}"))
        }
    }
}

/// Finds a target in the text from the cursor on, which moves behind it.
fn find(text: &str, target: &str, cursor: &mut usize) -> Range<usize> {
    let quoted = format!("\"{target}\"");
    match text[*cursor..].find(&quoted) {
        Some(found) => {
            let start = *cursor + found;
            *cursor = start + quoted.len();
            start..*cursor
        }
        // The name is written with escapes.
        None => *cursor..*cursor,
    }
}

/// Byte of a line and a column, both from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let mut offset = (start + column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
