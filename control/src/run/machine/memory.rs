//! Memory of the machine and of the control group that the process is in, and what the conntrack table takes of it.
//!
//! The kernel gives memory out before it has it, and kills a process when it has none left: a table that is too large must
//! be refused before it is filled. Linux says what there is in `/proc/meminfo`, and what a control group may have in its
//! files, of version 2 or 1 (`Documentation/admin-guide/cgroup-v2.rst`, `cgroup-v1/memory.rst`); its parents limit it too.

use std::fmt;
use std::fs;
use std::path::Path;

use guideway_model::config::Config;
use guideway_model::warnings::Warning;

/// Bytes of a tracked connection's entry, as `guideway_dataplane::conntrack` lays its table out.
const ENTRY_BYTES: u64 = 24;

/// Memory in bytes; none where nobody tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Most memory that the process can have: the machine's, or the limit of its control group.
    pub total: Option<u64>,
    /// Memory that the process can have now.
    pub available: Option<u64>,
    /// Reserved pages of 1 GiB that nobody uses now; they are in no other figure but the total.
    pub free_gigantic: u64,
}

/// Memory that a conntrack table takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableMemory {
    /// Number of connections that it can track.
    pub max_entries: u32,
    /// Bytes that it takes.
    pub bytes: u64,
}

/// Error of a conntrack table that takes more memory than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLittleMemory {
    /// Table that was asked for.
    pub table: TableMemory,
    /// Bytes that the process can have now.
    pub available: u64,
}

impl TableMemory {
    /// Memory of the table that a configuration asks for.
    pub fn of(config: &Config) -> Self {
        let max_entries = config.conntrack.max_entries;
        Self { max_entries, bytes: u64::from(max_entries) * ENTRY_BYTES }
    }
}

impl fmt::Display for TableMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a conntrack table of {} entries takes {} MiB",
            self.max_entries,
            self.bytes.div_ceil(1 << 20)
        )
    }
}

impl fmt::Display for TooLittleMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, and this process can have {} MiB now", self.table, self.available >> 20)
    }
}

impl std::error::Error for TooLittleMemory {}

impl Memory {
    /// Reads what the kernel tells below `root`, which is `/` but for tests.
    pub fn read(root: &Path) -> Self {
        let text = fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default();
        let kibibytes = |key: &str| number_after(&text, key).map(|number| number << 10);
        let gigantic = root.join("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages");
        let gigantic = fs::read_to_string(gigantic).ok().and_then(|text| text.trim().parse().ok());
        let machine = Self {
            total: kibibytes("MemTotal:"),
            available: kibibytes("MemAvailable:"),
            free_gigantic: gigantic.unwrap_or(0),
        };
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        groups.lines().filter_map(Group::new).fold(machine, |memory, group| memory.within(&group, root))
    }

    /// Error where a table takes more than the process can have now. One of a GiB or more lies on the reserved pages if they
    /// hold all of it.
    ///
    /// # Errors
    /// [`TooLittleMemory`], before any of it is taken.
    pub fn provide(self, table: TableMemory) -> Result<(), TooLittleMemory> {
        if table.bytes >= 1 << 30 && table.bytes.div_ceil(1 << 30) <= self.free_gigantic {
            return Ok(());
        }
        match self.available {
            Some(available) if available < table.bytes => Err(TooLittleMemory { table, available }),
            _ => Ok(()),
        }
    }

    /// Warns of a table that takes more than the process can ever have.
    pub fn never_has(self, table: TableMemory) -> Option<Warning> {
        self.total.filter(|total| *total < table.bytes).map(|total| {
            Warning::new(
                format!(
                    "{table}, and this process can have {} MiB at most, so that `guideway run` refuses it",
                    total >> 20
                ),
                "lower `[conntrack] max_entries`",
            )
        })
    }

    /// The memory that is left by the limits of a control group and all its parents.
    fn within(mut self, group: &Group<'_>, root: &Path) -> Self {
        let files = group.version.files();
        let mount = root.join(files.mount);
        for path in Path::new(group.path).ancestors() {
            let folder = mount.join(path.strip_prefix("/").unwrap_or(path));
            let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
            // "max" is no limit.
            let Some(limit) = read(files.limit).and_then(|text| text.trim().parse::<u64>().ok()) else {
                continue;
            };
            let used = read(files.used).and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
            // Pages of files that nobody has read for a while are given back first.
            let cached = read("memory.stat").and_then(|text| number_after(&text, files.cached)).unwrap_or(0);
            let available = limit.saturating_sub(used.saturating_sub(cached));
            let least = |known: Option<u64>, here: u64| Some(known.map_or(here, |known| known.min(here)));
            self =
                Self { total: least(self.total, limit), available: least(self.available, available), ..self };
        }
        self
    }
}

/// Control group that limits the memory of the process.
#[derive(Clone, Copy, Debug)]
struct Group<'t> {
    version: Version,
    path: &'t str,
}

#[derive(Clone, Copy, Debug)]
enum Version {
    One,
    Two,
}

/// Names of a version's files.
struct Files {
    mount: &'static str,
    limit: &'static str,
    used: &'static str,
    /// Line of `memory.stat`.
    cached: &'static str,
}

