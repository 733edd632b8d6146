//! Acceptance: what the configuration's own parser refuses is left out again, with its words as the remark.
//!
//! Hence an import's result is valid whatever Google Cloud allows and Guideway does not, and the reasons are those of
//! `guideway check`.

use guideway_model::config::{Config, ConfigError};

use super::table::{Section, Table, WhenRefused, comment};

/// Text of the configuration, of which as little was left out as makes it valid.
///
/// # Errors
///
/// The error of a text that stays wrong.
pub(super) fn settle(head: &str, tables: &mut [Table]) -> Result<String, String> {
    loop {
        let written = Written::of(head, tables);
        let errors = match Config::parse("import", &written.text) {
            Ok(_) => return Ok(written.text),
            Err(errors) => errors,
        };
        let owned: Vec<(&ConfigError, Owner)> = errors
            .errors()
            .iter()
            .filter_map(|error| Some((error, (*written.owners.get(error.line - 1)?)?)))
            .collect();
        if !leave_out_lines(&owned, tables) && !leave_out_tables(&owned, tables) {
            let first = errors.errors().first().map(|error| error.message.clone());
            return Err(first.unwrap_or_default());
        }
    }
}

/// Text of a configuration, and the line of a table that each of its lines is.
struct Written {
    text: String,
    owners: Vec<Option<Owner>>,
}

/// Line of a table, by indices; without a line, a section's header.
#[derive(Clone, Copy)]
struct Owner {
    table: usize,
    section: usize,
    line: Option<usize>,
}

impl Written {
    fn of(head: &str, tables: &[Table]) -> Self {
        let mut written = Self { text: String::new(), owners: Vec::new() };
        written.add(head, None, false);
        for (table_index, table) in tables.iter().enumerate() {
            written.add("", None, false);
            written.remarks(&table.remarks);
            for (section_index, section) in table.sections.iter().enumerate() {
                let is_left_out = table.is_left_out || section.is_left_out;
                let owner = |line| Some(Owner { table: table_index, section: section_index, line });
                written.add(&section.header, owner(None), is_left_out);
                for (line_index, line) in section.lines.iter().enumerate() {
                    written.remarks(&line.remarks);
                    written.add(&line.text, owner(Some(line_index)), is_left_out || line.is_left_out);
                }
                written.remarks(&section.remarks);
            }
        }
        written
    }

    fn remarks(&mut self, remarks: &[String]) {
        for remark in remarks {
            self.add(&comment(remark), None, false);
        }
    }

    fn add(&mut self, text: &str, owner: Option<Owner>, is_left_out: bool) {
        for line in text.split('\n') {
            if is_left_out {
                self.text.push_str("# ");
            }
            self.text.push_str(line);
            self.text.push('\n');
            self.owners.push(owner);
        }
    }
}

/// Remark of an error.
fn remark(error: &ConfigError) -> String {
    format!("left out: {}; {}", error.message, error.help)
}

/// True of an error about a list that is too long: its place is the first element beyond, and all from there on go.
fn is_of_a_limit(error: &ConfigError) -> bool {
    error.message.ends_with("are allowed")
}

/// Leaves out the lines that may go by themselves, and returns true if there were some.
fn leave_out_lines(owned: &[(&ConfigError, Owner)], tables: &mut [Table]) -> bool {
    let mut is_changed = false;
    for (error, owner) in owned {
        let section: &mut Section = &mut tables[owner.table].sections[owner.section];
        let Some(index) = owner.line else {
            if owner.section > 0 && !section.is_left_out {
                section.is_left_out = true;
                section.remarks.push(remark(error));
                is_changed = true;
            }
            continue;
        };
        let line = &mut section.lines[index];
        match &line.when_refused {
            WhenRefused::Table => {}
            WhenRefused::Line if is_of_a_limit(error) => {
                for line in &mut section.lines[index..] {
                    line.is_left_out |= line.when_refused == WhenRefused::Line;
                }
                section.lines[index].remarks.push(remark(error));
                is_changed = true;
            }
            WhenRefused::Line if line.is_left_out => {}
            WhenRefused::Line => {
                line.is_left_out = true;
                line.remarks.push(remark(error));
                is_changed = true;
            }
        }
    }
    is_changed
}

/// Leaves out the tables with errors, and returns true if there were some: of those, only the tables that others are
/// built on, as the errors of the others may end with theirs.
fn leave_out_tables(owned: &[(&ConfigError, Owner)], tables: &mut [Table]) -> bool {
    let Some(kind) = owned.iter().map(|(_, owner)| tables[owner.table].kind).min() else { return false };
    for (error, owner) in
        owned.iter().filter(|(_, owner)| tables[owner.table].kind == kind).collect::<Vec<_>>()
    {
        if is_of_a_limit(error) {
            for table in tables[owner.table..].iter_mut().filter(|table| table.kind == kind) {
                table.is_left_out = true;
            }
        }
        let table = &mut tables[owner.table];
        table.is_left_out = true;
        table.remarks.push(remark(error));
    }
    true
}
