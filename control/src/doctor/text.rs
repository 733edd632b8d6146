//! Text of a diagnosis for people, in lines of 80 characters; commands stay whole.

use std::fmt::Write;

use super::finding::{Diagnosis, Finding, Level};

/// Width of the text.
const WIDTH: usize = 80;

/// Width of the column before the text.
const INDENT: usize = 11;

/// Writes the findings, the worst first: those that need something in several lines, the others in one.
pub fn text(diagnosis: &Diagnosis) -> String {
    let appliance = match diagnosis.appliance_pid {
        Some(pid) => format!("running appliance: process {pid}"),
        None => "no running appliance".to_owned(),
    };
    let mut text = format!("guideway {}, {}, {appliance}\n", diagnosis.version, diagnosis.config);
    let sum = [(diagnosis.faults, "fault"), (diagnosis.warnings, "warning"), (diagnosis.notes, "note")];
    let sum = sum.map(|(number, noun)| format!("{number} {noun}{}", if number == 1 { "" } else { "s" }));
    let _ = writeln!(text, "{}", sum.join(", "));
    let mut is_first = true;
    for finding in &diagnosis.findings {
        // A blank line around each that has several.
        if is_first || finding.level != Level::Ok || finding.remedy.is_some() {
            text.push('\n');
        }
        is_first = finding.level != Level::Ok;
        text.push_str(&one(finding));
    }
    text
}

fn one(finding: &Finding) -> String {
    let check = finding.check.replace('_', " ");
    let subject = &finding.subject;
    let level = match finding.level {
        Level::Ok if *subject == check => return labelled("ok", &format!("{check}: {}", finding.found)),
        Level::Ok => return labelled("ok", &format!("{check}: {subject}: {}", finding.found)),
        Level::Note => "note",
        Level::Warning => "WARNING",
        Level::Fault => "FAULT",
    };
    let mut text = labelled(level, &format!("{check}: {subject}"));
    text.push_str(&labelled("  found", &finding.found));
    if let Some(expected) = &finding.expected {
        text.push_str(&labelled("  should", expected));
    }
    if let Some(remedy) = &finding.remedy {
        let _ = writeln!(text, "{:<INDENT$}{remedy}", "  mend");
    }
    text
}

/// Writes a label, and beside it a text over as many lines as it takes.
fn labelled(label: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = format!("{label:<INDENT$}");
    let mut is_begun = false;
    for word in text.split_whitespace() {
        if is_begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(lines, "{line}");
            line = " ".repeat(INDENT);
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(word);
        is_begun = true;
    }
    let _ = writeln!(lines, "{line}");
    lines
}
