//! Keeper of the guard: tells it what to withdraw, and starts another one in the place of a guard that has died.
//!
//! The keeper writes from the control thread, whose silence is a reason to withdraw; a process is started on a thread of its own, as
//! that may wait for a disk.

use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::ioctl_fionread;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::{BEAT, LAST_TIME, PATIENCE, VERB, Withdrawal};
use crate::announce::launch::Launch;
use crate::log::{FORMAT_VARIABLE, Format};

/// Time that a guard has to stand for another one to follow it at once.
const LASTING: Duration = Duration::from_secs(10);

/// Wait before another guard follows one that did not last; each further one doubles it.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// Longest wait before another guard is started.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Starts a guard, whose standard input is a pipe.
pub(crate) type Start = Arc<dyn Fn() -> io::Result<Child> + Send + Sync>;

/// Guard that stands; it ends after this value.
pub struct Guard {
    process: Child,
    start: Start,
    launch: Launch,
}

/// State of the guard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardState {
    /// Number of the guard's process; none while no guard stands.
    pub pid: Option<u32>,
    /// Number of guards that have followed another one.
    pub restarts: u64,
    /// Number of times that a guard has died, or could not be started.
    pub failures: u64,
    /// Number of guards that have ended before the appliance: each may have told hooks to withdraw.
    pub ends: u64,
    /// Cause of the last failure, in words.
    pub last_error: Option<String>,
}

/// Channel that tells a guard what to withdraw.
#[derive(Debug)]
pub(in crate::announce) struct Instructions {
    orders: watch::Sender<Vec<Withdrawal>>,
    state: watch::Receiver<GuardState>,
    kept: JoinHandle<()>,
}

impl Guard {
    /// Starts this program a second time, to stand guard over this process. Start it before anything is
    /// opened that it should not hold.
    ///
    /// # Errors
    /// Where the operating system starts no process.
    pub fn start(format: Format) -> io::Result<Self> {
        let guard = Self::start_by(Arc::new(move || command(format).spawn()))?;
        Ok(Self { launch: Launch::ByItself, ..guard })
    }

    /// Starts a guard, and those that follow it, in this way.
    pub(crate) fn start_by(start: Start) -> io::Result<Self> {
        Ok(Self { process: start()?, start, launch: Launch::Directly })
    }

    /// Way to start programs in a process that has such a guard: one that can start itself as a guard knows the verb for programs.
    pub(in crate::announce) fn launch(&self) -> Launch {
        self.launch
    }

    /// Starts to instruct the guard, and those that follow it.
    pub(in crate::announce) fn instruct(self) -> Instructions {
        let (orders, ordered) = watch::channel(Vec::new());
        let pid = Some(self.process.id());
        let (shown, state) = watch::channel(GuardState { pid, ..GuardState::default() });
        Instructions { orders, state, kept: tokio::spawn(keep(self, ordered, shown)) }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("process", &self.process).finish_non_exhaustive()
    }
}

/// Command that runs this program as a guard.
fn command(format: Format) -> Command {
    // The file that runs, though a newer one may have its path by now.
    let mut command = Command::new("/proc/self/exe");
    // A signal that ends the appliance's group of processes is not to end it.
    command.arg0("guideway").arg(VERB).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
    if format == Format::Json {
        command.env(FORMAT_VARIABLE, "json");
    }
    command
}

impl Instructions {
    /// Tells the guard what to withdraw, should the appliance end now.
    pub(in crate::announce) fn set(&self, withdrawals: Vec<Withdrawal>) {
        self.orders.send_if_modified(|known| {
            let is_new = *known != withdrawals;
            *known = withdrawals;
            is_new
        });
    }

    /// State of the guard.
    pub(in crate::announce) fn state(&self) -> GuardState {
        self.state.borrow().clone()
    }

    /// Tells the guard to withdraw these now, and to end.
    pub(in crate::announce) async fn end(self, withdrawals: Vec<Withdrawal>) {
        self.set(withdrawals);
        drop(self.orders);
        let _ = timeout(LAST_TIME, self.kept).await;
    }
}