impl<'t> Group<'t> {
    /// Group of a line of `/proc/self/cgroup`, if that is one of memory: `0::/path`, or `9:memory:/path`.
    fn new(line: &'t str) -> Option<Self> {
        let mut parts = line.splitn(3, ':');
        let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let version = match number {
            "0" if controllers.is_empty() => Version::Two,
            _ if controllers.split(',').any(|controller| controller == "memory") => Version::One,
            _ => return None,
        };
        Some(Self { version, path })
    }
}

impl Version {
    const fn files(self) -> Files {
        match self {
            Self::One => Files {
                mount: "sys/fs/cgroup/memory",
                limit: "memory.limit_in_bytes",
                used: "memory.usage_in_bytes",
                cached: "total_inactive_file",
            },
            Self::Two => Files {
                mount: "sys/fs/cgroup",
                limit: "memory.max",
                used: "memory.current",
                cached: "inactive_file",
            },
        }
    }
}

/// Number after a word that begins a line.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    let mut line = lines.find_map(|mut words| (words.next() == Some(word)).then_some(words))?;
    line.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str =
        "MemTotal:       16000000 kB\nMemFree:          100000 kB\nMemAvailable:    8000000 kB\n";

    /// Memory of a machine with these files beside `/proc/meminfo`.
    fn memory(files: &[(&str, &str)]) -> Memory {
        let root = tempfile::tempdir().expect("a directory of its own");
        for (path, text) in files.iter().chain([&("proc/meminfo", MEMINFO)]) {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it is below the root")).expect("it can be made");
            fs::write(path, text).expect("it can be written");
        }
        Memory::read(root.path())
    }

    const MACHINE: Memory =
        Memory { total: Some(16_000_000 << 10), available: Some(8_000_000 << 10), free_gigantic: 0 };

    fn with(total: u64, available: u64) -> Memory {
        Memory { total: Some(total), available: Some(available), free_gigantic: 0 }
    }

    #[test]
    fn a_table_on_reserved_pages_needs_no_other_memory() {
        let pages = "sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages";
        let machine = memory(&[(pages, "12\n")]);
        assert_eq!(machine, Memory { free_gigantic: 12, ..MACHINE });
        let table = |bytes| TableMemory { max_entries: 1, bytes };
        assert_eq!(machine.provide(table(12 << 30)), Ok(()));
        assert!(machine.provide(table((12 << 30) + 1)).is_err(), "all of it lies on them, or nothing");
    }

    #[test]
    fn a_machine_without_control_groups_has_what_it_says() {
        assert_eq!(memory(&[]), MACHINE);
        assert_eq!(memory(&[("proc/self/cgroup", "0::/\n")]), MACHINE);
        assert_eq!(Memory::read(Path::new("/nowhere")), Memory::default());
    }

    #[test]
    fn a_control_group_and_its_parents_limit_the_process() {
        let group = ("proc/self/cgroup", "0::/system.slice/guideway.service\n");
        let own = |file: &str| format!("sys/fs/cgroup/system.slice/guideway.service/{file}");
        let unlimited = memory(&[group, (&own("memory.max"), "max\n"), (&own("memory.current"), "5000\n")]);
        assert_eq!(unlimited, MACHINE);
        let limited = memory(&[
            group,
            (&own("memory.max"), "2000000000\n"),
            (&own("memory.current"), "500000000\n"),
            (&own("memory.stat"), "anon 400000000\ninactive_file 100000000\nactive_file 0\n"),
            ("sys/fs/cgroup/system.slice/memory.max", "1900000000\n"),
            ("sys/fs/cgroup/system.slice/memory.current", "100000000\n"),
        ]);
        assert_eq!(limited, with(1_900_000_000, 1_600_000_000));
    }

    #[test]
    fn a_control_group_of_the_first_version_does_too_in_a_container_that_sees_it_as_the_root() {
        let limited = memory(&[
            ("proc/self/cgroup", "11:cpu,cpuacct:/docker/ab\n9:memory:/docker/ab\n0::/docker/ab\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "300000000\n"),
            ("sys/fs/cgroup/memory/memory.stat", "cache 7\ntotal_inactive_file 50000000\n"),
        ]);
        assert_eq!(limited, with(1_000_000_000, 750_000_000));
    }

    #[test]
    fn a_table_that_does_not_fit_is_refused_with_both_figures() {
        let table = TableMemory { max_entries: 1 << 30, bytes: 24 << 30 };
        assert_eq!(Memory { available: Some(24 << 30), ..MACHINE }.provide(table), Ok(()));
        assert_eq!(Memory::default().provide(table), Ok(()), "nobody knows");
        let refused = MACHINE.provide(table).expect_err("it does not fit").to_string();
        assert_eq!(
            refused,
            "a conntrack table of 1073741824 entries takes 24576 MiB, and this process can have 7812 MiB now"
        );
    }

    #[test]
    fn a_table_takes_what_is_documented() {
        let config = Config::parse("test", "").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(TableMemory::of(&config), TableMemory { max_entries: 1 << 24, bytes: 24 << 24 });
    }
}
