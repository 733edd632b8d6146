//! Inclusion of files: each pattern of `include` has been looked for, and each file that it matches has been read.

use super::report::Report;
use super::source::{Remark, Sources};
use super::written::field::{Field, elements};
use super::written::file::ConfigFile;
use super::written::value::NamedPath;

/// Reports the patterns that could not be looked for, and the files that could not be read; remarks on patterns that match
/// none. Returns true if all files are there.
pub(super) fn check(
    file: &ConfigFile,
    sources: &Sources,
    remarks: &mut Vec<Remark>,
    report: &mut Report,
) -> bool {
    let is_there = |pattern: &Field<NamedPath>| {
        let NamedPath(written) = pattern.get()?;
        check_one(pattern, written, sources, remarks, report).then_some(())
    };
    // Every pattern is looked at, so that all wrong ones are told.
    elements(&file.include).iter().map(is_there).filter(Option::is_none).count() == 0
}

fn check_one(
    field: &Field<NamedPath>,
    written: &str,
    sources: &Sources,
    remarks: &mut Vec<Remark>,
    report: &mut Report,
) -> bool {
    let Some(found) = sources.includes.iter().find(|include| include.pattern == *written) else {
        let help = "read the configuration from a file of the same machine, or leave `include` out";
        report.error(
            field.span(),
            format!("the files of `{written}` did not come with the configuration"),
            help,
        );
        return false;
    };
    let files = match &found.files {
        Err(error) => {
            let help = "write a path in which `*` stands for any part of a name, such as `conf.d/*.toml`";
            report.error(field.span(), format!("`{written}` cannot be looked for: {error}"), help);
            return false;
        }
        Ok(files) => files,
    };
    if files.is_empty() {
        remarks.push(Remark {
            text: format!("`include` matches no file by `{written}`"),
            remedy: "mend the pattern, which begins in the folder of the main file, or leave it out"
                .to_owned(),
        });
    }
    let mut are_there = true;
    for file in files {
        if let Err(error) = &file.text {
            let message = format!("cannot read `{}`: {error}", file.name);
            report.error(field.span(), message, "make it a readable text file, or move it away");
            are_there = false;
        }
    }
    are_there
}