/// Instructs a guard, and those that follow it, until the appliance ends.
async fn keep(guard: Guard, mut ordered: watch::Receiver<Vec<Withdrawal>>, shown: watch::Sender<GuardState>) {
    let Guard { mut process, start, .. } = guard;
    let mut wait = Duration::ZERO;
    loop {
        let began = Instant::now();
        let pid = process.id();
        let pipe = process.stdin.take().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe));
        let (error, pipe) = match pipe.and_then(ChildStdin::from_std) {
            Ok(mut pipe) => match instruct(&mut pipe, &mut ordered).await {
                Ok(()) => return,
                Err(error) => (error, Some(pipe)),
            },
            Err(error) => (error, None),
        };
        let (hears, stood) = (error.kind() != io::ErrorKind::TimedOut, began.elapsed());
        let ended = spawn_blocking(move || end(process, pipe)).await;
        // While the pipe is open, a guard ends so for one reason.
        let is_relieved = hears && matches!(&ended, Ok(Ok(status)) if status.success());
        let cause = match ended {
            _ if is_relieved => {
                format!("the guard, process {pid}, has withdrawn in a silence of the appliance, and ended")
            }
            Ok(Ok(status)) if hears => format!("the guard, process {pid}, has ended with {status}"),
            _ => format!("the guard, process {pid}, hears nothing more ({error})"),
        };
        shown.send_modify(|state| state.fail(cause));
        wait = wait_after(wait, stood, is_relieved);
        // Hooks are told everything again once another guard stands that would withdraw it: an appliance that stood still may
        // well die next. Where none follows at once, they do not wait for one.
        let mut is_told = wait > Duration::ZERO;
        if is_told {
            shown.send_modify(|state| state.ends += 1);
        }
        process = loop {
            if has_ended_within(wait, &mut ordered).await {
                return;
            }
            let start = Arc::clone(&start);
            let error = match spawn_blocking(move || start()).await {
                Ok(Ok(process)) => break process,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            shown.send_modify(|state| {
                state.fail(format!("no guard can be started: {error}"));
                state.ends += u64::from(!is_told);
            });
            is_told = true;
            wait = longer(wait);
        };
        shown.send_modify(|state| {
            state.pid = Some(process.id());
            state.restarts += 1;
            state.ends += u64::from(!is_told);
        });
        // The new guard knows nothing of what was ordered.
        ordered.mark_changed();
    }
}

/// Ends a guard that hears nothing more, unless it has ended. Its pipe is closed afterwards: a guard that is only slow would take the
/// pipe's end for the appliance's.
fn end(mut process: Child, pipe: impl Sized) -> io::Result<ExitStatus> {
    let status = match process.try_wait() {
        Ok(Some(status)) => Ok(status),
        _ => process.kill().and_then(|()| process.wait()),
    };
    drop(pipe);
    status
}

/// Wait before a guard that stood for this time is followed. One that was relieved has seen a silence, or it is none.
fn wait_after(wait: Duration, stood: Duration, is_relieved: bool) -> Duration {
    let least = if is_relieved { BEAT * PATIENCE } else { LASTING };
    if stood >= least { Duration::ZERO } else { longer(wait) }
}

/// Wait that follows another one that was in vain.
fn longer(wait: Duration) -> Duration {
    (wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT)
}

/// True if the appliance ends within this time.
async fn has_ended_within(time: Duration, ordered: &mut watch::Receiver<Vec<Withdrawal>>) -> bool {
    let ended = async { while ordered.changed().await.is_ok() {} };
    tokio::select! {
        biased;
        () = sleep(time) => false,
        () = ended => true,
    }
}

