//! The README's table of captures.

use std::fmt::Write as _;

use crate::fixture::Fixture;

/// What precedes the table; what is before it is written by hand, what follows is made here.
const HEADING: &str = "## The captures\n";

/// `readme` with the table of `fixtures` behind its heading.
///
/// # Panics
///
/// Where `readme` has no such heading.
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
