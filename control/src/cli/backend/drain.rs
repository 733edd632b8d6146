//! `guideway backend drain`: no new connections for a backend, how many it still has, and the wait for their end.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args as Arguments;
use guideway::api::admin::MAX_DRAIN_SEC;
use guideway::api::admin::client::{Client, ClientError};
use guideway::api::view::{Backend, BackendDrain, Remaining};
use tokio::time::{Instant, sleep};

use super::super::amount::{count, duration};
use super::super::appliance::{SocketArgs, failed};
use super::super::{Exit, Output, print, print_json};

/// Pause between two counts. A count that takes long makes the next pause longer, so that a large table is read for a
/// small part of the time.
const INTERVAL: Duration = Duration::from_secs(1);

/// Pause after a count, as a multiple of the time that it took.
const REST: u32 = 4;

/// Pause before a count that was refused, as another goes on, is asked for again.
const AGAIN: Duration = Duration::from_millis(200);

/// Longest time in which a count is asked for again.
const COUNT_TIME: Duration = Duration::from_secs(10);

#[derive(Arguments)]
pub(in super::super) struct Args {
    /// Name of the backend service.
    service: String,
    /// Name of the backend.
    backend: String,
    /// Waits until no connection remains, or for this many seconds; exit status 1 if some remain then.
    #[arg(long, value_name = "SECONDS")]
    wait: Option<Option<u32>>,
    /// Ends connections and sessions that remain after this many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_DRAIN_SEC)))]
    deadline: Option<u32>,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    socket: SocketArgs,
}

/// End of a wait.
enum End {
    /// No connection remains.
    Empty,
    /// The time is over, and so many remain.
    Late(Remaining),
    /// The backend gets new connections again.
    Undrained(Remaining),
}

pub(in super::super) fn run(args: &Args, table: impl Fn(&Backend) -> String) -> Exit {
    let Args { service, backend, wait, deadline, output, socket } = args;
    socket.talk(async |client| {
        let backend = match client.backend_drain(service, backend, *deadline).await {
            Ok(backend) => backend,
            Err(error) => return failed(&error, *output),
        };
        let begun = Instant::now();
        let remaining = remaining(&client, service, &backend.name).await;
        if matches!(output, Output::Table) {
            let printed = print(&(table(&backend) + "\n" + &words(remaining.as_ref().ok())));
            if printed != Exit::Success {
                return printed;
            }
        }
        let (remaining, exit) = match (wait, remaining) {
            (None, remaining) => (remaining, Exit::Success),
            (Some(limit), Ok(first)) => {
                let limit = limit.map(|seconds| begun + Duration::from_secs(seconds.into()));
                let shows = matches!(output, Output::Table) && io::stderr().is_terminal();
                match empty(&client, &backend, first, limit, shows).await {
                    Ok(end) => end.tell(*output),
                    Err(error) => (Err(error), Exit::Failure),
                }
            }
            (Some(_), Err(error)) => (Err(error), Exit::Failure),
        };
        if let (Some(_), Err(error)) = (wait, &remaining) {
            return failed(error, *output);
        }
        let printed = match output {
            Output::Table => Exit::Success,
            Output::Json => print_json(&BackendDrain { backend, remaining: remaining.ok() }),
        };
        if printed == Exit::Success { exit } else { printed }
    })
}

/// Writes for people what a backend still has, and why that may not end.
pub(super) fn words(remaining: Option<&Remaining>) -> String {
    match remaining {
        None => "how many connections remain is not known: the table could not be read\n".to_owned(),
        Some(remaining) => {
            let warning = remaining.warning.as_ref().map(|warning| format!("warning: {warning}\n"));
            format!("{}\n{}", remain(remaining), warning.unwrap_or_default())
        }
    }
}

fn remain(remaining: &Remaining) -> String {
    format!("{} {}", number(remaining), if remaining.total() == 1 { "remains" } else { "remain" })
}

fn number(remaining: &Remaining) -> String {
    match (remaining.connections, remaining.sessions) {
        (connections, 0) => count(connections, "connection"),
        (0, sessions) => count(sessions, "session"),
        (connections, sessions) => {
            format!("{} and {}", count(connections, "connection"), count(sessions, "session"))
        }
    }
}

/// Counts what a backend still has; where another count or list is in the way, after it.
pub(super) async fn remaining(
    client: &Client,
    service: &str,
    backend: &str,
) -> Result<Remaining, ClientError> {
    let end = Instant::now() + COUNT_TIME;
    loop {
        match client.backend_remaining(service, backend).await {
            Err(ClientError::Refused(view))
                if ["list_running", "reloaded_meanwhile"].contains(&&*view.error) && Instant::now() < end =>
            {
                sleep(AGAIN).await;
            }
            answer => return answer,
        }
    }
}

/// Waits until a backend has no connection left, until the limit, or until somebody undrains it.
async fn empty(
    client: &Client,
    backend: &Backend,
    first: Remaining,
    limit: Option<Instant>,
    shows: bool,
) -> Result<End, ClientError> {
    let (service, name) = (&*backend.service, &*backend.name);
    let begun = Instant::now();
    let mut now = first;
    let mut pause = INTERVAL;
    loop {
        if now.total() == 0 {
            return Ok(End::Empty);
        }
        let left = limit.map(|limit| limit.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(End::Late(now));
        }
        sleep(left.map_or(pause, |left| left.min(pause))).await;
        let asked = Instant::now();
        match counted(client, service, name).await? {
            None => return Ok(End::Empty),
            Some((counted, is_drained)) => {
                now = counted;
                if !is_drained && now.total() > 0 {
                    return Ok(End::Undrained(now));
                }
            }
        }
        pause = INTERVAL.max(asked.elapsed() * REST);
        if shows {
            complain!("{}: {}", duration(begun.elapsed().as_secs()), number(&now));
        }
    }
}

/// Counts what a backend still has, and looks if it is still kept out; none where the backend is gone, and its
/// connections with it.
async fn counted(
    client: &Client,
    service: &str,
    backend: &str,
) -> Result<Option<(Remaining, bool)>, ClientError> {
    let gone = |view: &guideway::api::view::ErrorView| {
        ["unknown_backend", "unknown_service"].contains(&view.error.as_str())
    };
    let asked = async {
        let shown = client.backend_get(service, backend).await?;
        let remaining = remaining(client, service, backend).await?;
        Ok((remaining, shown.operator_drained || shown.draining))
    };
    match asked.await {
        Ok(counted) => Ok(Some(counted)),
        Err(ClientError::Refused(view)) if gone(&view) => Ok(None),
        Err(error) => Err(error),
    }
}

impl End {
    /// Tells people how the wait has ended, and returns what remains with the exit status.
    fn tell(self, output: Output) -> (Result<Remaining, ClientError>, Exit) {
        let (remaining, text) = match self {
            Self::Empty => {
                if matches!(output, Output::Table) {
                    print("no connection remains any more\n");
                }
                return (Ok(Remaining { connections: 0, sessions: 0, warning: None }), Exit::Success);
            }
            Self::Late(left) => (left, "the time is over"),
            Self::Undrained(left) => (left, "somebody has undrained it"),
        };
        if matches!(output, Output::Table) {
            complain!("error: {text}, and {}", remain(&remaining));
        }
        (Ok(remaining), Exit::Failure)
    }
}
