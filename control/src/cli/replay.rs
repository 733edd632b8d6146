//! `guideway replay`: what would have become of a capture?

mod progress;
mod trace;

use std::fs::File;
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args as Arguments;
use guideway::offline::packed_capture::{AnyCapture, unpacked};
use guideway::offline::replay::chronicle::Chronicle;
use guideway::offline::replay::{Outputs, ReplayError, Summary, replay};
use guideway::offline::report::{self, Inputs};
use guideway::offline::timeline::{Timeline, TimelineError};
use guideway_engine::capture::{CaptureError, CaptureReader, CaptureWriter};

use super::config_choice::ConfigArgs;
use super::{Exit, Output, table};
use progress::Counted;
use trace::TraceArgs;

/// Capture that is replayed where none is named; pcap-fixtures/README.md tells its story.
const DEMO_CAPTURE: &[u8] = include_bytes!("../../../pcap-fixtures/demo.in.pcap");

#[derive(Arguments)]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Capture to replay, pcap or pcapng, as it is or packed by gzip or zstd; `-` is standard input. With `--demo`, an
    /// embedded one by default.
    #[arg(long, value_name = "FILE", required_unless_present = "demo")]
    pcap: Option<PathBuf>,
    /// File of health, weights and reloads on the capture's clock, a list of `[[event]]` in TOML.
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// File for the decisions, one line of JSON per frame.
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,
    /// File for the frames that the appliance sends, as pcap.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// File for a report of the replay, one HTML page: shares, events, drops, clients.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    trace: TraceArgs,
    /// Number of worker threads; the decisions do not depend on it while the conntrack table has room.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: u16,
    /// Form of the summary.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(args: &Args, color: bool) -> Exit {
    match try_run(args, color) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn try_run(args: &Args, color: bool) -> Result<Exit, Exit> {
    let (config, name) = args.config.config(color)?;
    let events = match &args.events {
        Some(path) => Timeline::read(path, &config).map_err(|error| explain_events(&error, color))?,
        None => Timeline::default(),
    };
    args.check_results(&events.configs)?;
    let capture = open_capture(args.pcap.as_deref())?;
    let outputs = Outputs {
        decisions: args.decisions.as_deref().map(|path| args.create(path)).transpose()?,
        frames: match &args.out {
            Some(path) => {
                Some(CaptureWriter::new(args.create(path)?).map_err(|error| cannot_write(path, &error))?)
            }
            None => None,
        },
        chronicle: args.html.is_some(),
        trace: args.trace.order(&config, &events)?,
    };
    let page = args.html.as_deref().map(|path| args.create(path)).transpose()?;
    let (summary, result) = replay(config, events, capture, usize::from(args.workers), outputs);
    let failure = result.err().map(|error| match error {
        ReplayError::Capture(error) => format!("{}: {error}", capture_name(args.pcap.as_deref())),
        ReplayError::Write(error) => error.to_string(),
        ReplayError::Table(error) => format!("{error}: lower `[conntrack] max_entries`"),
    });
    let mut exit = Exit::Success;
    if let Some(what) = &failure {
        complain!("error: {what}");
        exit = Exit::Failure;
    } else if !summary.is_balanced() {
        complain!("error: {} packets were read, and not all of them are accounted for", summary.packets);
        exit = Exit::Failure;
    }
    let report = Report { args, config: &name, failure: failure.as_deref() };
    if let (Some(page), Some(chronicle)) = (page, &summary.chronicle)
        && let Err(error) = report.write_page(page, &summary, chronicle)
    {
        complain!("error: {error}");
        exit = Exit::Failure;
    }
    let printed = match args.output {
        Output::Table => super::print(&report.text(&summary)),
        Output::Json => super::print_json(&summary),
    };
    if printed == Exit::Success { Ok(exit) } else { Err(printed) }
}

