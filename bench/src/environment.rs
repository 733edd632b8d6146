//! Environment of a figure: the machine, the build, and other load on the machine meanwhile.

use std::fmt::{self, Display};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;

use serde::Serialize;

/// Percent of the machine's processor time from which on other load deserves a warning.
const DISTURBING_PERCENT: f64 = 3.0;

/// Processor features that the code under measurement has faster ways for.
const RELEVANT_FEATURES: [&str; 7] = ["aes", "vaes", "avx2", "avx512f", "bmi2", "constant_tsc", "hypervisor"];

/// Watches the machine from before a measurement to its end.
pub(crate) struct Watch {
    load: f64,
    times: Option<ProcessorTimes>,
    since: Instant,
}

impl Watch {
    pub(crate) fn begin() -> Self {
        let load = read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
        Self { load, times: ProcessorTimes::now(), since: Instant::now() }
    }

    /// Ends the watch, and returns the environment, to print under a report or to put into it.
    pub(crate) fn end(self) -> Environment {
        let seconds = self.since.elapsed().as_secs_f64();
        let shares =
            self.times.zip(ProcessorTimes::now()).and_then(|(before, after)| before.shares_until(&after));
        let machine = Machine::read();
        let build = Build::default();
        let warnings = warnings(&build, shares.as_ref());
        Environment { machine, build, load_before: self.load, seconds, shares, warnings }
    }
}

/// Facts that a reader must know to judge a figure.
#[derive(Serialize)]
pub(crate) struct Environment {
    machine: Machine,
    build: Build,
    /// Load average of the kernel over the minute before the measurement.
    load_before: f64,
    /// Seconds that the measurement took.
    seconds: f64,
    #[serde(flatten)]
    shares: Option<Shares>,
    warnings: Vec<String>,
}

/// Writes one line for each fact, indented by two spaces, and then the warnings.
impl Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{}", self.machine, self.build)?;
        write!(f, "  run     {:.1} s; load before {:.2}", self.seconds, self.load_before)?;
        if let Some(shares) = &self.shares {
            write!(f, "; others {:.1} %, stolen {:.1} %", shares.others_percent, shares.stolen_percent)?;
        }
        self.warnings.iter().try_for_each(|warning| write!(f, "\n  warning: {warning}"))
    }
}

/// Lists reasons for which the figures may be worse than the code.
fn warnings(build: &Build, shares: Option<&Shares>) -> Vec<String> {
    let mut warnings = Vec::new();
    if !build.optimized {
        warnings.push("this build is not optimised: run with --release".to_owned());
    }
    if let Some(Shares { others_percent, stolen_percent }) = shares {
        if *others_percent > DISTURBING_PERCENT {
            warnings
                .push(format!("other processes had {others_percent:.1} % of the processor time meanwhile"));
        }
        if *stolen_percent > DISTURBING_PERCENT {
            warnings
                .push(format!("the hypervisor kept {stolen_percent:.1} % of the processor time meanwhile"));
        }
    }
    warnings
}

#[derive(Serialize)]
struct Machine {
    /// Name of the processor, with family and model, since a virtual one's name says little.
    cpu: String,
    cores: usize,
    /// Clock rate that the kernel states for the first core.
    mhz: Option<f64>,
    caches: Vec<String>,
    /// Features among [`RELEVANT_FEATURES`] that the processor has.
    features: Vec<String>,
    kernel: String,
    /// Setting for transparent huge pages.
    transparent_huge_pages: String,
    /// Free pages of hugetlbfs, by their size.
    free_huge_pages: Vec<String>,
}

impl Machine {
    fn read() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        Self {
            cpu: processor(&cpuinfo),
            cores: thread::available_parallelism().map_or(1, usize::from),
            mhz: field(&cpuinfo, "cpu MHz").and_then(|mhz| mhz.parse().ok()),
            caches: caches(Path::new("/sys/devices/system/cpu/cpu0/cache")),
            features: features(&cpuinfo),
            kernel: read("/proc/sys/kernel/osrelease"),
            transparent_huge_pages: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")).to_owned(),
            free_huge_pages: free_huge_pages(Path::new("/sys/kernel/mm/hugepages")),
        }
    }
}

