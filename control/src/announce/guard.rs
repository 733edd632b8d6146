//! The guard: a process of its own that withdraws what the appliance had announced when the appliance cannot any more.
//!
//! ```text
//!  appliance ── withdrawals, heartbeats ──▶ pipe ──▶ guard ──▶ BIRD, programs, once the pipe ends or falls silent
//! ```
//!
//! The kernel closes the pipe however the appliance ends, by SIGKILL and by a segmentation fault too; an appliance that is
//! stopped, or whose control thread hangs, falls silent. An appliance that ends in good order leaves nothing to withdraw.
//!
//! **An appliance that speaks again** announces what the guard has withdrawn. Neither side measures the other's silence to know
//! when: two clocks would differ by a beat, a slow write or a suspended machine. A guard that has begun to withdraw hears the next
//! line as its relief instead: it stops its programs, tells nobody anything more, and ends. The keeper finds it ended, starts
//! another, and has the hooks told everything again, after any guard's end, as a guard that was killed may have withdrawn too.
//! The appliance has the last word, however long a silence was.

mod keeper;

use std::collections::BTreeMap;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;
use std::time::Duration;

use guideway_model::config::{Hook, VipRange};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::Level;

use super::hook_task::{ConfiguredHook, Tell};
use super::launch::{Launch, THREADS_LAST};
use crate::log::{Format, Log};

pub(super) use keeper::Instructions;
pub use keeper::{Guard, GuardState};

/// Number of beats that an appliance which lives leaves out at most, and a guard leaves unread.
const PATIENCE: u32 = 5;

/// Time between two beats of the appliance.
const BEAT: Duration = Duration::from_secs(1);

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

/// Stands guard over the process at the other end of standard input, a pipe, until it has ended, or speaks again after a silence
/// for which this guard has begun to withdraw.
///
/// # Errors
/// Where the operating system has no signals, standard input is no pipe, or what is read makes no sense.
pub fn stand() -> io::Result<()> {
    // The kernel calls it by the file that it was started from otherwise, which is a link; a name alone is not worth an error.
    let _ = rustix::thread::set_name(c"guideway-guard");
    // Never dropped, which would wait for a program whose start hangs.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = ManuallyDrop::new(runtime.enable_all().thread_keep_alive(THREADS_LAST).build()?);
    let _guard = runtime.enter();
    // A service manager tells all processes of a service to end; the guard ends last.
    let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
    let _caught: Vec<_> = kinds.into_iter().map(signal).collect::<Result<_, _>>()?;
    // Perhaps nobody reads standard error any more: a message must not keep the guard from its withdrawals.
    let log = Log::start(Format::of_standard_error(), io::stderr())?;
    let pipe = pipe::Receiver::from_owned_fd(io::stdin().as_fd().try_clone_to_owned()?)?;
    let hook = |hook| ConfiguredHook::new(hook, Launch::ByItself);
    let stood = runtime.block_on(watch_over(pipe, hook, &log));
    log.flush(LAST_TIME);
    stood
}

/// Reads lines until the appliance has ended, or speaks again after this guard has begun to withdraw. Silence is counted in steps
/// of a beat each, so that a guard that stood still itself, however long, has heard nothing for one step alone.
async fn watch_over<T: Tell + Send + 'static>(
    pipe: impl AsyncRead + Unpin,
    hook: impl Fn(Hook) -> T,
    log: &Log,
) -> io::Result<()> {
    let mut lines = BufReader::new(pipe).lines();
    let mut withdrawals: Vec<Withdrawal> = Vec::new();
    let mut silent_steps = 0;
    loop {
        let next = match timeout(BEAT, lines.next_line()).await {
            Ok(next) => next,
            Err(_) if withdrawals.is_empty() => continue,
            Err(_) => {
                silent_steps += 1;
                if silent_steps < PATIENCE {
                    continue;
                }
                let why = format!("is silent for {} s", (BEAT * PATIENCE).as_secs());
                let mut hooks = withdraw(&withdrawals, &why, &hook, log);
                let next = tokio::select! {
                    biased;
                    next = lines.next_line() => next,
                    () = all(&mut hooks) => lines.next_line().await,
                };
                if matches!(next, Ok(Some(_))) {
                    // Programs that still run are killed before this process ends, and so before the appliance announces again.
                    hooks.shutdown().await;
                    log.say(Level::WARN, "guard: the appliance speaks again: withdrawing nothing more");
                    return Ok(());
                }
                all(&mut hooks).await;
                next
            }
        };
        silent_steps = 0;
        let Ok(Some(line)) = next else {
            all(&mut withdraw(&withdrawals, "has ended", &hook, log)).await;
            return Ok(());
        };
        if !line.trim().is_empty() {
            withdrawals = serde_json::from_str(&line)?;
        }
    }
}

/// Waits until every hook has been told.
async fn all(hooks: &mut JoinSet<()>) {
    while hooks.join_next().await.is_some() {}
}

