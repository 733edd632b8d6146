//! `guideway drain` and `guideway undrain`: takes the appliance out of its routers' way, and back into it.

use std::time::Duration;

use clap::Args as Arguments;
use guideway::api::admin::DEFAULT_DRAIN_SEC;
use guideway::api::view::{Drain, DrainEnd};

use super::appliance::{ApplianceArgs, SocketArgs, failed};
use super::{Exit, Output};

/// Time that the end itself may take after the deadline.
const LAST_TIME: Duration = Duration::from_secs(30);

#[derive(Arguments)]
pub(super) struct Args {
    /// Drains the whole appliance; `backend drain` is for one backend.
    #[arg(long, required = true)]
    appliance: bool,
    /// Longest wait for the end of traffic, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_DRAIN_SEC)]
    deadline: u32,
    /// Stops the appliance after the drain.
    #[arg(long)]
    stop: bool,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    socket: SocketArgs,
}

#[derive(Arguments)]
pub(super) struct UndrainArgs {
    /// Undrains the whole appliance; `backend undrain` is for one backend.
    #[arg(long, required = true)]
    appliance: bool,
    #[command(flatten)]
    appliance_args: ApplianceArgs,
}

pub(super) fn run(args: &Args) -> Exit {
    let Args { deadline, stop, output, .. } = *args;
    args.socket.talk(async |client| match client.drain(deadline, stop, LAST_TIME).await {
        Ok((drain, has_ended)) => {
            let printed = match output {
                Output::Table => {
                    let end = match (drain.end, stop) {
                        (Some(DrainEnd::Quiet), false) => "no packet has been forwarded for a while",
                        (Some(DrainEnd::Deadline), false) => {
                            "the deadline has passed, and packets may still come"
                        }
                        (None, false) => "the wait has not ended",
                        (_, true) if has_ended => "the appliance has stopped",
                        (_, true) => "the appliance has not stopped",
                    };
                    let withdrawn = if drain.withdrawn { "all is withdrawn" } else { "not all is withdrawn" };
                    super::print(&format!("{withdrawn}; {end}\n{}", answered(&drain)))
                }
                Output::Json => super::print_json(&drain),
            };
            let is_done = has_ended && drain.withdrawn;
            if printed == Exit::Success && !is_done { Exit::Failure } else { printed }
        }
        Err(error) => failed(&error, output),
    })
}

/// Says which VIPs still bring traffic, as neighbours find them; nothing where there are none, or where all has ended.
fn answered(drain: &Drain) -> String {
    if drain.answered_vips.is_empty() || drain.stops {
        return String::new();
    }
    let vips: Vec<String> = drain.answered_vips.iter().map(ToString::to_string).collect();
    format!(
        "warning: ARP and neighbour discovery are still answered for {}: neighbours send traffic there on; `guideway vip \
         withdraw` ends that where `neighbor_replies` is \"WHEN_ANNOUNCED\", and `--stop` everywhere\n",
        vips.join(", ")
    )
}

pub(super) fn undrain(args: &UndrainArgs) -> Exit {
    let text = |was_drained| if was_drained { "it serves again\n" } else { "it was not drained\n" };
    args.appliance_args.ask(async |client| client.undrain().await, |view| text(view.was_drained).to_owned())
}
