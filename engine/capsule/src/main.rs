//! Decides a capture's frames with Guideway's data plane under capsule, a framework for DPDK.

mod arrival;
mod frame;
mod pipeline;
mod run;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use guideway_dataplane::conntrack::ConntrackTable;
use guideway_engine::capture::CaptureWriter;
use guideway_model::config::Config;
use guideway_model::decision_line::DecisionLine;
use guideway_model::egress_lookup::StandInMacs;
use guideway_model::forwarding_state::ForwardingState;

/// Decides every frame of a capture as `guideway replay` does, on capsule and DPDK's net_pcap.
#[derive(Parser)]
struct Args {
    /// Configuration file.
    #[arg(long)]
    config: PathBuf,
    /// Capture to decide, pcap or pcapng.
    #[arg(long)]
    pcap: PathBuf,
    /// File for the decisions: one line of JSON per frame.
    #[arg(long, value_name = "F.jsonl")]
    decisions: PathBuf,
    /// File for the frames that are sent.
    #[arg(long, value_name = "F.pcap")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match decide(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn decide(args: &Args) -> Result<()> {
    let text = fs::read_to_string(&args.config).with_context(|| args.config.display().to_string())?;
    let config = Config::parse(&args.config.to_string_lossy(), &text)
        .map_err(|errors| anyhow!("the configuration is wrong\n{}", errors.render(false)))?;
    let arrivals = arrival::arrivals(&args.pcap)?;
    let timestamps: Vec<u64> = arrivals.iter().map(|arrival| arrival.timestamp_nanos).collect();

    let max_entries = config.conntrack.max_entries;
    let mut state = ForwardingState::offline(config);
    let snapshot = state.snapshot(&StandInMacs);
    let table = ConntrackTable::with_capacity(max_entries as usize)
        .map_err(|error| anyhow!("{error}: lower `[conntrack] max_entries`"))?;

    let decided = run::run(&args.pcap, arrivals, snapshot, table)?;

    let mut lines = BufWriter::new(File::create(&args.decisions)?);
    let mut frames = CaptureWriter::new(File::create(&args.out)?)?;
    for ((number, decided), timestamp) in (1..).zip(&decided).zip(timestamps) {
        let network = decided.network.and_then(|network| state.network_name(network));
        DecisionLine::new(number, &decided.decision, state.names()).in_network(network).write(&mut lines)?;
        if let Some((bytes, len)) = &decided.sent {
            frames.write(timestamp, bytes, *len as u32)?;
        }
    }
    lines.flush()?;
    frames.finish()?.flush()?;
    Ok(())
}