impl Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mhz = self.mhz.map_or_else(String::new, |mhz| format!(", {mhz:.0} MHz"));
        writeln!(f, "  machine {}, {} cores{mhz}; {}", self.cpu, self.cores, self.features.join(" "))?;
        writeln!(f, "  caches  {}", self.caches.join(", "))?;
        let (thp, free) = (&self.transparent_huge_pages, self.free_huge_pages.join(", "));
        let free = if free.is_empty() { "none" } else { &free };
        writeln!(f, "  kernel  {}; transparent huge pages: {thp}; hugetlbfs, free: {free}", self.kernel)
    }
}

#[derive(Serialize)]
struct Build {
    rustc: &'static str,
    optimized: bool,
    /// Features among [`RELEVANT_FEATURES`] that the compiler took for granted.
    target_features: Vec<&'static str>,
}

impl Default for Build {
    fn default() -> Self {
        let candidates = [
            ("aes", cfg!(target_feature = "aes")),
            ("vaes", cfg!(target_feature = "vaes")),
            ("avx2", cfg!(target_feature = "avx2")),
            ("avx512f", cfg!(target_feature = "avx512f")),
            ("bmi2", cfg!(target_feature = "bmi2")),
        ];
        let target_features = candidates.into_iter().filter_map(|(name, has)| has.then_some(name)).collect();
        Self { rustc: env!("BENCH_RUSTC"), optimized: !cfg!(debug_assertions), target_features }
    }
}

impl Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let profile = if self.optimized { "optimised" } else { "not optimised" };
        let features = self.target_features.join(" ");
        let features = if features.is_empty() { "none beyond the baseline" } else { &features };
        write!(f, "  build   {}, {profile}; assumed features: {features}", self.rustc)
    }
}

/// Shares of the processors' time that others had during a measurement, in percent.
#[derive(Serialize)]
struct Shares {
    /// Share of all processes but this one, and of interrupts.
    others_percent: f64,
    /// Share that the hypervisor gave to others while this machine had work to do.
    stolen_percent: f64,
}

/// Processor time since the machine's start, in the kernel's ticks.
#[derive(Clone, Copy)]
struct ProcessorTimes {
    idle: u64,
    busy: u64,
    stolen: u64,
    /// Part of `busy` that this process had.
    own: u64,
}

impl ProcessorTimes {
    fn now() -> Option<Self> {
        Self::parse(&read("/proc/stat"), &read("/proc/self/stat"))
    }

    /// Parses the texts of `/proc/stat` and `/proc/self/stat`, proc(5).
    fn parse(all: &str, own: &str) -> Option<Self> {
        let columns = all.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let columns: Vec<u64> = columns.split_whitespace().map_while(|ticks| ticks.parse().ok()).collect();
        let [user, nice, system, idle, iowait, irq, softirq, stolen, ..] = columns[..] else { return None };
        // The process's name stands in parentheses and may have any character, so count from the last one.
        let (_, own) = own.rsplit_once(')')?;
        let mut own = own.split_whitespace().skip(11).map_while(|ticks| ticks.parse::<u64>().ok());
        let own = own.next()? + own.next()?;
        Some(Self { idle: idle + iowait, busy: user + nice + system + irq + softirq, stolen, own })
    }

    fn shares_until(&self, after: &Self) -> Option<Shares> {
        let busy = after.busy.saturating_sub(self.busy);
        let stolen = after.stolen.saturating_sub(self.stolen);
        let all = busy + stolen + after.idle.saturating_sub(self.idle);
        let others = busy.saturating_sub(after.own.saturating_sub(self.own));
        let percent = |ticks: u64| ticks as f64 / all as f64 * 100.0;
        (all > 0).then(|| Shares { others_percent: percent(others), stolen_percent: percent(stolen) })
    }
}

/// Reads a file of the kernel; empty if there is none.
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).map(|text| text.trim_end().to_owned()).unwrap_or_default()
}

/// Finds the first value of that name in `/proc/cpuinfo`.
fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

fn processor(cpuinfo: &str) -> String {
    let name = field(cpuinfo, "model name").unwrap_or("unknown processor");
    match (field(cpuinfo, "cpu family"), field(cpuinfo, "model")) {
        (Some(family), Some(model)) => format!("{name} (family {family}, model {model})"),
        _ => name.to_owned(),
    }
}

