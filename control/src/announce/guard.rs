//! The guard: a process of its own that withdraws what the appliance had announced when the appliance cannot any more.
//!
//! ```text
//!  appliance ── withdrawals, heartbeats ──▶ pipe ──▶ guard ──▶ BIRD, programs, once the pipe ends or falls silent
//! ```
//!
//! The kernel closes the pipe however the appliance ends, by SIGKILL and by a segmentation fault too; an appliance that is
//! stopped, or whose control thread hangs, falls silent. An appliance that ends in good order leaves nothing to withdraw.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};
use std::mem::ManuallyDrop;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use guideway_model::config::{Hook, VipRange};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};
use tracing::Level;

use super::hook_task::{ConfiguredHook, Tell};
use crate::log::{FORMAT_VARIABLE, Format, Log};

/// Interval at which the appliance shows that it lives.
const BEAT: Duration = Duration::from_secs(1);

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

/// Guard that stands; it ends after this value.
#[derive(Debug)]
pub struct Guard(Child);

/// Channel that tells a guard what to withdraw.
#[derive(Debug)]
pub(super) struct Instructions {
    orders: watch::Sender<Vec<Withdrawal>>,
    written: tokio::task::JoinHandle<()>,
}

impl Guard {
    /// Starts this program a second time, to stand guard over this process. Start it before anything is
    /// opened that it should not hold.
    ///
    /// # Errors
    /// Where the operating system starts no process.
    pub fn start(format: Format) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        // What ends the appliance's group of processes is not to end it.
        command.arg(VERB).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        if format == Format::Json {
            command.env(FORMAT_VARIABLE, "json");
        }
        command.spawn().map(Self)
    }

    /// Starts to instruct the guard.
    pub(super) fn instruct(mut self) -> io::Result<Instructions> {
        let stdin = self.0.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (orders, ordered) = watch::channel(Vec::new());
        let pipe = tokio::process::ChildStdin::from_std(stdin)?;
        Ok(Instructions { orders, written: tokio::spawn(write(pipe, ordered)) })
    }
}

impl Instructions {
    /// Tells the guard what to withdraw, should the appliance end now.
    pub(super) fn set(&self, withdrawals: Vec<Withdrawal>) {
        self.orders.send_if_modified(|known| {
            let is_new = *known != withdrawals;
            *known = withdrawals;
            is_new
        });
    }

    /// Tells the guard to withdraw these now, and to end.
    pub(super) async fn end(self, withdrawals: Vec<Withdrawal>) {
        self.set(withdrawals);
        drop(self.orders);
        let _ = timeout(LAST_TIME, self.written).await;
    }
}

/// Writes a line for each order, and an empty one for each heartbeat.
async fn write(mut pipe: tokio::process::ChildStdin, mut ordered: watch::Receiver<Vec<Withdrawal>>) {
    let mut beats = interval(BEAT);
    loop {
        let mut line = tokio::select! {
            biased;
            changed = ordered.changed() => match changed {
                Ok(()) => serde_json::to_string(&*ordered.borrow_and_update()).expect("names and addresses are JSON"),
                Err(_) => return,
            },
            _ = beats.tick() => String::new(),
        };
        line.push('\n');
        if let Err(error) = pipe.write_all(line.as_bytes()).await {
            tracing::error!(
                "the guard has gone ({error}): a crash would leave announcements behind until a restart"
            );
            return;
        }
    }
}

/// Stands guard over the process at the other end of standard input, until it has ended.
///
/// # Errors
/// Where the operating system has no signals, or what is read makes no sense.
pub fn stand() -> io::Result<()> {
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
