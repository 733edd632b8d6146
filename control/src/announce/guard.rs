//! The guard: a process of its own that withdraws what the appliance had announced when the appliance cannot any more.
//!
//! ```text
//!  appliance ── withdrawals, heartbeats ──▶ pipe ──▶ guard ──▶ BIRD, programs, once the pipe ends or falls silent
//! ```
//!
//! The kernel closes the pipe however the appliance ends, by SIGKILL and by a segmentation fault too; an appliance that is
//! stopped, or whose control thread hangs, falls silent. An appliance that ends in good order leaves nothing to withdraw.

mod keeper;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::mem::ManuallyDrop;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use guideway_model::config::{Hook, VipRange};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tracing::Level;

use super::hook_task::{ConfiguredHook, Tell};
use crate::log::{Format, Log};

pub(super) use keeper::Instructions;
pub use keeper::{Guard, GuardState};

/// Longest silence of an appliance that lives.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Number of tries to withdraw, and the wait between.
const TRIES: usize = 5;
const WAIT: Duration = Duration::from_secs(1);

/// Longest wait until the last withdrawals have gone to the guard.
const LAST_TIME: Duration = Duration::from_secs(1);

/// Verb of `guideway` that [`stand`]s guard.
pub const VERB: &str = "guard";

/// Withdrawal from a hook: rules by their addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Withdrawal {
    pub(super) hook: Hook,
    pub(super) rules: BTreeMap<VipRange, String>,
}

/// Stands guard over the process at the other end of standard input, until it has ended.
///
/// # Errors
/// Where the operating system has no signals, or what is read makes no sense.
pub fn stand() -> io::Result<()> {
    // The kernel calls it by the file that it was started from otherwise, which is a link; a name alone is not worth an error.
    let _ = rustix::thread::set_name(c"guideway-guard");
    // Never dropped, which would wait for a program whose start hangs.
    let runtime = ManuallyDrop::new(tokio::runtime::Builder::new_current_thread().enable_all().build()?);
    let _guard = runtime.enter();
    // A service manager tells all processes of a service to end; the guard ends last.
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let _caught: Vec<_> = kinds.into_iter().map(signal).collect::<Result<_, _>>()?;
    // Perhaps nobody reads standard error any more: a message must not keep the guard from its withdrawals.
    let log = Log::start(Format::of_standard_error(), io::stderr())?;
    let (lines, read) = sync_channel(16);
    thread::spawn(move || listen(io::stdin(), &lines));

    let mut withdrawals: Vec<Withdrawal> = Vec::new();
    let mut is_silent = false;
    loop {
        match read.recv_timeout(PATIENCE) {
            Ok(line) => {
                is_silent = false;
                if !line.trim().is_empty() {
                    withdrawals = serde_json::from_str(&line)?;
                }
            }
            Err(RecvTimeoutError::Timeout) if is_silent => {}
            Err(RecvTimeoutError::Timeout) => {
                is_silent = true;
                let seconds = PATIENCE.as_secs();
                runtime.block_on(withdraw(&withdrawals, &format!("is silent for {seconds} s"), &log));
            }
            Err(RecvTimeoutError::Disconnected) => {
                runtime.block_on(withdraw(&withdrawals, "has ended", &log));
                log.flush(LAST_TIME);
                return Ok(());
            }
        }
    }
}

fn listen(stdin: impl Read, lines: &SyncSender<String>) {
    for line in BufReader::new(stdin).lines() {
        let Ok(line) = line else { return };
        if lines.send(line).is_err() {
            return;
        }
    }
}

/// Withdraws everything, each hook beside the others.
async fn withdraw(withdrawals: &[Withdrawal], why: &str, log: &Log) {
    if withdrawals.is_empty() {
        return;
    }
    log.say(Level::WARN, format!("guard: the appliance {why}: withdrawing what it has announced"));
    let of_hook = |withdrawal: &Withdrawal| tokio::spawn(withdraw_from(withdrawal.clone(), log.clone()));
    let hooks = withdrawals.iter().map(of_hook);
    for hook in hooks.collect::<Vec<_>>() {
        let _ = hook.await;
    }
}

async fn withdraw_from(Withdrawal { hook, mut rules }: Withdrawal, log: Log) {
    let mut hook = ConfiguredHook::new(hook);
    for attempt in 1..=TRIES {
        let mut left = BTreeMap::new();
        for (address, rule) in rules {
            match hook.tell(false, address, &rule).await {
                Ok(()) => log.say(Level::WARN, format!("guard: {address} is withdrawn")),
                Err(error) => {
                    log.say(Level::ERROR, format!("guard: {address} could not be withdrawn: {error}"));
                    left.insert(address, rule);
                }
            }
        }
        if left.is_empty() || attempt == TRIES {
            return;
        }
        rules = left;
        sleep(WAIT).await;
    }
}