fn features(cpuinfo: &str) -> Vec<String> {
    // Arm's kernels call them Features.
    let flags = field(cpuinfo, "flags").or_else(|| field(cpuinfo, "Features")).unwrap_or_default();
    let has = |feature: &str| flags.split(' ').any(|flag| flag == feature);
    RELEVANT_FEATURES.into_iter().filter(|feature| has(feature)).map(str::to_owned).collect()
}

/// Finds the bracketed one of `always [madvise] never`.
fn chosen(setting: &str) -> &str {
    setting.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("unknown", |(chosen, _)| chosen)
}

/// Lists the caches that the first core sees, as in `L1d 48K`.
fn caches(directory: &Path) -> Vec<String> {
    let cache = |index: usize| {
        let directory = directory.join(format!("index{index}"));
        let kind = match read(directory.join("type")).as_str() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        let level = read(directory.join("level"));
        (!level.is_empty()).then(|| format!("L{level}{kind} {}", read(directory.join("size"))))
    };
    (0..8).map_while(cache).collect()
}

fn free_huge_pages(directory: &Path) -> Vec<String> {
    let sizes = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut pages: Vec<String> = sizes
        .filter_map(|size| {
            let free = read(size.path().join("free_hugepages"));
            let name = size.file_name().into_string().ok()?;
            Some(format!("{free} of {}", name.strip_prefix("hugepages-")?))
        })
        .collect();
    pages.sort_unstable();
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPUINFO: &str =
        "processor\t: 0\ncpu family\t: 6\nmodel\t\t: 207\nmodel name\t: A CPU\ncpu MHz\t\t: 2300.004
flags\t\t: fpu aes avx avx2\n\nprocessor\t: 1\nmodel\t\t: 9\n";

    #[test]
    fn the_first_core_names_the_processor() {
        assert_eq!(processor(CPUINFO), "A CPU (family 6, model 207)");
        assert_eq!(processor("processor : 0"), "unknown processor");
        assert_eq!(field(CPUINFO, "cpu MHz"), Some("2300.004"));
    }

    #[test]
    fn features_are_whole_words() {
        assert_eq!(features(CPUINFO), ["aes", "avx2"]);
        assert_eq!(features("Features : fp aes"), ["aes"]);
    }

    #[test]
    fn the_chosen_setting_is_the_bracketed_one() {
        assert_eq!(chosen("always [madvise] never"), "madvise");
        assert_eq!(chosen(""), "unknown");
    }

    #[test]
    fn others_have_what_is_busy_and_not_ours() {
        let own = |user, system| format!("7 (a ) name) R 1 7 7 0 -1 4194304 99 0 0 0 {user} {system} 0 0 20");
        let before = ProcessorTimes::parse("cpu  100 0 50 800 10 0 5 20 0 0\ncpu0 1 2", &own(10, 5)).unwrap();
        let after = ProcessorTimes::parse("cpu  160 0 60 900 10 0 5 50 0 0\ncpu0 1 2", &own(50, 10)).unwrap();
        let shares = before.shares_until(&after).unwrap();
        // 70 busy, 100 idle, 30 stolen; of the 70 this process had 45.
        assert_eq!((shares.others_percent, shares.stolen_percent), (12.5, 15.0));
        assert_eq!(warnings(&Build { optimized: true, ..Build::default() }, Some(&shares)).len(), 2);
    }

    #[test]
    fn a_quiet_machine_gets_no_warning() {
        let quiet = Shares { others_percent: 0.5, stolen_percent: 0.0 };
        assert!(warnings(&Build { optimized: true, ..Build::default() }, Some(&quiet)).is_empty());
        assert_eq!(warnings(&Build { optimized: false, ..Build::default() }, Some(&quiet)).len(), 1);
    }

    #[test]
    fn an_unchanged_clock_has_no_shares() {
        let times = ProcessorTimes { idle: 1, busy: 1, stolen: 0, own: 1 };
        assert!(times.shares_until(&times).is_none());
    }

    #[test]
    fn this_machine_can_be_read() {
        let environment = Watch::begin().end();
        assert!(environment.machine.cores > 0);
        assert!(environment.to_string().contains("rustc"));
    }
}
