//! `guideway events`: what has happened, and what happens?

use std::time::{Duration, UNIX_EPOCH};

use clap::Args as Arguments;
use guideway::api::admin::client::{Client, ClientError};
use guideway::api::admin::{DEFAULT_ENTRIES, MAX_ENTRIES};
use guideway::api::view::Event;

use super::appliance::{SocketArgs, failed};
use super::visible::visible;
use super::{Exit, Output, table};

/// Pause between two questions of `--follow`.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

#[derive(Arguments)]
pub(super) struct Args {
    /// Number of latest events shown.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_ENTRIES as u64,
          value_parser = clap::value_parser!(u64).range(0..=MAX_ENTRIES as u64))]
    limit: u64,
    /// Goes on with further events as they happen, until interrupted; as JSON, each event is a line.
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    socket: SocketArgs,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

pub(super) fn run(args: &Args) -> Exit {
    let limit = args.limit as usize;
    args.socket.talk(async |client| {
        let shown = if args.follow {
            follow(&client, limit, args.output).await
        } else {
            client.events(limit, None).await.map(|list| match args.output {
                Output::Table => super::print(&text(&list.events)),
                Output::Json => super::print_json(&list),
            })
        };
        shown.unwrap_or_else(|error| failed(&error, args.output))
    })
}

/// Prints events as they come, until nobody reads them.
async fn follow(client: &Client, limit: usize, output: Output) -> Result<Exit, ClientError> {
    // The latest event, were there none to show.
    let latest = client.events(1, None).await?;
    let mut last = latest.events.last().map_or(0, |event| event.id);
    let mut events = if limit == 0 { Vec::new() } else { client.events(limit, None).await?.events };
    loop {
        for event in &events {
            last = event.id;
            let line = match output {
                Output::Table => visible(&line(event)).into_owned(),
                Output::Json => serde_json::to_string(event).expect("an event is plain data"),
            };
            match super::print_to_reader(&format!("{line}\n")) {
                Ok(true) => (),
                Ok(false) => return Ok(Exit::Success),
                Err(exit) => return Ok(exit),
            }
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        events = client.events(MAX_ENTRIES, Some(last)).await?.events;
    }
}

/// Writes events for people.
fn text(events: &[Event]) -> String {
    let mut rows = table::new(&["ID", "TIME", "EVENT", "OF", "WHAT"]);
    for event in events {
        rows.add_row(
            [event.id.to_string(), time(event), event.kind.as_str().to_owned(), of(event)]
                .into_iter()
                .chain([event.text.clone()]),
        );
    }
    table::text(rows, 0..1)
}

/// Writes one line of a list whose other events are not known yet.
fn line(event: &Event) -> String {
    let (time, kind, of) = (time(event), event.kind.as_str(), of(event));
    format!("{:>5}  {time}  {kind:<17}  {of}  {}", event.id, event.text)
}

fn of(event: &Event) -> String {
    match (&event.service, &event.backend) {
        (Some(service), Some(backend)) => format!("{service}/{backend}"),
        (Some(service), None) => service.clone(),
        (None, _) => event.network.clone().unwrap_or_else(|| "-".to_owned()),
    }
}

/// Writes the time in UTC, to the millisecond.
fn time(event: &Event) -> String {
    let since = Duration::try_from_secs_f64(event.at_unix_sec).unwrap_or_default();
    // A float may lie a little below its millisecond.
    humantime::format_rfc3339_millis(UNIX_EPOCH + since + Duration::from_micros(500)).to_string()
}
