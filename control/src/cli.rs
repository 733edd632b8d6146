//! The command line: one verb, one file.

/// Writes a line to standard error; a reader that went away is no error.
macro_rules! complain {
    ($($text:tt)*) => { $crate::cli::complain(format_args!("{}\n", guideway::api::visible::visible(&format!($($text)*)))) };
}

/// Writes text to standard error as it is, colours among it; a reader that went away is no error.
macro_rules! complain_text {
    ($($text:tt)*) => { $crate::cli::complain(format_args!($($text)*)) };
}

mod appliance;
mod backend;
mod capture;
mod check;
mod completions;
mod config_choice;
mod conntrack;
mod cpu_level;
mod doctor;
mod drain;
mod drops;
mod events;
mod exit;
mod explain;
mod import;
mod man;
mod packet_filter;
mod packet_trace;
mod plan;
mod reload;
mod replay;
mod ring;
mod rule;
mod run;
mod schema;
mod service;
mod stats;
mod status;
mod steps;
mod stop;
mod table;
mod top;
mod trace;
mod vip;
mod watch;
mod what_if;

use std::io::{self, IsTerminal, Write};

use clap::{Parser, Subcommand, ValueEnum};

use guideway::announce::{GUARD_VERB, stand_guard};
use guideway::api::{amount, visible};
use guideway_dataplane::ingress::NetworkId;
use guideway_model::config::Config;

use exit::Exit;

/// Kernel-bypass layer-4 passthrough load balancer.
#[derive(Parser)]
#[command(version = cpu_level::VERSION, after_help = exit::HELP)]
struct Cli {
    /// Colours in error messages and in `top`.
    #[arg(long, value_enum, default_value_t = Color::Auto, global = true)]
    color: Color,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Forwards packets until the appliance is stopped.
    Run(run::Args),
    /// Checks a configuration, and shows all its errors and warnings.
    Check(check::Args),
    /// Diagnoses machine and configuration: every fault at once, each with the command that mends it.
    Doctor(doctor::Args),
    /// Replays a capture on its own clock, and decides every packet.
    Replay(replay::Args),
    /// Explains why a packet goes where it goes.
    Explain(explain::Args),
    /// Shows the lookup tables: slots, shares, digests.
    Ring(ring::Args),
    /// Imports the configuration of another load balancer.
    Import(import::Args),
    /// Prints the JSON schema of the configuration, for editors, or an example to begin with.
    Schema(schema::Args),
    /// Prints the completion of the command line for a shell.
    Completions(completions::Args),
    /// Prints the manual page of the program, or writes those of all verbs.
    Man(man::Args),
    /// Shows the state of the running appliance.
    Status(status::Args),
    /// Shows the counters of the running appliance.
    Stats(stats::Args),
    /// Follows the running appliance on one screen: services, backends, drops, workers; drains backends.
    Top(top::Args),
    /// Shows which packets were lost, why, and what to do.
    Drops(drops::Args),
    /// Shows tracked connections.
    Conntrack(conntrack::Args),
    /// Shows backends, drains them, changes their weights.
    Backend(backend::Args),
    /// Shows backend services and their traffic.
    Service(service::Args),
    /// Shows forwarding rules and their traffic.
    Rule(rule::Args),
    /// Shows VIPs, announces and withdraws them.
    Vip(vip::Args),
    /// Shows events: changes of health and weights, commands, reloads, failures.
    Events(events::Args),
    /// Traces packets of the running appliance through every stage.
    Trace(trace::Args),
    /// Captures packets: forwarded, passed or dropped ones, with the decision on each.
    Capture(capture::Args),
    /// Shows what a reload would change, and what would become of connections.
    Plan(plan::Args),
    /// Reloads the configuration file, whole or not at all.
    Reload(reload::Args),
    /// Stops the running appliance in good order.
    Stop(stop::Args),
    /// Withdraws all announcements, and waits until no packet is forwarded any more.
    Drain(drain::Args),
    /// Undrains the appliance: it serves again.
    Undrain(drain::UndrainArgs),
    /// Withdraws the announcements of the process at the other end of standard input, once that has ended.
    #[command(hide = true, name = GUARD_VERB)]
    Guard,
}

/// Choice of colours in error messages and in `top`.
#[derive(Clone, Copy, ValueEnum)]
enum Color {
    /// Colours on a terminal, unless NO_COLOR is set.
    Auto,
    /// Colours everywhere.
    Always,
    /// No colours.
    Never,
}

/// Form in which a verb prints its result.
#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// Table or text for people.
    Table,
    /// JSON for programs.
    Json,
}

/// Runs the verb that the command line names.
pub(crate) fn run() -> Exit {
    cpu_level::hand_over();
    let cli = Cli::parse();
    let color = cli.color.on_stderr();
    match cli.verb {
        Verb::Run(args) => run::run(&args, color),
        Verb::Check(args) => check::run(&args, color),
        Verb::Doctor(args) => doctor::run(&args, color),
        Verb::Replay(args) => replay::run(&args, color),
        Verb::Explain(args) => explain::run(&args, color),
        Verb::Ring(args) => ring::run(&args, color),
        Verb::Import(args) => import::run(&args),
        Verb::Schema(args) => schema::run(&args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Man(args) => man::run(&args),
        Verb::Status(args) => status::run(&args),
        Verb::Stats(args) => stats::run(&args),
        Verb::Top(args) => top::run(&args, cli.color),
        Verb::Drops(args) => drops::run(&args),
        Verb::Conntrack(args) => conntrack::run(&args),
        Verb::Backend(args) => backend::run(&args),
        Verb::Service(args) => service::run(&args),
        Verb::Rule(args) => rule::run(&args),
        Verb::Vip(args) => vip::run(&args),
        Verb::Events(args) => events::run(&args),
        Verb::Capture(args) => capture::run(&args),
        Verb::Trace(args) => trace::run(&args),
        Verb::Plan(args) => plan::run(&args, color),
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
            complain!("error: guard: {error}");
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

/// Number of the network of this name, or of the first without one; an unknown name goes to standard error.
fn network(name: Option<&str>, config: &Config) -> Result<NetworkId, Exit> {
    config.network_named(name).map(|network| network.id).ok_or_else(|| {
        complain!("error: --network: there is no network `{}`", name.unwrap_or_default());
        Exit::Usage
    })
}

/// Writes to standard error, whoever reads it.
fn complain(text: std::fmt::Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}

/// Waits for something that is asked of others.
fn wait_for<T>(asked: impl Future<Output = T>) -> Result<T, Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(asked)).map_err(|error| {
        complain!("error: cannot wait for an answer: {error}");
        Exit::Failure
    })
}

/// Prints to standard output; a reader that went away is no error.
fn print(text: &str) -> Exit {
    print_to_reader(&visible::visible(text)).err().unwrap_or(Exit::Success)
}

/// Prints to standard output; true if there is still a reader.
fn print_to_reader(text: &str) -> Result<bool, Exit> {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => {
            complain!("error: cannot write to standard output: {error}");
            Err(Exit::Failure)
        }
    }
}

/// Prints a value as JSON to standard output.
fn print_json(value: &impl serde::Serialize) -> Exit {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&format!("{text}\n")),
        Err(error) => {
            complain!("error: cannot write JSON: {error}");
            Exit::Failure
        }
    }
}
