//! Text of a diagnosis for people, in lines of 80 characters; commands stay whole.

use std::fmt::Write;

use super::finding::{ApplianceState, Diagnosis, Finding, Level};

/// Width of the text.
const WIDTH: usize = 80;

/// Width of the column before the text.
const INDENT: usize = 11;

/// Writes the findings, the worst first: those that need something in several lines, the others in one.
pub fn text(diagnosis: &Diagnosis) -> String {
    let appliance = match diagnosis.appliance_pid {
        Some(pid) => format!("running appliance: process {pid}"),
        None => match diagnosis.appliance {
            ApplianceState::Silent => "an appliance that does not answer",
            ApplianceState::Unknown => "unknown if an appliance runs",
            ApplianceState::Running | ApplianceState::Absent => "no running appliance",
        }
        .to_owned(),
    };
    let mut text = format!("guideway {}, {}, {appliance}\n", diagnosis.version, visible(&diagnosis.config));
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
        let _ = writeln!(text, "{:<INDENT$}{}", "  mend", visible(remedy));
    }
    text
}

/// Text whose control characters a terminal shows and does not obey.
fn visible(text: &str) -> String {
    let escaped = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(escaped).collect()
}

/// Writes a label, and beside it a text over as many lines as it takes.
fn labelled(label: &str, text: &str) -> String {
    let mut lines = String::new();
    let mut line = format!("{label:<INDENT$}");
    let mut is_begun = false;
    for word in text.split_whitespace().map(visible) {
        if is_begun && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(lines, "{line}");
            line = " ".repeat(INDENT);
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(&word);
        is_begun = true;
    }
    let _ = writeln!(lines, "{line}");
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::{AdminSocket, Facts};

    #[test]
    fn control_characters_are_shown_and_not_obeyed() {
        let facts = Facts { config_path: "a\u{1b}[2J.toml".to_owned(), ..Facts::default() };
        let finding = Finding::fault("a\u{1b}b", "c\u{7}d").mended_by("rm e\u{1b}f");
        let text = text(&Diagnosis::new(&facts, vec![finding]));
        assert!(!text.contains(|letter: char| letter.is_control() && letter != '\n'), "{text:?}");
        assert!(text.contains(r"a\u{1b}[2J.toml") && text.contains(r"mend     rm e\u{1b}f"), "{text}");
    }

    #[test]
    fn the_first_line_tells_of_an_appliance_that_does_not_answer() {
        for (admin_socket, told) in [
            (AdminSocket::Free, ", no running appliance\n"),
            (AdminSocket::Silent("late".to_owned()), ", an appliance that does not answer\n"),
            (AdminSocket::Forbidden, ", unknown if an appliance runs\n"),
        ] {
            let facts = Facts { admin_socket, ..Facts::default() };
            let text = text(&Diagnosis::new(&facts, Vec::new()));
            assert!(text.contains(told), "{text}");
        }
    }
}
