//! Tables of the configuration that is made: lines, remarks between them, and what is left out again.

use toml_writer::{ToTomlValue, TomlStringBuilder};

use super::directory::Directory;
use super::left_out::reason;
use super::resource::{Fields, Kind, Resource};

/// Fate of a line that the configuration's parser refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WhenRefused {
    /// The whole table is left out: without the line it would be about other packets.
    Table,
    /// The line alone is left out.
    Line,
}

/// Line of a table.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// TOML, possibly of several lines.
    pub(super) text: String,
    pub(super) when_refused: WhenRefused,
    pub(super) is_left_out: bool,
    /// Remarks that stand above the line.
    pub(super) remarks: Vec<String>,
}

/// Lines under one header.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// `[[backend_service]]`, or the header of a table within it.
    pub(super) header: String,
    pub(super) lines: Vec<Line>,
    /// Remarks that stand below the last line.
    pub(super) remarks: Vec<String>,
    pub(super) is_left_out: bool,
}

/// Table of the configuration, made of one resource.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) kind: Kind,
    /// Words that name the table in a summary.
    pub(super) title: String,
    /// Remarks that stand above the table.
    pub(super) remarks: Vec<String>,
    /// The table's own section, and those of the tables within it.
    pub(super) sections: Vec<Section>,
    /// Fields that were left out without a loss.
    pub(super) idle_fields: Vec<String>,
    pub(super) is_left_out: bool,
}

impl Section {
    pub(super) fn new(header: &str) -> Self {
        Self { header: header.to_owned(), lines: Vec::new(), remarks: Vec::new(), is_left_out: false }
    }

    /// Adds a line; the remarks so far come to stand above it.
    pub(super) fn line(&mut self, text: String, when_refused: WhenRefused) {
        let remarks = std::mem::take(&mut self.remarks);
        self.lines.push(Line { text, when_refused, is_left_out: false, remarks });
    }

    /// Adds a remark on the next line.
    pub(super) fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    /// Adds a key with a text, if there is one.
    pub(super) fn text(&mut self, key: &str, text: Option<String>, when_refused: WhenRefused) {
        if let Some(text) = text {
            self.line(format!("{key} = {}", quoted(&text)), when_refused);
        }
    }

    /// Adds a key with a number or a boolean, if there is one.
    pub(super) fn bare(&mut self, key: &str, value: Option<String>, when_refused: WhenRefused) {
        if let Some(value) = value {
            self.line(format!("{key} = {}", bare(&value)), when_refused);
        }
    }

    /// Adds a description, unless it is empty.
    pub(super) fn description(&mut self, fields: &mut Fields) {
        let description = fields.scalar("description").filter(|text| !text.is_empty());
        self.text("description", description, WhenRefused::Line);
    }
}

impl Table {
    /// Begins the table of a resource: with the name that it has in the configuration, and its description.
    pub(super) fn begin(resource: &mut Resource, directory: &Directory, key: &str) -> Self {
        let (noun, name) = (resource.kind.noun(), directory.name_of(resource));
        let title =
            if name.is_empty() { format!("{noun} without a name") } else { format!("{noun} `{name}`") };
        let mut own = Section::new(&format!("[[{key}]]"));
        let network = directory.networks().first_of(resource.kind, &name).map(str::to_owned);
        own.text("name", Some(name), WhenRefused::Table);
        if let Some(network) = network {
            resource.fields.scalar("network");
            own.text("network", Some(network), WhenRefused::Table);
        } else if let Some(default) =
            directory.networks().of_untold().filter(|_| resource.kind != Kind::HealthCheck)
        {
            own.remark(format!("its network is not told: it is of the first, `{default}`"));
        }
        own.description(&mut resource.fields);
        Self {
            kind: resource.kind,
            title,
            remarks: Vec::new(),
            sections: vec![own],
            idle_fields: Vec::new(),
            is_left_out: false,
        }
    }

