//! Access of a verb to the running appliance: its socket, its answers and its refusals.

use std::path::PathBuf;

use clap::Args as Arguments;
use guideway::api::admin::client::{Client, ClientError};
use guideway_model::config::Admin;
use serde::Serialize;

use super::{Exit, Output};

#[derive(Arguments)]
pub(super) struct SocketArgs {
    /// Admin socket of the running appliance.
    #[arg(long, value_name = "PATH", default_value = Admin::DEFAULT_SOCKET)]
    socket: PathBuf,
}

#[derive(Arguments)]
pub(super) struct ApplianceArgs {
    #[command(flatten)]
    pub(super) socket: SocketArgs,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    pub(super) output: Output,
}

impl SocketArgs {
    /// Runs a conversation with the appliance.
    pub(super) fn talk(&self, talk: impl AsyncFnOnce(Client) -> Exit) -> Exit {
        super::wait_for(talk(Client::new(&self.socket))).unwrap_or_else(|exit| exit)
    }
}

impl ApplianceArgs {
    /// Asks the appliance, and prints the answer: as `text`, or as the JSON that came.
    pub(super) fn ask<T: Serialize>(
        &self,
        ask: impl AsyncFnOnce(Client) -> Result<T, ClientError>,
        text: impl FnOnce(&T) -> String,
    ) -> Exit {
        self.socket.talk(async |client| match (ask(client).await, self.output) {
            (Ok(view), Output::Table) => super::print(&text(&view)),
            (Ok(view), Output::Json) => super::print_json(&view),
            (Err(error), output) => failed(&error, output),
        })
    }
}

/// Prints why there is no answer; JSON has the appliance's own words.
pub(super) fn failed(error: &ClientError, output: Output) -> Exit {
    let exit = match error {
        ClientError::Refused(view) if view.file.is_some() => Exit::Config,
        ClientError::Refused(_) => Exit::Failure,
        ClientError::Unreachable(..)
        | ClientError::Late(_)
        | ClientError::Gone(..)
        | ClientError::Unreadable(..) => Exit::Unreachable,
    };
    match (error, output) {
        (ClientError::Refused(view), Output::Json) => match super::print_json(view) {
            Exit::Success => exit,
            other => other,
        },
        (ClientError::Refused(view), Output::Table) if view.rendered.is_some() => {
            complain_text!("{}", view.rendered.as_deref().unwrap_or_default());
            exit
        }
        _ => {
            complain!("error: {error}");
            exit
        }
    }
}