fn open_capture(path: Option<&Path>) -> Result<AnyCapture, Exit> {
    let opened = match path {
        Some(path) => packed(path)
            .map_err(|source| CaptureError::Io { records: 0, source })
            .and_then(CaptureReader::new),
        None => CaptureReader::new(Box::new(Cursor::new(DEMO_CAPTURE)) as Box<dyn Read + Send>),
    };
    opened.map_err(|error| {
        complain!("error: {}: {error}", capture_name(path));
        let is_damaged = |kind| matches!(kind, io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
        match error {
            CaptureError::Io { source, .. } if !is_damaged(source.kind()) => Exit::Usage,
            _ => Exit::Failure,
        }
    })
}

/// Bytes of the capture at `path`, or on standard input if that is `-`; a bar tells how many have been read.
fn packed(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    if path == Path::new("-") {
        return unpacked(Counted::new(io::stdin(), None));
    }
    unpacked(Counted::of_file(File::open(path)?))
}

fn capture_name(path: Option<&Path>) -> String {
    path.map_or_else(|| "the embedded capture".to_owned(), |path| path.display().to_string())
}

impl Args {
    /// Checks that no result's file is read, or written for another result: they would destroy each other.
    fn check_results(&self, reloads: &[PathBuf]) -> Result<(), Exit> {
        let identity = |path: &Path| {
            let file = path.metadata().ok().filter(std::fs::Metadata::is_file);
            file.map(|file| (file.dev(), file.ino()))
        };
        let config = (!self.config.demo).then_some(&self.config.config);
        let inputs: Vec<&PathBuf> =
            config.into_iter().chain(&self.pcap).chain(&self.events).chain(reloads).collect();
        let results: Vec<&PathBuf> = [&self.decisions, &self.out, &self.html].into_iter().flatten().collect();
        for (option, path) in [("--decisions", &self.decisions), ("--out", &self.out), ("--html", &self.html)]
        {
            if path.as_deref() == Some(Path::new("-")) {
                complain!("error: {option} -: standard output has the summary: name a file, or /dev/stdout");
                return Err(Exit::Usage);
            }
        }
        for (index, path) in results.iter().enumerate() {
            let is_same = |other: &&PathBuf| {
                identity(path)
                    .map_or_else(|| other == path && !path.exists(), |own| identity(other) == Some(own))
            };
            let fault = if inputs.iter().any(&is_same) {
                "is read, and cannot be written too"
            } else if results[..index].iter().any(is_same) {
                "cannot be written for two results"
            } else {
                continue;
            };
            complain!("error: {} {fault}: name another file", path.display());
            return Err(Exit::Usage);
        }
        Ok(())
    }

    /// Opens a result's file.
    fn create(&self, path: &Path) -> Result<Box<dyn Write>, Exit> {
        let file = File::create(path).map_err(|error| cannot_write(path, &error))?;
        Ok(Box::new(BufWriter::new(Named { path: path.to_owned(), file })))
    }
}

/// Report of a replay: names of what was replayed, and why it ended early if it did.
struct Report<'a> {
    args: &'a Args,
    config: &'a str,
    failure: Option<&'a str>,
}

impl Report<'_> {
    fn use_inputs<R>(&self, use_inputs: impl FnOnce(&Inputs<'_>) -> R) -> R {
        let capture = match &self.args.pcap {
            Some(path) if path.as_os_str() == "-" => "standard input".to_owned(),
            path => capture_name(path.as_deref()),
        };
        let events = self.args.events.as_ref().map(|path| path.display().to_string());
        let events = events.as_deref();
        use_inputs(&Inputs { capture: &capture, config: self.config, events, failure: self.failure })
    }

    fn write_page(
        &self,
        mut page: Box<dyn Write>,
        summary: &Summary,
        chronicle: &Chronicle,
    ) -> io::Result<()> {
        let html = self.use_inputs(|inputs| report::html(summary, chronicle, inputs));
        page.write_all(html.as_bytes())?;
        page.flush()
    }

    /// Writes for people what was replayed, the summary, and what to look at.
    fn text(&self, summary: &Summary) -> String {
        let mut text = self.use_inputs(|inputs| report::heading(summary, inputs));
        text += &summary_text(summary);
        match (&self.args.html, &summary.chronicle) {
            (Some(path), Some(chronicle)) => {
                text += "\n";
                for finding in report::findings(summary, chronicle, self.failure) {
                    text += &under_title("look at", &finding);
                }
                text += &format!("report    {}, for a browser\n", path.display());
            }
            _ => text += "\nreport    none: `--html report.html` writes one\n",
        }
        if let Some(traces) = &summary.traces {
            text += &trace::text(traces, summary.start_unix_nanos);
        }
        text
    }
}