/// Begins to withdraw everything, each hook beside the others.
fn withdraw<T: Tell + Send + 'static>(
    withdrawals: &[Withdrawal],
    why: &str,
    hook: impl Fn(Hook) -> T,
    log: &Log,
) -> JoinSet<()> {
    if !withdrawals.is_empty() {
        log.say(Level::WARN, format!("guard: the appliance {why}: withdrawing what it has announced"));
    }
    let from = |withdrawal: &Withdrawal| {
        withdraw_from(hook(withdrawal.hook.clone()), withdrawal.rules.clone(), log.clone())
    };
    withdrawals.iter().map(from).collect()
}

async fn withdraw_from(mut hook: impl Tell, mut rules: BTreeMap<VipRange, String>, log: Log) {
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use guideway_model::config::VipRange;
    use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::advance;

    use super::*;

    /// Hook that hears of an address within half a second, fails the first time, and counts what it has heard.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<usize>>);

    impl Slow {
        fn heard(&self) -> usize {
            *self.0.lock().expect("no test has failed")
        }
    }

    impl Tell for Slow {
        fn forgets(&self) -> bool {
            false
        }

        async fn tell(&mut self, announced: bool, _: VipRange, _: &str) -> Result<(), String> {
            assert!(!announced);
            sleep(BEAT / 2).await;
            let mut heard = self.0.lock().expect("no test has failed");
            *heard += 1;
            if *heard == 1 { Err("it is busy".to_owned()) } else { Ok(()) }
        }
    }

    /// Guard over eight addresses, whose appliance has just shown that it lives.
    async fn guard() -> (DuplexStream, JoinHandle<io::Result<()>>, Slow) {
        let (mut appliance, pipe) = duplex(1 << 16);
        let told = Slow::default();
        let hook = told.clone();
        let log = Log::start(Format::Text, io::sink()).expect("a log");
        let guard = tokio::spawn(async move { watch_over(pipe, |_| hook.clone(), &log).await });
        let address = |last: u8| (std::net::IpAddr::from([192, 0, 2, last]).into(), "web".to_owned());
        let hook = Hook::Command(vec!["/bin/true".to_owned()]);
        let order = vec![Withdrawal { hook, rules: (1..=8).map(address).collect() }];
        let order = serde_json::to_string(&order).expect("it is JSON");
        appliance.write_all(format!("{order}\n").as_bytes()).await.expect("it listens");
        for _ in 0..3 {
            sleep(BEAT).await;
            appliance.write_all(b"\n").await.expect("it listens");
        }
        (appliance, guard, told)
    }

    fn paused(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(test);
    }

    #[test]
    fn an_appliance_that_stood_still_has_the_last_word_however_long_that_was() {
        for tenths in 30..=70 {
            paused(async {
                let (mut appliance, guard, told) = guard().await;
                let silence = BEAT * tenths / 10 + BEAT / 20;
                sleep(silence).await;
                let before = told.heard();
                for _ in 0..10 {
                    // A guard that has ended hears nothing, which is how the keeper knows.
                    let _ = appliance.write_all(b"\n").await;
                    sleep(BEAT).await;
                }
                assert_eq!(told.heard(), before, "after {silence:?}, it withdraws what is announced again");
                assert_eq!(guard.is_finished(), silence > BEAT * PATIENCE, "after {silence:?}");
                assert!(
                    guard.is_finished() || before == 0,
                    "after {silence:?}, nobody knows what it has told"
                );
            });
        }
    }

    #[test]
    fn a_guard_whose_appliance_stays_silent_or_ends_withdraws_everything() {
        paused(async {
            let (appliance, stands, told) = guard().await;
            sleep(BEAT * 30).await;
            assert!(!stands.is_finished());
            assert_eq!(told.heard(), 9, "eight addresses, one of them twice");
            drop(appliance);
            stands.await.expect("it does not panic").expect("it ends with the appliance");
            assert_eq!(told.heard(), 17, "once more at the end: it may have been announced again unheard");

            // The appliance ends while the guard withdraws.
            let (appliance, stands, told) = guard().await;
            sleep(BEAT * 6).await;
            assert!((1..8).contains(&told.heard()), "{}", told.heard());
            drop(appliance);
            stands.await.expect("it does not panic").expect("it ends with the appliance");
            assert_eq!(told.heard(), 17);
        });
    }

    #[test]
    fn a_guard_that_stood_still_itself_blames_nobody() {
        paused(async {
            let (mut appliance, guard, told) = guard().await;
            for _ in 0..3 {
                // Everything stands still, as in a virtual machine that is paused, and the guard runs first.
                advance(BEAT * 7).await;
                sleep(BEAT / 2).await;
                appliance.write_all(b"\n").await.expect("it listens");
                sleep(BEAT / 2).await;
            }
            assert!(!guard.is_finished());
            assert_eq!(told.heard(), 0);
        });
    }
}
