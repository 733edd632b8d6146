//! A disk that is soon full: a tmpfs of a few pages, in a mount namespace of the one process that lives with it.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Bytes of the disk: sixteen pages.
const LENGTH: usize = 64 << 10;

/// Disk at a directory of one process.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    directory: PathBuf,
}

impl SmallDisk {
    /// Disk at this directory, which is made, and stays empty for all other processes.
    pub(crate) fn new(directory: &Path) -> Self {
        fs::create_dir(directory).expect("the directory above can be written");
        Self { directory: directory.to_owned() }
    }

    /// Words of a command line, before those of the program, which has the disk at its directory, and its standard error in the
    /// file `log` there where it is asked for.
    pub(crate) fn words(&self, has_log: bool) -> Vec<String> {
        let directory = self.directory.display();
        let log = if has_log { format!("2>{directory}/log") } else { String::new() };
        let script = format!("mount -t tmpfs -o size={LENGTH} guideway-lab {directory} && exec \"$@\" {log}");
        ["unshare", "--mount", "--", "sh", "-c", &script, "sh"].map(str::to_owned).into()
    }

    /// Path of a file of the disk of this process, for all others.
    pub(crate) fn path(&self, process: u32, name: &str) -> PathBuf {
        let below_root = self.directory.strip_prefix("/").expect("the directory is absolute");
        Path::new("/proc").join(process.to_string()).join("root").join(below_root).join(name)
    }

    /// Writes to the disk until nothing more goes onto it.
    pub(crate) fn fill(&self, process: u32) {
        let mut file = fs::File::create(self.path(process, "filling")).expect("there is room for a name");
        for length in [4_096, 1] {
            let full = loop {
                if let Err(error) = file.write_all(&vec![b'.'; length]) {
                    break error;
                }
            };
            assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
        }
    }

    /// Frees what was filled.
    pub(crate) fn free(&self, process: u32) {
        fs::remove_file(self.path(process, "filling")).expect("it was filled");
    }
}