/// File whose errors say its name.
struct Named {
    path: PathBuf,
    file: File,
}

impl Named {
    fn name(&self, error: io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("cannot write {}: {error}", self.path.display()))
    }
}

impl Write for Named {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes).map_err(|error| self.name(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush().map_err(|error| self.name(error))
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Exit {
    complain!("error: cannot write {}: {error}", path.display());
    Exit::Failure
}

fn explain_events(error: &TimelineError, color: bool) -> Exit {
    match error {
        TimelineError::Wrong(errors) => {
            complain_text!("{}", errors.render(color));
            Exit::Config
        }
        TimelineError::Unreadable(path, error) => {
            complain!("error: cannot read {}: {error}", path.display());
            Exit::Usage
        }
    }
}

/// Sentence behind its title, in lines for a terminal of 80 columns.
fn under_title(title: &str, sentence: &str) -> String {
    let mut text = format!("{title:<9}");
    let mut column = text.len();
    for word in sentence.split(' ') {
        if column > 9 && column + 1 + word.chars().count() > 80 {
            text += "\n         ";
            column = 9;
        }
        text = text + " " + word;
        column += 1 + word.chars().count();
    }
    text + "\n"
}

/// Writes the summary for people.
fn summary_text(summary: &Summary) -> String {
    let mut totals = table::new(&[]);
    let mut row = |what: &str, count: u64| {
        totals.add_row([what.to_owned(), count.to_string()]);
    };
    row("packets", summary.packets);
    row("bytes", summary.bytes);
    row("forwarded", summary.forwarded);
    row("passed", summary.passed.values().sum());
    for (reason, count) in &summary.passed {
        row(&format!("  {reason}"), *count);
    }
    row("dropped", summary.dropped.values().sum());
    for (reason, count) in &summary.dropped {
        row(&format!("  {reason}"), *count);
    }
    row("conntrack hits", summary.conntrack.hits);
    row("conntrack entries made", summary.conntrack.new);
    for (what, count) in [
        ("  in another's slot", summary.conntrack.evicted),
        ("    of a void one", summary.conntrack.evicted_void),
        ("    of a half-open one", summary.conntrack.evicted_half_open),
        ("    of a closed one", summary.conntrack.evicted_closed),
        ("    of an unconfirmed one", summary.conntrack.evicted_unconfirmed),
        ("conntrack full", summary.conntrack.full),
        ("conntrack limited", summary.conntrack.limited),
        ("conntrack protected SYNs", summary.conntrack.protected),
        ("not tracked", summary.conntrack.untracked),
        ("ICMP errors steered by their quote", summary.icmp_errors_steered),
        ("fragments that followed their first", summary.fragments_followed),
        ("fragments whose first was unseen", summary.fragments_first_unseen),
        ("ICMP errors sent", summary.icmp_errors_sent),
        ("ICMP errors not sent", summary.icmp_errors_suppressed),
        ("exceeding the MTU", summary.exceeding_mtu),
        ("sent in fragments", summary.fragmented),
        ("cut in the capture", summary.cut_in_capture),
    ] {
        if count > 0 {
            row(what, count);
        }
    }
    let mut text = table::text(totals, 1..2);
    if !summary.backends.is_empty() {
        let titles = ["SERVICE", "BACKEND", "EXPECTED", "SELECTED", "SELECTIONS", "PACKETS", "BYTES"];
        let mut shares = table::new(&titles);
        for backend in &summary.backends {
            shares.add_row([
                backend.backend_service.clone(),
                backend.backend.clone(),
                format!("{:.2} %", backend.expected_share * 100.0),
                format!("{:.2} %", backend.selection_share * 100.0),
                backend.selections.to_string(),
                backend.packets.to_string(),
                backend.bytes.to_string(),
            ]);
        }
        text.push('\n');
        text.push_str(&table::text(shares, 2..7));
    }
    text
}
