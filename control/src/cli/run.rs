//! `guideway run`: the appliance itself.

use std::path::PathBuf;

use clap::{Args as Arguments, ValueEnum};

use super::Exit;
use super::config_choice::DEFAULT_CONFIG;
#[cfg(feature = "dpdk")]
use super::config_choice::{parsed, read, try_read};

#[derive(Arguments)]
pub(super) struct Args {
    /// Configuration file, which SIGHUP and `guideway reload` read again.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Shows DPDK's own messages too.
    #[arg(long)]
    verbose: bool,
    /// Form of the log; systemd's journal gets text with priorities unless this says JSON.
    #[arg(long, value_enum, value_name = "FORM")]
    log_format: Option<LogFormat>,
}

/// Form of the log's lines.
#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Text for people.
    Text,
    /// JSON object a line: `timestamp`, `level` and `fields`.
    Json,
}

/// Runs the appliance until it is told to stop.
#[cfg(feature = "dpdk")]
pub(super) fn run(args: &Args, color: bool) -> Exit {
    let log = match log(args.log_format, color) {
        Ok(log) => log,
        Err(error) => {
            complain!("error: cannot start the log: {error}");
            return Exit::Failure;
        }
    };
    let config = match log.format() {
        guideway::log::Format::Json => read_to_log(&args.config, &log),
        _ => read(&args.config).and_then(|sources| Ok((parsed(&sources, color)?, sources))),
    };
    let (config, sources) = match config {
        Ok(read) => read,
        Err(exit) => {
            log.flush(LAST_LINES_TIME);
            return exit;
        }
    };
    let exit = match guideway::run::live::run(config, sources, args.config.clone(), args.verbose, log.clone())
    {
        Ok(()) => Exit::Success,
        Err(error) => {
            log.say(tracing::Level::ERROR, format!("error: {error}"));
            Exit::Failure
        }
    };
    log.flush(LAST_LINES_TIME);
    exit
}

/// Reads the configuration; its errors are lines of the log, as whoever reads JSON takes nothing else.
#[cfg(feature = "dpdk")]
fn read_to_log(
    path: &std::path::Path,
    log: &guideway::log::Log,
) -> Result<(guideway_model::config::Config, guideway_model::config::Sources), Exit> {
    let (name, sources) = try_read(path);
    let sources = sources.map_err(|error| {
        log.say(tracing::Level::ERROR, format!("error: cannot read {name}: {error}"));
        Exit::Usage
    })?;
    let config = guideway_model::config::Config::parse_sources(&sources).map_err(|errors| {
        log.say(tracing::Level::ERROR, errors.render(false));
        Exit::Config
    })?;
    Ok((config, sources))
}

/// Longest wait at the end until the last lines of the log are read.
#[cfg(feature = "dpdk")]
const LAST_LINES_TIME: std::time::Duration = std::time::Duration::from_secs(1);

/// Fails: without DPDK there is nothing to run on, and the remedy is another build.
#[cfg(not(feature = "dpdk"))]
pub(super) fn run(_: &Args, _: bool) -> Exit {
    complain!("error: this build has no live ports: build it with `--features dpdk`");
    Exit::Failure
}

/// Starts the log on standard error, a line an event; under systemd, without what the journal knows anyway.
#[cfg(feature = "dpdk")]
fn log(chosen: Option<LogFormat>, color: bool) -> std::io::Result<guideway::log::Log> {
    use guideway::log::{Format, Log, Prioritized};
    use tracing_subscriber::{EnvFilter, fmt};

    let format = match chosen {
        Some(LogFormat::Text) => Format::Text,
        Some(LogFormat::Json) => Format::Json,
        None => Format::of_standard_error(),
    };
    let writer = Log::start(format, std::io::stderr())?;
    writer.take_panics();
    let filter = EnvFilter::builder()
        .with_default_directive(tracing::level_filters::LevelFilter::INFO.into())
        .with_env_var("GUIDEWAY_LOG")
        .from_env_lossy();
    let log = fmt().with_env_filter(filter).with_writer(writer.clone()).with_target(false);
    // Whoever has set a log before, as a test may, keeps it.
    let _ = match format {
        Format::Text => log.with_ansi(color).try_init(),
        Format::Json => log.json().with_target(false).try_init(),
        Format::Journal => {
            let lines = fmt::format().with_ansi(false).without_time().with_target(false);
            log.with_ansi(false).event_format(Prioritized(lines)).try_init()
        }
    };
    Ok(writer)
}
