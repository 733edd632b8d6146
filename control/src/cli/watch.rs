//! Tables of the running appliance, shown once or again and again.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args as Arguments;
use guideway::api::admin::client::{Client, ClientError};
use serde::Serialize;

use super::appliance::{ApplianceArgs, failed};
use super::visible::visible;
use super::{Exit, Output};

/// Sequence that clears a terminal and goes to its upper left corner.
pub(super) const CLEAR: &str = "\x1b[2J\x1b[H";

#[derive(Arguments)]
pub(super) struct TableArgs {
    #[command(flatten)]
    appliance: ApplianceArgs,
    /// Seconds between two looks; shows the answer again and again until interrupted, as JSON a line each.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    watch: Option<u32>,
}

impl TableArgs {
    /// Asks the appliance, and prints the answer: as `text`, or as the JSON that came.
    pub(super) fn show<T: Serialize>(
        &self,
        ask: impl AsyncFn(Client) -> Result<T, ClientError>,
        text: impl Fn(&T) -> String,
    ) -> Exit {
        let Some(seconds) = self.watch else { return self.appliance.ask(ask, text) };
        let output = self.appliance.output;
        let before = if io::stdout().is_terminal() { CLEAR } else { "" };
        self.appliance.socket.talk(async |client| {
            loop {
                let shown = match (ask(client.clone()).await, output) {
                    (Ok(view), Output::Table) => format!("{before}{}\n", visible(&text(&view))),
                    (Ok(view), Output::Json) => match serde_json::to_string(&view) {
                        Ok(line) => line + "\n",
                        Err(error) => {
                            complain!("error: cannot write JSON: {error}");
                            return Exit::Failure;
                        }
                    },
                    (Err(error), output) => return failed(&error, output),
                };
                match super::print_to_reader(&shown) {
                    Ok(true) => tokio::time::sleep(Duration::from_secs(seconds.into())).await,
                    Ok(false) => return Exit::Success,
                    Err(exit) => return exit,
                }
            }
        })
    }
}
