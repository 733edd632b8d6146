//! The command line: one verb, one file.

mod amount;
mod appliance;
mod backend;
mod capture;
mod check;
mod conntrack;
mod drain;
mod drops;
mod events;
mod exit;
mod explain;
mod reload;
mod replay;
mod ring;
mod run;
mod schema;
mod stats;
mod status;
mod stop;
mod table;
mod vip;
mod what_if;

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use clap::{Parser, Subcommand, ValueEnum};

use guideway::announce::{GUARD_VERB, stand_guard};
use guideway::config_file;
use guideway_model::config::{Config, EXAMPLE};

use exit::Exit;

/// A kernel-bypass layer-4 passthrough load balancer.
#[derive(Parser)]
#[command(version, after_help = exit::HELP)]
struct Cli {
    /// Whether errors are coloured.
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true)]
    color: Color,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Forwards packets until it is told to stop.
    Run(run::Args),
    /// Checks a configuration, and shows all that is wrong with it, or more than the health checks have room
    /// for.
    Check(check::Args),
    /// Decides every packet of a capture, on the capture's own clock.
    Replay(replay::Args),
    /// Says why a packet goes where it goes.
    Explain(explain::Args),
    /// Shows the lookup tables: slots, shares, digests.
    Ring(ring::Args),
    /// Prints the JSON schema of the configuration, for editors.
    Schema,
    /// Shows what the running appliance is, and how it is.
    Status(status::Args),
    /// Shows what the running appliance has counted.
    Stats(stats::Args),
    /// Shows which packets were lost, why, and what to do.
    Drops(drops::Args),
    /// Shows tracked connections.
    Conntrack(conntrack::Args),
    /// Shows backends, drains them, changes their weights.
    Backend(backend::Args),
    /// Shows VIPs, announces and withdraws them.
    Vip(vip::Args),
    /// Shows what has happened: health, weights, commands, reloads, failures.
    Events(events::Args),
    /// Captures packets that are passed or dropped for a reason.
    Capture(capture::Args),
    /// Takes the configuration file over again, whole or not at all.
    Reload(reload::Args),
    /// Stops the running appliance in good order.
    Stop(stop::Args),
    /// Withdraws all announcements, and waits until no packet is forwarded any more.
    Drain(drain::Args),
    /// Has a drained appliance serve again.
    Undrain(drain::UndrainArgs),
    /// Withdraws what the process at the other end of standard input has announced, once that has ended.
    #[command(hide = true, name = GUARD_VERB)]
    Guard,
}

/// When errors are coloured.
#[derive(Clone, Copy, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    Always,
    Never,
}

/// What a verb prints its result as.
#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Runs the verb that the command line names.
pub(crate) fn run() -> Exit {
    let cli = Cli::parse();
    let color = cli.color.on_stderr();
    match cli.verb {
        Verb::Run(args) => run::run(&args, color),
        Verb::Check(args) => check::run(&args, color),
        Verb::Replay(args) => replay::run(&args, color),
        Verb::Explain(args) => explain::run(&args, color),
        Verb::Ring(args) => ring::run(&args, color),
        Verb::Schema => schema::run(),
        Verb::Status(args) => status::run(&args),
        Verb::Stats(args) => stats::run(&args),
        Verb::Drops(args) => drops::run(&args),
        Verb::Conntrack(args) => conntrack::run(&args),
        Verb::Backend(args) => backend::run(&args),
        Verb::Vip(args) => vip::run(&args),
        Verb::Events(args) => events::run(&args),
        Verb::Capture(args) => capture::run(&args),
        Verb::Reload(args) => reload::run(&args, color),
        Verb::Stop(args) => stop::run(&args),
        Verb::Drain(args) => drain::run(&args),
        Verb::Guard => guard(),
        Verb::Undrain(args) => drain::undrain(&args),
    }
}

/// Stands guard over the appliance, which has started this process.
fn guard() -> Exit {
    match stand_guard() {
        Ok(()) => Exit::Success,
        Err(error) => {
            eprintln!("error: guard: {error}");
            Exit::Failure
        }
    }
}

impl Color {
    fn on_stderr(self) -> bool {
        match self {
            Self::Auto => {
                io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
            }
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// The configuration in a file, or the embedded example; what is wrong with it goes to standard error.
fn config(path: Option<&Path>, color: bool) -> Result<Config, Exit> {
    let (name, text) = match path {
        Some(path) => (path.to_string_lossy().into_owned(), read(path)?),
        None => ("the embedded configuration".to_owned(), EXAMPLE.to_owned()),
    };
    Config::parse(&name, &text).map_err(|errors| {
        eprint!("{}", errors.render(color));
        Exit::Config
    })
}

/// The text of a configuration file, or an error on standard error.
fn read(path: &Path) -> Result<String, Exit> {
    config_file::read(path).map_err(|error| {
        eprintln!("error: cannot read {}: {error}", path.display());
        Exit::Usage
    })
}

/// Prints to standard output; a reader that went away is no error.
fn print(text: &str) -> Exit {
    print_to_reader(text).err().unwrap_or(Exit::Success)
}

/// Prints to standard output; says whether there is still a reader.
fn print_to_reader(text: &str) -> Result<bool, Exit> {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            eprintln!("error: cannot write to standard output: {error}");
            Err(Exit::Failure)
        }
    }
}

/// Prints a value as JSON to standard output.
fn print_json(value: &impl serde::Serialize) -> Exit {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => {
            eprintln!("error: cannot write JSON: {error}");
            Exit::Failure
        }
    }
}
