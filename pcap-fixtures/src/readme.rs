//! Table of captures in the README.

use std::fmt::Write as _;

use crate::fixture::Fixture;

/// Heading of the table: text before it is written by hand, text behind it is made here.
const HEADING: &str = "## The captures\n";

/// Replaces the text behind the heading of `readme` by the table of `fixtures`.
///
/// # Panics
///
/// If `readme` has no such heading.
pub fn with_table(readme: &str, fixtures: &[Fixture]) -> String {
    let start = readme.find(HEADING).expect("a heading for the captures") + HEADING.len();
    let mut text = readme[..start].to_owned();
    let mut family = "";
    for fixture in fixtures {
        let (folder, name) = fixture.name.split_once('/').expect("a family and a name");
        if folder != family {
            family = folder;
            let source = folder.replace('-', "_");
            let _ = write!(
                text,
                "\n\
                 ### {folder}\n\
                 \n\
                 Made by [`src/scenarios/{source}.rs`](src/scenarios/{source}.rs), in `captures/{folder}/`.\n\
                 \n\
                 | capture | frames | what it shows |\n\
                 |---|---:|---|\n"
            );
        }
        let _ = writeln!(text, "| `{name}` | {} | {} |", fixture.outcomes().count(), fixture.claim);
    }
    text
}