/// Writes a line for each order, and an empty one for each heartbeat; returns without an error once the appliance ends. A guard that
/// lives has read one line before the next beat: one that leaves bytes in the pipe beat after beat hangs, or is stopped.
async fn instruct(pipe: &mut ChildStdin, ordered: &mut watch::Receiver<Vec<Withdrawal>>) -> io::Result<()> {
    let mut beats = interval(BEAT);
    // After a stall of this side, the guard has a whole beat again for each line.
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unread = 0;
    loop {
        let mut line = tokio::select! {
            biased;
            changed = ordered.changed() => match changed {
                Ok(()) => serde_json::to_string(&*ordered.borrow_and_update()).expect("names and addresses are JSON"),
                Err(_) => return Ok(()),
            },
            _ = beats.tick() => {
                unread = if ioctl_fionread(&*pipe)? > 0 { unread + 1 } else { 0 };
                if unread >= PATIENCE {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                String::new()
            }
        };
        line.push('\n');
        timeout(BEAT * PATIENCE, pipe.write_all(line.as_bytes()))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    }
}

impl GuardState {
    fn fail(&mut self, cause: String) {
        self.pid = None;
        self.failures += 1;
        self.last_error = Some(cause);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::atomic::{AtomicU32, Ordering};

    use guideway_model::config::Hook;
    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    /// Guards that write what they hear to a file each, of these numbers; those of `refused` cannot be started.
    fn writers(folder: &Path, refused: std::ops::Range<u32>) -> Start {
        let (folder, started) = (folder.to_owned(), AtomicU32::new(0));
        Arc::new(move || {
            let number = started.fetch_add(1, Ordering::Relaxed);
            if refused.contains(&number) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let file = std::fs::File::create(folder.join(number.to_string()))?;
            Command::new("cat").stdin(Stdio::piped()).stdout(file).spawn()
        })
    }

    fn withdrawal(address: &str) -> Withdrawal {
        let rules = BTreeMap::from([(address.parse().expect("an address"), "web".to_owned())]);
        Withdrawal { hook: Hook::Command(vec!["/bin/true".to_owned()]), rules }
    }

    async fn when<T>(mut look: impl FnMut() -> Option<T>) -> T {
        for _ in 0..6_000 {
            if let Some(found) = look() {
                return found;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("it does not come to that");
    }

    fn kill(pid: u32) {
        let pid = Pid::from_raw(pid.cast_signed()).expect("a process has a number");
        kill_process(pid, Signal::KILL).expect("it runs");
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
    }

    #[test]
    fn a_guard_that_dies_is_followed_by_another_that_is_told_all() {
        run(async {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let guard = Guard::start_by(writers(folder.path(), 1..2)).expect("it starts");
            let instructions = guard.instruct();
            let heard = |number: u32| {
                let text =
                    std::fs::read_to_string(folder.path().join(number.to_string())).unwrap_or_default();
                text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
            };
            instructions.set(vec![withdrawal("192.0.2.1")]);
            when(|| (heard(0).len() == 1).then_some(())).await;
            let first = instructions.state().pid.expect("it stands");
            kill(first);
            // Orders that come while no guard stands are not lost.
            when(|| instructions.state().pid.is_none().then_some(())).await;
            instructions.set(vec![withdrawal("192.0.2.2")]);
            let second = when(|| instructions.state().pid).await;
            assert_ne!(first, second);
            when(|| (heard(2).len() == 1).then_some(())).await;
            assert!(heard(2)[0].contains("192.0.2.2") && heard(1).is_empty(), "{:?}", heard(2));
            let state = instructions.state();
            assert_eq!((state.restarts, state.failures), (1, 2), "{state:?}");
            assert_eq!(state.last_error.as_deref(), Some("no guard can be started: operation would block"));
            instructions.end(vec![withdrawal("192.0.2.3")]).await;
            when(|| heard(2).last().is_some_and(|last| last.contains("192.0.2.3")).then_some(())).await;
        });
    }

    #[test]
    fn a_guard_that_reads_nothing_is_ended_and_followed_by_another() {
        // Five beats pass at once: nobody waits for the time itself.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let next = writers(folder.path(), 0..0);
            let guard = Guard {
                launch: Launch::Directly,
                process: Command::new("sleep").arg("600").stdin(Stdio::piped()).spawn().expect("it starts"),
                start: next,
            };
            let instructions = guard.instruct();
            let first = instructions.state().pid.expect("it stands");
            instructions.set(vec![withdrawal("192.0.2.1")]);
            let second = when(|| instructions.state().pid.filter(|pid| *pid != first)).await;
            let state = instructions.state();
            assert_eq!((state.ends, state.restarts, state.pid), (1, 1, Some(second)), "{state:?}");
            let cause = format!("the guard, process {first}, hears nothing more (timed out)");
            assert_eq!(state.last_error, Some(cause));
            instructions.end(Vec::new()).await;
        });
    }

    #[test]
    fn a_guard_that_ends_in_a_silence_is_told_of_as_one_that_has_withdrawn() {
        run(async {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let guard = Guard {
                launch: Launch::Directly,
                process: Command::new("head")
                    .args(["-n", "1"])
                    .stdin(Stdio::piped())
                    .spawn()
                    .expect("it starts"),
                start: writers(folder.path(), 0..0),
            };
            let instructions = guard.instruct();
            let first = instructions.state().pid.expect("it stands");
            when(|| (instructions.state().restarts == 1).then_some(())).await;
            let state = instructions.state();
            let cause =
                format!("the guard, process {first}, has withdrawn in a silence of the appliance, and ended");
            assert_eq!((state.ends, state.last_error), (1, Some(cause)));
            instructions.end(Vec::new()).await;
        });
    }

    #[test]
    fn the_pipe_of_a_guard_that_is_ended_is_open_until_then() {
        struct Pipe(u32, std::sync::mpsc::Sender<bool>);
        impl Drop for Pipe {
            fn drop(&mut self) {
                let _ = self.1.send(Path::new(&format!("/proc/{}", self.0)).exists());
            }
        }
        let process = Command::new("sleep").arg("600").spawn().expect("it starts");
        let (tell, ran) = std::sync::mpsc::channel();
        let pipe = Pipe(process.id(), tell);
        end(process, pipe).expect("it is ended");
        assert_eq!(ran.recv(), Ok(false), "it could have read the end");
    }

    #[test]
    fn a_guard_that_has_lasted_or_was_relieved_after_a_silence_is_followed_at_once() {
        let after = |stood_secs, is_relieved| {
            wait_after(FIRST_WAIT, Duration::from_secs(stood_secs), is_relieved).as_secs()
        };
        assert_eq!([after(9, false), after(10, false)], [2, 0]);
        assert_eq!([after(4, true), after(5, true), after(10, true)], [2, 0, 0]);
    }

    #[test]
    fn guards_that_do_not_last_follow_each_other_ever_more_slowly() {
        let waits: Vec<u64> = std::iter::successors(Some(longer(Duration::ZERO)), |wait| Some(longer(*wait)))
            .map(|wait| wait.as_secs())
            .take(8)
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn an_appliance_without_a_guard_ends_without_waiting_for_one() {
        run(async {
            let folder = tempfile::tempdir().expect("a folder can be made");
            let instructions = Guard::start_by(writers(folder.path(), 1..99)).expect("it starts").instruct();
            kill(instructions.state().pid.expect("it stands"));
            when(|| (instructions.state().failures == 2).then_some(())).await;
            let Instructions { orders, kept, .. } = instructions;
            drop(orders);
            kept.await.expect("it ends, though no guard ever starts");
        });
    }
}
