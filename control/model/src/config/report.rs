//! Errors of a configuration, for people and for programs: each with its span, its message and its remedy.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

use super::secret::mask_secrets;
use super::source::{Bases, Source, Text};

/// A range of bytes of the files, which are counted one after the other, from the first to one past the last.
pub(super) type Span = Range<usize>;

/// Number of errors that are kept of one file; further ones are only counted.
const LIMIT: usize = 500;

/// All errors of a configuration, in the order of the file.
#[derive(Clone, Debug)]
pub struct ConfigErrors {
    /// Files, without their secrets.
    sources: Vec<Source>,
    bases: Bases,
    errors: Vec<ConfigError>,
    omitted: usize,
}

/// One error of a configuration.
///
/// The error serializes for programs; [`ConfigErrors::render`] shows it to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    /// Name of the file, unless it is the main one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Line on which the error begins, from 1.
    pub line: usize,
    /// Character of the line at which the error begins, from 1.
    pub column: usize,
    /// Statement of the error.
    pub message: String,
    /// Remedy of the error.
    pub help: String,
    #[serde(skip)]
    span: Span,
    #[serde(skip)]
    related: Vec<(Span, String)>,
}

impl ConfigErrors {
    /// Errors of a file beside the configuration, shown as those of the configuration are: each with the bytes that it
    /// concerns, its message and its remedy. None where there is no error.
    pub fn of_text(
        name: &str,
        text: &str,
        errors: impl IntoIterator<Item = (Range<usize>, String, String)>,
    ) -> Option<Self> {
        let mut report = Report::default();
        for (span, message, help) in errors {
            report.error(&span, message, help);
        }
        report.finish(&[Text { name, text }]).err()
    }

    /// Name of the main file.
    pub fn name(&self) -> &str {
        &self.sources[0].name
    }

