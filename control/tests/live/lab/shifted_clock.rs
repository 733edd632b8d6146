//! A wall clock that jumps: a library, loaded before all others, which shifts the times that the C library tells a program
//! of its date. The machine's own clock stays as it is, and so does the clock that never jumps (`CLOCK_MONOTONIC`).

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::Lab;
use super::patience::PATIENCE;
use super::process::Process;

/// Library in C. It makes no system call once it is loaded, as a confined worker may make few.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static int (*of_system)(clockid_t, struct timespec *);
static volatile long *shift;

__attribute__((constructor)) static void load(void) {
    of_system = dlsym(RTLD_NEXT, "clock_gettime");
    int file = open(getenv("GUIDEWAY_LAB_CLOCK"), O_RDONLY | O_CLOEXEC);
    void *page = mmap(0, sizeof *shift, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) abort();
    shift = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!of_system) load();
    int result = of_system(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += *shift;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec exact;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    if (now) *now = exact.tv_sec;
    return exact.tv_sec;
}
"#;

/// Clock of the programs that are started by its [`words`](Self::words).
#[derive(Debug)]
pub(crate) struct ShiftedClock {
    preloaded: PathBuf,
    shift: PathBuf,
}

impl ShiftedClock {
    /// Makes a clock that is right so far.
    pub(crate) fn new(lab: &Lab) -> Self {
        let [source, library, shift] =
            ["clock.c", "clock.so", "clock.shift"].map(|name| lab.directory().join(name));
        fs::write(&source, LIBRARY).expect("the lab's directory can be written");
        let mut command = Command::new("cc");
        command
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(&source)
            .arg("-ldl");
        let made = Process::run(lab.directory(), "cc", command, PATIENCE);
        assert!(made.status.success(), "cc: {}: {}", made.status, made.stderr);
        let clock = Self { preloaded: library, shift };
        clock.jump_to(0);
        clock
    }

    /// Words of a command line, before those of the program.
    pub(crate) fn words(&self) -> Vec<String> {
        let (preloaded, shift) = (self.preloaded.display(), self.shift.display());
        ["env".to_owned(), format!("LD_PRELOAD={preloaded}"), format!("GUIDEWAY_LAB_CLOCK={shift}")].into()
    }

    /// Sets the clock to so many seconds after the machine's; before it, if they are negative.
    pub(crate) fn jump_to(&self, seconds: i64) {
        use std::os::unix::fs::FileExt;

        let options = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&self.shift);
        let file = options.expect("the lab's directory can be written");
        // In one write: a program reads the file's page at any time.
        file.write_all_at(&seconds.to_ne_bytes(), 0).expect("the lab's directory can be written");
    }
}
