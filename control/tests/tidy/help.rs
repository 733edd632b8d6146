//! Help of every verb, as the binary prints it: the lines that it shows, and the verbs that manuals must name.

use std::process::Command;

use crate::source::read;
use crate::words::stands_alone;

/// Documents that describe verbs.
const MANUALS: [&str; 4] = ["README.md", "docs/admin.md", "docs/announcement.md", "docs/replay.md"];

/// Help of one verb.
pub(crate) struct Help {
    /// Names of the verb and of those above it: `backend list`; empty for the program.
    pub(crate) verb: String,
    pub(crate) text: String,
}

/// A line of help, and the verb, option or value that it describes.
struct Line {
    name: String,
    text: String,
}

impl Help {
    fn of(verb: String) -> Self {
        // As wide as any line is long.
        let mut command = Command::new(env!("CARGO_BIN_EXE_guideway"));
        let command = command.args(verb.split_whitespace()).arg("--help").env("COLUMNS", "1000");
        let output = command.output().expect("the binary runs");
        assert!(output.status.success(), "guideway {verb} --help");
        Self { verb, text: String::from_utf8(output.stdout).expect("help is text") }
    }

    /// Long options, without those that every program has.
    pub(crate) fn options(&self) -> Vec<&str> {
        let (_, list) = self.text.split_once("\nOptions:\n").unwrap_or_default();
        let list = list.split("\nExit status:\n").next().unwrap_or_default();
        let is_head = |line: &&str| (1..10).contains(&(line.len() - line.trim_start().len()));
        let heads = list.lines().filter(is_head).map(str::trim_start).filter(|line| line.starts_with('-'));
        let options = heads.filter_map(|line| {
            let from = line.find("--")?;
            line[from..].split([' ', '=', ',']).next()
        });
        options.filter(|option| !matches!(*option, "--help" | "--version")).collect()
    }

    /// True of a verb that stands for those below it.
    pub(crate) fn is_group(&self) -> bool {
        self.commands().next().is_some()
    }

    /// Lines below the heading `Commands:`, or none.
    fn commands(&self) -> impl Iterator<Item = (&str, &str)> {
        let list = self.text.split_once("\nCommands:\n").map_or("", |(_, list)| list);
        let list = list.split("\n\n").next().unwrap_or_default();
        list.lines().map(|line| line.trim().split_once(' ').unwrap_or((line.trim(), "")))
    }

    /// Descriptions of the verb, of the verbs below it, of its arguments and options and of their values.
    fn lines(&self) -> Vec<Line> {
        let line = |name: &str, text: &str| Line {
            name: format!("guideway {} {name}", self.verb),
            text: text.trim().to_owned(),
        };
        let mut lines = vec![line("", self.text.lines().next().unwrap_or_default())];
        lines.extend(self.commands().map(|(name, text)| line(name, text)));
        let options = self.text.split("\nArguments:\n").flat_map(|part| part.split("\nOptions:\n")).skip(1);
        for part in options {
            let part = part.split("\nExit status:\n").next().unwrap_or_default();
            let mut entry = None;
            for text in part.lines() {
                let indent = text.len() - text.trim_start().len();
                if let Some((value, text)) =
                    text.trim().strip_prefix("- ").and_then(|text| text.split_once(':'))
                {
                    lines.push(line(value, text));
                } else if (1..10).contains(&indent) {
                    // The description is on the next line.
                    entry = Some(text.trim());
                } else if let Some(entry) = entry.take() {
                    lines.push(line(entry, text));
                }
            }
        }
        lines
    }
}

/// Help of the program, and of every verb that it lists.
pub(crate) fn all() -> Vec<Help> {
    let mut found = vec![Help::of(String::new())];
    let mut next = 0;
    while let Some(help) = found.get(next) {
        let names = help.commands().map(|(name, _)| name).filter(|name| *name != "help");
        let verbs: Vec<String> =
            names.map(|name| format!("{} {name}", help.verb).trim().to_owned()).collect();
        found.extend(verbs.into_iter().map(Help::of));
        next += 1;
    }
    found
}

/// Lines of help whose first word points at something, or that are empty.
pub(crate) fn fragments() -> Vec<String> {
    let lines: Vec<Line> = all().iter().flat_map(Help::lines).collect();
    assert!(lines.len() > 150, "{} lines of help", lines.len());
    let wrong = lines.iter().filter(|line| !stands_alone(&line.text));
    wrong.map(|line| format!("{}: {}", line.name, line.text)).collect()
}

/// Verbs that no manual names.
pub(crate) fn undocumented() -> Vec<String> {
    let manuals = MANUALS.map(read).concat();
    let is_named =
        |verb: &str| ["guideway ", "`"].iter().any(|before| manuals.contains(&format!("{before}{verb}")));
    let verbs: Vec<String> = all().into_iter().map(|help| help.verb).collect();
    assert!(verbs.len() > 25, "{verbs:?}");
    verbs.into_iter().filter(|verb| !verb.is_empty() && !is_named(verb)).collect()
}