    /// Errors, in the order of the file; of a file with more than 500, the first 500 that were found.
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// Shows the errors to people: each with its place, its line and its remedy, coloured for a terminal or plain.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut rendered = String::new();
        for error in &self.errors {
            rendered += &renderer.render(&[self.group(error)]);
            rendered += "\n\n";
        }
        let count = self.errors.len() + self.omitted;
        let noun = if count == 1 { "error" } else { "errors" };
        let omitted = match self.omitted {
            0 => String::new(),
            omitted => format!(" ({omitted} of them not shown)"),
        };
        rendered + &format!("{}: {count} {noun}{omitted}\n", self.name())
    }

    /// Shows an error over the lines of each file that it concerns, and no others: a renderer reads all that it is given.
    fn group<'a>(&'a self, error: &'a ConfigError) -> Group<'a> {
        let related = error.related.iter().map(|(span, label)| (span, Some(label.as_str())));
        let mut by_file: BTreeMap<usize, Vec<(&Span, Option<&str>)>> = BTreeMap::new();
        for (span, label) in std::iter::once((&error.span, None)).chain(related) {
            by_file.entry(self.bases.index(span.start)).or_default().push((span, label));
        }
        let own = self.bases.index(error.span.start);
        let own = by_file.remove_entry(&own);
        let snippets = own.into_iter().chain(by_file).map(|(index, spans)| self.snippet(index, &spans));
        let group = Level::ERROR.primary_title(error.message.as_str()).elements(snippets);
        group.element(Level::HELP.message(error.help.as_str()))
    }

    /// The lines of a file from the first to the last of these spans; the one without a label is the error's own.
    fn snippet<'a>(
        &'a self,
        index: usize,
        spans: &[(&Span, Option<&'a str>)],
    ) -> Snippet<'a, Annotation<'a>> {
        let (Source { name, text }, base) = (&self.sources[index], self.bases.base(index));
        let first = spans.iter().map(|(span, _)| span.start - base).min().unwrap_or(0);
        let last = spans.iter().map(|(span, _)| span.end - base).max().unwrap_or(0);
        let start = text[..first].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[last..].find('\n').map_or(text.len(), |newline| last + newline);

        let mut snippet = Snippet::source(&text[start..end])
            .path(name.as_str())
            .line_start(1 + text[..start].matches('\n').count());
        for (span, label) in spans {
            let within = span.start - base - start..span.end - base - start;
            snippet = snippet.annotation(match label {
                None => AnnotationKind::Primary.span(within),
                Some(label) => AnnotationKind::Context.span(within).label(*label),
            });
        }
        snippet
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}

/// Gathers errors while a configuration is parsed.
#[derive(Default)]
pub(super) struct Report {
    problems: Vec<Problem>,
    /// Rules that share a service meet the same wrong value, which is one error.
    seen: HashSet<(Span, String)>,
    omitted: usize,
}

struct Problem {
    span: Span,
    message: String,
    help: String,
    related: Vec<(Span, String)>,
}

impl Report {
    /// Adds an error with its span, its message and its remedy.
    pub(super) fn error(&mut self, span: &Span, message: impl Into<String>, help: impl Into<String>) {
        self.error_beside(span, message, help, []);
    }

    /// Adds an error that other places of the file take part in, each with a label.
    pub(super) fn error_beside<'s>(
        &mut self,
        span: &Span,
        message: impl Into<String>,
        help: impl Into<String>,
        related: impl IntoIterator<Item = (&'s Span, String)>,
    ) {
        let message = message.into();
        let error = (span.clone(), message.clone());
        if self.seen.contains(&error) {
            return;
        }
        if self.is_full() {
            self.omitted += 1;
            return;
        }
        self.seen.insert(error);
        let related = related.into_iter().map(|(span, label)| (span.clone(), label)).collect();
        self.problems.push(Problem { span: span.clone(), message, help: help.into(), related });
    }

    /// Span and message of the error that was reported first.
    pub(super) fn first(&self) -> Option<(&Span, &str)> {
        self.problems.first().map(|problem| (&problem.span, &*problem.message))
    }

    /// True if further errors are only counted.
    pub(super) fn is_full(&self) -> bool {
        self.problems.len() == LIMIT
    }

    /// Returns the errors in the order of the files, if there are any.
    pub(super) fn finish(mut self, texts: &[Text<'_>]) -> Result<(), ConfigErrors> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort_by_cached_key(|p| (p.span.start, Reverse(p.span.end), p.message.clone()));
        let bases = Bases::of(texts);
        let mut lines: Option<(usize, Lines<'_>)> = None;
        let mut errors = Vec::with_capacity(self.problems.len());
        for problem in self.problems {
            let index = bases.index(problem.span.start);
            let (_, lines) = match &mut lines {
                Some(known) if known.0 == index => known,
                other => other.insert((index, Lines::of(texts[index].text, bases.base(index)))),
            };
            let file = (index > 0).then(|| texts[index].name.to_owned());
            errors.push(ConfigError { file, ..lines.locate(problem) });
        }
        let masked = |text: &Text<'_>| Source { name: text.name.to_owned(), text: mask_secrets(text.text) };
        let sources = texts.iter().map(masked).collect();
        Err(ConfigErrors { sources, bases, errors, omitted: self.omitted })
    }
}

/// Counts lines up to ever later locations in a text.
struct Lines<'t> {
    text: &'t str,
    /// First byte of the text in the count of spans.
    base: usize,
    line: usize,
    start: usize,
    seen: usize,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str, base: usize) -> Self {
        Self { text, base, line: 1, start: 0, seen: 0 }
    }

    fn locate(&mut self, problem: Problem) -> ConfigError {
        let Problem { span, message, help, related } = problem;
        let (text, start) = (self.text, span.start - self.base);
        let passed = &text[self.seen..start];
        self.line += passed.matches('\n').count();
        if let Some(newline) = passed.rfind('\n') {
            self.start = self.seen + newline + 1;
        }
        self.seen = start;
        let column = 1 + text[self.start..start].chars().count();
        ConfigError { file: None, line: self.line, column, message, help, span, related }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(report: Report, text: &str) -> ConfigErrors {
        report.finish(&[Text { name: "x.toml", text }]).expect_err("some were reported")
    }

    #[test]
    fn locations_count_lines_and_characters_from_one() {
        let text = "a = 1\nü = 2\n\nb = 3";
        let mut report = Report::default();
        for word in ["3", "2", "1"] {
            let at = text.find(word).expect("the text holds it");
            report.error(&(at..at + 1), word, "");
        }
        let errors = finished(report, text);
        let locations: Vec<_> =
            errors.errors().iter().map(|e| (e.message.as_str(), e.line, e.column)).collect();
        assert_eq!(locations, [("1", 1, 5), ("2", 2, 5), ("3", 4, 5)]);
    }

    #[test]
    fn one_error_is_reported_once() {
        let mut report = Report::default();
        for _ in 0..2 {
            report.error(&(0..1), "wrong", "right it");
        }
        assert_eq!(finished(report, "x").errors().len(), 1);
    }

    #[test]
    fn errors_beyond_the_limit_are_counted() {
        let mut report = Report::default();
        for i in 0..LIMIT + 7 {
            report.error(&(0..1), format!("wrong {i}"), "right it");
        }
        let errors = finished(report, "x");
        assert_eq!(errors.errors().len(), LIMIT);
        assert!(errors.to_string().ends_with("x.toml: 507 errors (7 of them not shown)\n"));
    }
}
