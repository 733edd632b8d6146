//! `guideway plan`: what would a reload change, and what would become of connections?

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args as Arguments;
use guideway::api::admin::client::{Client, ClientError};
use guideway::api::view::{ChangeKind, Fate, Plan, PlanVerdict, PlannedService};
use guideway::run::machine::Machine;
use guideway::run::warnings::warnings;
use guideway_model::forwarding_state::{ForwardingState, Setup};
use guideway_model::plan::Planner;

use super::amount::{count, percent};
use super::appliance::{SocketArgs, failed};
use super::config_choice::{headline, parsed, parsed_to_run, read, running};
use super::{Exit, Output, table};

#[derive(Arguments)]
pub(super) struct Args {
    /// New configuration file, compared with the running appliance; or the old one and the new one, compared with each other.
    /// `-` is standard input.
    #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    socket: SocketArgs,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(args: &Args, color: bool) -> Exit {
    let planned = match &args.files[..] {
        [old, new] => offline(old, new, color),
        files => read(&files[0]).and_then(|sources| {
            live(&args.socket, args.output, async |client| client.plan(sources, color).await)
        }),
    };
    planned.map_or_else(|exit| exit, |plan| print(&plan, args.output))
}

/// Asks the running appliance for a plan. Where it cannot be reached, that is a failure: the other status means changes here.
pub(super) fn live(
    socket: &SocketArgs,
    output: Output,
    ask: impl AsyncFnOnce(Client) -> Result<Plan, ClientError>,
) -> Result<Plan, Exit> {
    let mut plan = Err(Exit::Failure);
    let exit = socket.talk(async |client| match ask(client).await {
        Ok(made) => {
            plan = Ok(made);
            Exit::Success
        }
        Err(error) => match failed(&error, output) {
            Exit::Unreachable => Exit::Failure,
            exit => exit,
        },
    });
    if exit == Exit::Success { plan } else { Err(exit) }
}

/// Compares two files.
fn offline(old: &Path, new: &Path, color: bool) -> Result<Plan, Exit> {
    if [old, new].iter().all(|path| path.as_os_str() == "-") {
        complain!("error: standard input can be one of the two files alone");
        return Err(Exit::Usage);
    }
    let (old, new) = (read(old)?, read(new)?);
    let before = parsed(&old, color)?;
    // As a reload would: it takes nothing that could not start.
    let after = parsed_to_run(&new, color)?;
    let warnings = warnings(&after, &Machine::look()).iter().map(ToString::to_string).collect();
    // A set-up as an appliance has it: ports, sockets and sizes wait for its next start.
    let setup = Setup { starts_once: true, ..Setup::OFFLINE };
    let plan =
        Planner::new(ForwardingState::new(before, setup, Duration::ZERO), after, Duration::ZERO).plan();
    Ok(Plan::new(plan, &old.main.name, &new.main.name, warnings))
}

/// Prints a plan, and returns the status that sums it up.
pub(super) fn print(plan: &Plan, output: Output) -> Exit {
    let printed = match output {
        Output::Table => super::print(&text(plan)),
        Output::Json => super::print_json(plan),
    };
    match (printed, plan.verdict) {
        (Exit::Success, PlanVerdict::Nothing) => Exit::Success,
        (Exit::Success, PlanVerdict::Changes) => Exit::Changes,
        (Exit::Success, PlanVerdict::ConnectionsAtRisk) => Exit::AtRisk,
        (exit, _) => exit,
    }
}

/// Writes a plan for people.
fn text(plan: &Plan) -> String {
    let old = match plan.configuration_generation {
        Some(generation) => running(&plan.old, generation),
        None => plan.old.clone(),
    };
    let mut text = headline(&format!("{}, in place of {old}", plan.new));
    for change in &plan.changes {
        let _ = writeln!(text, "{} {}", change.change.sign(), change.text);
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for section in [services(plan), connections(plan)] {
        if !section.is_empty() {
            let _ = write!(text, "\n{section}");
        }
    }
    let _ = write!(text, "\n{}", conclusion(plan));
    text
}

/// Writes the services that the reload concerns; nothing where there are none.
fn services(plan: &Plan) -> String {
    let is_concerned = |service: &&PlannedService| {
        service.share_moved > 0.0
            || service.eligible_before != service.eligible_after
            || plan.connections.iter().any(|one| one.service == service.service)
    };
    let is_live = plan.configuration_generation.is_some();
    let mut titles = vec!["SERVICE", "ELIGIBLE", "SLOTS MOVED", "SHARE"];
    titles.extend(is_live.then_some(["TRACKED", "DRAIN", "MOVE", "END", "MAY END"]).into_iter().flatten());
    let mut rows = table::new(&titles);
    for service in plan.services.iter().filter(is_concerned) {
        let eligible =
            |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let moved = service.slots_moved.map_or_else(|| "-".to_owned(), |moved| moved.to_string());
        let mut row = vec![
            service.service.clone(),
            format!("{} to {}", eligible(service.eligible_before), eligible(service.eligible_after)),
            format!("{moved} of {}", service.slots),
            percent(service.share_moved),
        ];
        if is_live {
            row.push(service.tracked.unwrap_or(0).to_string());
            let fates = [Fate::Drain, Fate::Move, Fate::End, Fate::MayEnd];
            row.extend(fates.map(|fate| plan.count(service, fate).unwrap_or(0).to_string()));
        }
        rows.add_row(row);
    }
    if rows.is_empty() { String::new() } else { table::text(rows, 2..titles.len()) }
}

/// Writes what becomes of connections; nothing where all go on.
fn connections(plan: &Plan) -> String {
    let mut rows = table::new(&["CONNECTIONS", "FATE", "OF", "CAUSE"]);
    for one in &plan.connections {
        rows.add_row([
            one.count.map_or_else(|| "?".to_owned(), |count| count.to_string()),
            one.fate.as_str().to_owned(),
            format!("{}/{}", one.service, one.backend),
            one.cause.clone(),
        ]);
    }
    if rows.is_empty() { String::new() } else { table::text(rows, 0..1) }
}

fn conclusion(plan: &Plan) -> String {
    let sum = |fate: Fate| -> u64 {
        plan.connections.iter().filter(|one| one.fate == fate).filter_map(|one| one.count).sum()
    };
    let mut text = match plan.verdict {
        PlanVerdict::Nothing => "nothing changed\n".to_owned(),
        PlanVerdict::Changes => format!("{}; no connection ends or moves at once\n", changes(plan)),
        PlanVerdict::ConnectionsAtRisk if plan.configuration_generation.is_none() => {
            format!("{}; connections may be at risk\n", changes(plan))
        }
        PlanVerdict::ConnectionsAtRisk => {
            let (ending, moving, maybe) = (sum(Fate::End), sum(Fate::Move), sum(Fate::MayEnd));
            format!("{}; connections at risk: {ending} end, {moving} move, {maybe} may end\n", changes(plan))
        }
    };
    if plan.needs_restart {
        text.push_str("changes marked `!` take effect at the next start\n");
    }
    if let Some(removals) = &plan.removals {
        let _ = writeln!(text, "removes {removals}: a reload needs `--yes`");
    }
    text
}

fn changes(plan: &Plan) -> String {
    let now = plan.changes.iter().filter(|change| change.change != ChangeKind::NeedsRestart).count();
    match now {
        0 => "no change before the next start".to_owned(),
        now => count(now as u64, "change"),
    }
}