    /// Gives the table, which began with a name and a network, others.
    pub(super) fn rename(&mut self, name: &str, network: Option<&str>) {
        self.title = format!("{} `{name}`", self.kind.noun());
        let keys = [("name", Some(name)), ("network", network)];
        for (line, (key, value)) in self.own().lines.iter_mut().zip(keys) {
            line.text = format!("{key} = {}", quoted(value.unwrap_or_default()));
        }
    }

    /// The table's own section.
    pub(super) fn own(&mut self) -> &mut Section {
        &mut self.sections[0]
    }

    /// Leaves the table out, for a reason.
    pub(super) fn leave_out(&mut self, reason: impl Into<String>) {
        self.is_left_out = true;
        self.remarks.push(format!("left out: {}", reason.into()));
    }

    /// Remarks on all fields that were not taken, below the last line; those without effect are gathered.
    pub(super) fn rest(&mut self, fields: Fields) {
        for (way, key, value) in fields.rest() {
            match reason(self.kind, &way, &key, &value) {
                Some(reason) => self.own().remark(format!("not carried over: `{way}`: {reason}")),
                None => self.idle_fields.push(way),
            }
        }
    }

    /// Adds the remark on the fields without effect, at the end of the table's own section.
    pub(super) fn finish(&mut self) {
        if !self.idle_fields.is_empty() {
            let names: Vec<_> = self.idle_fields.iter().map(|way| format!("`{way}`")).collect();
            self.own().remark(format!("{IDLE}{}", names.join(", ")));
        }
    }

    /// Remarks that tell of a loss, each once; of a table that is left out, the reasons alone.
    pub(super) fn losses(&self) -> Vec<&String> {
        let in_sections =
            self.sections.iter().filter(|_| !self.is_left_out).flat_map(|section| {
                section.lines.iter().flat_map(|line| &line.remarks).chain(&section.remarks)
            });
        let mut losses: Vec<&String> = Vec::new();
        for remark in self.remarks.iter().chain(in_sections).filter(|remark| !remark.starts_with(IDLE)) {
            if !losses.contains(&remark) {
                losses.push(remark);
            }
        }
        losses
    }
}

/// Beginning of the remark on fields that say nothing about packets.
const IDLE: &str = "without effect, left out: ";

/// Text as a TOML string of one line.
pub(super) fn quoted(text: &str) -> String {
    TomlStringBuilder::new(text).as_basic().to_toml_value()
}

/// Number or boolean as TOML; anything else as a string, which the parser refuses with its reason.
pub(super) fn bare(value: &str) -> String {
    let integer = value.parse::<i64>().ok().map(|number| number.to_string());
    let float = || value.parse::<f64>().ok().filter(|number| number.is_finite());
    match value {
        "true" | "false" => value.to_owned(),
        _ => integer.or(float().map(|number| format!("{number:?}"))).unwrap_or_else(|| quoted(value)),
    }
}

/// Remark as a comment of one line, whatever it quotes.
pub(super) fn comment(remark: &str) -> String {
    let mut line = "# remark: ".to_owned();
    for letter in remark.chars() {
        if letter.is_control() {
            line.extend(letter.escape_default());
        } else {
            line.push(letter);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_remarks_stay_on_their_line() {
        let text = "a\n\"b\"\u{7f}\t\\";
        assert_eq!(format!("x = {}", quoted(text)).lines().count(), 1);
        let read: toml::Table = format!("x = {}", quoted(text)).parse().expect("it is TOML");
        assert_eq!(read["x"].as_str(), Some(text));
        assert_eq!(comment("a\nb\u{7f}"), "# remark: a\\nb\\u{7f}");
    }

    #[test]
    fn numbers_and_booleans_are_bare() {
        for (value, written) in
            [("5", "5"), ("0.5", "0.5"), ("1e-7", "1e-7"), ("true", "true"), ("NaN", "\"NaN\""), ("", "\"\"")]
        {
            assert_eq!(bare(value), written);
        }
    }
}
