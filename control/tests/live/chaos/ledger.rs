//! Books of the chaos: every packet is counted once, and the process does not grow.

use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use guideway::api::view::Stats;

use crate::lab::appliance::Appliance;
use crate::lab::patience::{PATIENCE, within};

/// Growth between rounds that is none: events, samples of metrics and the allocator's own.
const GROWTH_KIB: u64 = 8 << 10;
/// Files and threads that come and go with a client, a hook or a write.
const COME_AND_GO: u64 = 8;
/// Time between two looks at the appliance's counters, between two looks at the kernel's.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
/// Polls of each worker between them, the first of which take in whatever has come before.
const POLLS: u64 = 1_000;
/// Frames in which the count of the kernel is compared with the appliance's.
const FRAMES: u64 = 200;

/// Checks that each offered packet was forwarded, passed or dropped.
pub(super) fn assert_counted_once(stats: &Stats) {
    let total = &stats.total;
    let (passed, dropped): (u64, u64) = (total.passed.values().sum(), total.dropped.values().sum());
    assert_eq!(total.offered, total.forwarded + passed + dropped, "{total:?}");
}

/// Checks that no counter has lost what it had counted: the process has lived on. A fault may be over before another packet comes.
pub(super) fn assert_counts_on(earlier: &Stats, later: &Stats) {
    let (before, now) = (&earlier.total, &later.total);
    let is_kept = now.offered >= before.offered && now.forwarded >= before.forwarded;
    assert!(is_kept, "{before:?}, and then {now:?}");
    for (all, earlier) in [(&now.passed, &before.passed), (&now.dropped, &before.dropped)] {
        assert!(earlier.iter().all(|(reason, count)| all[reason] >= *count), "{earlier:?}, and then {all:?}");
    }
}

/// Frames that the kernel has received for an interface, and packets that were offered to the pipeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrivals {
    received: u64,
    offered: u64,
}

impl Arrivals {
    /// Counts of both at one moment, which is to come while no traffic flows but that of probes.
    pub(super) fn now(appliance: &Appliance<'_>) -> Self {
        let look = || {
            let (before, first) = (received(appliance), stats(appliance));
            // A worker that shares its core takes in with a delay what waits for it: it must have polled since.
            thread::sleep(BETWEEN_LOOKS);
            let last = stats(appliance);
            let polls = last.workers.iter().zip(&first.workers).map(|(last, first)| last.polls - first.polls);
            let offered = last.total.offered;
            let is_still = received(appliance) == before && first.total.offered == offered;
            (is_still && polls.min() >= Some(POLLS)).then_some(Self { received: before, offered })
        };
        within(PATIENCE, look).expect("there is a moment without a frame")
    }

    /// Checks that every frame since an earlier moment was offered, of some hundred frames exactly.
    pub(super) fn assert_all_since(appliance: &Appliance<'_>, earlier: Self) {
        let mut last = None;
        let all = within(PATIENCE, || {
            let now = Self::now(appliance);
            let (received, offered) = (now.received - earlier.received, now.offered - earlier.offered);
            last = Some((received, offered));
            (received == offered && received >= FRAMES).then_some(())
        });
        all.unwrap_or_else(|| panic!("frames that the kernel has received, and that were offered: {last:?}"));
    }
}

/// Number of frames that the kernel has received for the appliance's interface.
fn received(appliance: &Appliance<'_>) -> u64 {
    let devices = fs::read_to_string(format!("/proc/{}/net/dev", appliance.id())).expect("it runs");
    let counts = devices.lines().find_map(|line| line.trim_start().strip_prefix("eth0:"));
    let packets = counts.and_then(|counts| counts.split_whitespace().nth(1)?.parse().ok());
    packets.expect("a count of packets after that of bytes")
}

/// Counters of the appliance, asked for without a verb, which takes longer than frames are apart.
fn stats(appliance: &Appliance<'_>) -> Stats {
    let mut socket = UnixStream::connect(appliance.socket()).expect("the appliance listens");
    let request = b"GET /v1/stats HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n";
    socket.write_all(request).expect("the appliance reads");
    let mut reply = String::new();
    socket.read_to_string(&mut reply).expect("the appliance answers");
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {reply}"))
}

/// Room that a process takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footprint {
    resident_kib: u64,
    huge_kib: u64,
    files: u64,
    threads: u64,
    snapshots: u64,
}

impl Footprint {
    pub(super) fn of(appliance: &Appliance<'_>) -> Self {
        let id = appliance.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        Self {
            resident_kib: value("VmRSS"),
            huge_kib: value("HugetlbPages"),
            files: fs::read_dir(format!("/proc/{id}/fd")).expect("it runs").count() as u64,
            threads: value("Threads"),
            snapshots: appliance.status().unreclaimed_snapshots,
        }
    }

    /// Checks that the process takes no more than an earlier footprint of it, within the bounds of what comes and goes.
    pub(super) fn assert_no_more_than(self, earlier: &Self) {
        let growth = format!("{self}; before, {earlier}");
        assert!(self.resident_kib <= earlier.resident_kib + GROWTH_KIB, "{growth}");
        assert!(self.huge_kib <= earlier.huge_kib, "{growth}");
        assert!(self.files <= earlier.files + COME_AND_GO, "{growth}");
        assert!(self.threads <= earlier.threads + COME_AND_GO, "{growth}");
        assert!(self.snapshots <= 1, "{growth}");
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resident_kib, huge_kib, files, threads, snapshots } = self;
        write!(
            f,
            "{resident_kib} KiB resident, {huge_kib} KiB of huge pages, {files} files, {threads} threads, \
             {snapshots} snapshots held"
        )
    }
}
