//! The tutorial in namespaces, command by command, as docs/tutorial.md has it.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::lab::appliance::GUIDEWAY;
use crate::lab::document::Block;
use crate::lab::patience::PATIENCE;
use crate::lab::process::Process;

const DOCUMENT: &str = include_str!("../../../docs/tutorial.md");

/// The machine as the tutorial has it; its namespaces go with the value, however far the tutorial came.
struct Machine {
    folder: PathBuf,
    path: String,
}

impl Machine {
    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-euc", script]).current_dir(&self.folder).env("PATH", &self.path);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.shell("./namespaces.sh down").status();
    }
}

#[test]
fn every_command_of_the_tutorial_does_what_it_shows() {
    let directory = TempDir::new().expect("there is a directory for such");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tutorial.in");
    let binary = Path::new(GUIDEWAY).parent().expect("a binary lies in a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let machine = Machine { folder, path };
    let blocks = Block::all(DOCUMENT);
    let blocks: Vec<_> = blocks.iter().filter(|block| block.is_at("host", "tutorial")).collect();
    assert_eq!(blocks.len(), 9, "the steps of the tutorial");
    for block in blocks {
        let name = format!("line-{}", block.line);
        let ended = Process::run(directory.path(), &name, machine.shell(&block.text), PATIENCE * 3);
        assert!(ended.status.success(), "docs/tutorial.md, line {}: {ended:#?}", block.line);
        block.compare(&ended.stdout);
    }
}
