//! Documents: the files that they name are there.

use crate::source::{documents, exists};
use crate::unsafe_code::expand;

/// Names of files and folders in documents that do not exist.
pub(crate) fn lost_paths() -> Vec<String> {
    let tops = ["bench/", "control/", "dataplane/", "docker/", "docs/", "engine/", "pcap-fixtures/", ".ci/"];
    let mut lost = Vec::new();
    for document in documents() {
        // Quoted code, a word at a time: commands name files too.
        let quoted = document.text.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
        for path in quoted.filter(|word| tops.iter().any(|top| word.starts_with(top))).flat_map(expand) {
            let path = path.trim_end_matches([',', '.', ':', ';', '/']);
            let is_pattern = path.contains(['*', '<', '…']);
            if !is_pattern && !exists(path) {
                lost.push(format!("{}: {path}", document.path));
            }
        }
    }
    lost
}
