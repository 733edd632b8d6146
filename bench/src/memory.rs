//! Memory whose pages are of a chosen kind, and the amount of memory that a process has.

use std::fs;
use std::io;

use memmap2::{Advice, MmapMut};
use serde::Serialize;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Kind of pages that a memory area is asked to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PageKind {
    /// Pages of 4 KiB, as an allocator gives them if the administrator set transparent huge pages to `madvise`.
    Small,
    /// Pages of 2 MiB if the kernel has them, by `madvise`.
    Huge,
}

/// Cache line, which a table's bucket fills.
#[derive(Clone, Copy, FromBytes, Immutable, IntoBytes, KnownLayout)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u64; 8]);

/// Large area of memory, aligned to its pages, with every page present.
pub(crate) struct Pages {
    map: MmapMut,
}

/// Size and alignment of a huge page.
const HUGE: usize = 2 << 20;

impl Pages {
    /// Allocates `bytes` of memory, rounded up to whole huge pages.
    ///
    /// # Errors
    /// If the kernel doesn't provide the memory.
    pub(crate) fn new(bytes: usize, kind: PageKind) -> io::Result<Self> {
        let mut map = MmapMut::map_anon(bytes.next_multiple_of(HUGE))?;
        let advice = match kind {
            PageKind::Small => Advice::NoHugePage,
            PageKind::Huge => Advice::HugePage,
        };
        // A kernel without transparent huge pages refuses either; all of its pages are small then.
        let _ = map.advise(advice);
        for page in map.chunks_mut(4096) {
            page[0] = 1;
        }
        Ok(Self { map })
    }

    /// Lines of the whole area.
    pub(crate) fn lines(&self) -> &[Line] {
        <[Line]>::ref_from_bytes(&self.map).expect("pages are aligned to lines and hold whole ones")
    }
}

/// Reads the bytes of memory that this process has in use, pages of hugetlbfs included; 0 if the kernel doesn't say.
pub(crate) fn resident_bytes() -> usize {
    resident_in(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

/// Reads the most bytes of memory that this process has had in use, pages of hugetlbfs excluded; 0 if the kernel doesn't
/// say.
#[cfg(feature = "control")]
pub(crate) fn most_resident_bytes() -> usize {
    bytes_in(&fs::read_to_string("/proc/self/status").unwrap_or_default(), &["VmHWM"])
}

fn resident_in(status: &str) -> usize {
    bytes_in(status, &["VmRSS", "HugetlbPages"])
}

/// Sum of these lines in the text of `/proc/PID/status`, proc(5).
fn bytes_in(status: &str, names: &[&str]) -> usize {
    let kibibytes = |name: &&str| {
        let value = status.lines().find_map(|line| line.strip_prefix(*name)?.strip_prefix(':'))?;
        value.trim().strip_suffix(" kB")?.parse::<usize>().ok()
    };
    names.iter().filter_map(kibibytes).sum::<usize>() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_either_kind_are_present_and_aligned() {
        for kind in [PageKind::Small, PageKind::Huge] {
            let before = resident_bytes();
            let pages = Pages::new(64 * HUGE - 5, kind).unwrap();
            assert_eq!(size_of_val(pages.lines()), 64 * HUGE);
            // Other tests come and go beside this one, so not all of it need show.
            assert!(resident_bytes() > before + 32 * HUGE, "{kind:?}");
        }
    }

    #[test]
    fn huge_pages_of_both_sorts_count() {
        let status = "Name:\tVmRSS\nVmRSS:\t    2000 kB\nHugetlbPages:\t    1000 kB\nVmRSSother:\t 5 kB\n";
        assert_eq!(resident_in(status), 3000 * 1024);
        assert_eq!(resident_in(""), 0);
    }
}
