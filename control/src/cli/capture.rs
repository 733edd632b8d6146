//! `guideway capture`: what do packets look like, as they come and as they leave, and what was decided on them?

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args as Arguments;
use guideway::api::admin::MAX_CAPTURE_SEC;
use guideway::api::admin::client::{Capture, CaptureOrder, Client, ClientError};
use guideway::api::request::{CaptureReasons, Copies};
use tokio::signal::unix::{SignalKind, signal};

use super::amount::count;
use super::appliance::{SocketArgs, failed};
use super::packet_filter::FilterArgs;
use super::{Exit, Output};

/// Longest capture, in seconds.
const LONGEST: i64 = MAX_CAPTURE_SEC as i64;

#[derive(Arguments)]
pub(super) struct Args {
    /// End of the packets: `forward`, or a reason for which they are passed or dropped; more may follow, after commas or as further
    /// options. `pass` and `drop` are all of their kind; docs/replay.md lists the reasons. Without this, a filter is given, and
    /// packets of every end are captured.
    #[arg(
        long = "reason",
        value_name = "WORD",
        required_unless_present_any = ["service", "backend", "vip", "client", "flow"]
    )]
    reasons: Vec<CaptureReasons>,
    #[command(flatten)]
    packets: FilterArgs,
    /// Copies of packets that are forwarded or answered: `received`, `sent` or `both`. By default both of forwarded packets, if
    /// such are captured, and otherwise what is sent. A packet that is passed or dropped is as it was received.
    #[arg(long = "as", value_name = "COPY")]
    copies: Option<Copies>,
    /// File that the capture is written to, as pcapng; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    write: PathBuf,
    /// Overwrites the file if there is one.
    #[arg(long)]
    force: bool,
    /// Packets after which the capture ends; one that is in the file twice, as received and as sent, counts once.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Seconds after which the capture ends; without this and `--count`, Ctrl-C ends it.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=LONGEST))]
    seconds: Option<u32>,
    /// Form of what is said at the end: text on standard error, or JSON on standard output, unless the capture goes there.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let order = CaptureOrder {
        reasons: CaptureReasons::together(&args.reasons),
        filter: args.packets.filter(),
        copies: args.copies,
        packets: args.count,
        seconds: args.seconds,
    };
    args.socket.talk(async |client| match capture(&client, &order, args).await {
        Ok(exit) => exit,
        Err(error) => failed(&error, args.output),
    })
}

/// Destination of a capture. It ends in a whole block, whatever happens.
enum Target {
    Stdout,
    File { file: File, whole: u64 },
}

impl Target {
    /// Opens the file; one that is there is overwritten only where that was asked for, a pipe or a device always.
    fn open(path: &Path, force: bool) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let overwrites = force || path.metadata().is_ok_and(|known| !known.is_file());
        let mut options = File::options();
        options.write(true);
        let options = if overwrites { options.create(true).truncate(true) } else { options.create_new(true) };
        options.open(path).map(|file| Self::File { file, whole: 0 })
    }

    /// Writes whole blocks, or none of them.
    fn write(&mut self, blocks: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(blocks).and_then(|()| out.flush())
            }
            Self::File { file, whole } => {
                let written = file.write_all(blocks);
                match written {
                    Ok(()) => *whole += blocks.len() as u64,
                    // What a full disk took of them goes again.
                    Err(_) => drop(file.set_len(*whole)),
                }
                written
            }
        }
    }
}

/// Captures until the end, a signal, or an error; what came until then is written.
async fn capture(client: &Client, order: &CaptureOrder, args: &Args) -> Result<Exit, ClientError> {
    let path = &*args.write;
    // Asked first: a capture that is refused must not empty a file.
    let mut capture = client.capture(order).await?;
    let cannot = |error: io::Error| {
        let help = match error.kind() {
            ErrorKind::AlreadyExists => "; `--force` overwrites it, or name another file",
            _ => "",
        };
        complain!("error: cannot write to {}: {error}{help}", path.display());
        Exit::Failure
    };
    let mut target = match Target::open(path, args.force) {
        Ok(target) => target,
        Err(error) => return Ok(cannot(error)),
    };
    let signals = signal(SignalKind::interrupt())
        .and_then(|interrupt| signal(SignalKind::terminate()).map(|terminate| (interrupt, terminate)));
    let (mut interrupt, mut terminate) = match signals {
        Ok(signals) => signals,
        Err(error) => {
            complain!("error: cannot wait for signals: {error}");
            return Ok(Exit::Failure);
        }
    };
    loop {
        let next = tokio::select! {
            next = capture.next() => next,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        let blocks = match next {
            Ok(Some(blocks)) => blocks,
            Ok(None) => break,
            Err(error) => {
                tell(&capture, args);
                return Err(error);
            }
        };
        match target.write(&blocks) {
            Ok(()) => (),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            Err(error) => return Ok(cannot(error)),
        }
    }
    Ok(tell(&capture, args))
}

/// Prints the number of packets to standard error, as standard output may be the capture; JSON goes there if it is not.
fn tell(capture: &Capture, args: &Args) -> Exit {
    let path = &*args.write;
    let is_standard_output = path == Path::new("-");
    if let Output::Json = args.output {
        let (packets, missing) = (capture.packets(), capture.missing());
        let said = serde_json::json!({ "packets": packets, "missing": missing, "path": path });
        if !is_standard_output {
            return super::print(&format!("{said}\n"));
        }
        complain!("{said}");
        return Exit::Success;
    }
    let packets = count(capture.packets(), "packet");
    let file = if is_standard_output { String::new() } else { format!(" in {}", path.display()) };
    complain!("{packets}{file}");
    if capture.missing() > 0 {
        let missing = count(capture.missing(), "packet");
        let remedy = "ask for fewer packets, or write to a faster place";
        complain!("warning: {missing} had no room on the way here: {remedy}");
    }
    Exit::Success
}
