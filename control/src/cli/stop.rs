//! `guideway stop`: ends the running appliance in good order.

use std::time::Duration;

use clap::Args as Arguments;

use super::appliance::{SocketArgs, failed};
use super::{Exit, Output};

#[derive(Arguments)]
pub(super) struct Args {
    /// Longest wait for the appliance's end, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    timeout: u32,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    socket: SocketArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    args.socket.talk(async |client| match client.stop(Duration::from_secs(args.timeout.into())).await {
        Ok((stopping, true)) => match args.output {
            Output::Table => super::print(&format!("process {} has stopped\n", stopping.pid)),
            Output::Json => super::print_json(&stopping),
        },
        Ok((stopping, false)) => {
            let (pid, seconds) = (stopping.pid, args.timeout);
            complain!("error: process {pid} has not stopped within {seconds} seconds; look at its log");
            Exit::Failure
        }
        Err(error) => failed(&error, args.output),
    })
}
