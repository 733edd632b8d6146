//! A program of the operator's that tells routers: run with a verb, an address and a rule, for a bounded time.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::pin::pin;
use std::process::Stdio;
use std::time::Duration;

use guideway_model::config::VipRange;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use super::launch::Launch;
use crate::words::shown;

/// Longest run of a program.
const TIME: Duration = Duration::from_secs(10);

/// Longest wait for the rest of what a program has said that has ended.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Bytes that are kept of what a program says on standard error: its beginning.
const MAX_WORDS: usize = 1_024;

/// Start of a program that has not come to its end: a file system that does not answer holds it up, and cannot be interrupted.
#[derive(Debug, Default)]
pub(super) struct Starting(Option<JoinHandle<()>>);

/// Program that runs; it is killed with this value, and so is all that it has started.
#[derive(Debug)]
struct Started {
    // Killed first, while nobody has waited for its leader.
    group: Group,
    child: Child,
}

/// Runs the program of `words`; whatever does not end in time is killed, with all that it has started. One program is started
/// at a time, and by a thread apart: what waits with it is this hook alone.
pub(super) async fn run(
    words: &[String],
    verb: &str,
    address: VipRange,
    rule: &str,
    launch: Launch,
    starting: &mut Starting,
) -> Result<(), String> {
    let program = words.first().ok_or("there is no program")?;
    let further = [verb.to_owned(), address.to_string(), rule.to_owned()];
    let line: Vec<_> = words.iter().cloned().chain(further).collect();
    let set = |command: &mut Command| {
        command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    };
    let hangs = || format!("cannot run {program}: its file system has not answered for {} s", TIME.as_secs());
    timeout(TIME, starting.ended()).await.map_err(|_| hangs())?;
    let given = starting.begin(move || launch.start(&line, set));
    let started = timeout(TIME, given).await.map_err(|_| hangs())?;
    let started = started.unwrap_or_else(|error| Err(io::Error::other(error)));
    let Started { mut child, mut group } =
        started.map_err(|error| format!("cannot run {program}: {error}"))?;

    let mut said = Vec::new();
    let stderr = child.stderr.take();
    let ended = timeout(TIME, async {
        let mut listening = pin!(listen(stderr, &mut said));
        let mut is_silent = false;
        let status = loop {
            tokio::select! {
                status = child.wait() => break status,
                () = &mut listening, if !is_silent => is_silent = true,
            }
        };
        if !is_silent {
            // Something that it left behind may hold the pipe.
            let _ = timeout(LAST_WORDS, listening).await;
        }
        status
    });
    let Ok(ended) = ended.await else {
        return Err(format!("{program} {verb} has not ended within {} s, and was killed", TIME.as_secs()));
    };
    group.0 = None;
    let status = ended.map_err(|error| format!("cannot wait for {program}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let said = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    let colon = if said.is_empty() { "" } else { ": " };
    Err(format!("{program} {verb} ended with {status}{colon}{}", shown(&said)))
}

impl Starting {
    /// Begins to start a program. Whoever stops waiting for it has its order out of date: the program is killed as soon as it is
    /// started, by the thread that has started it.
    fn begin(
        &mut self,
        start: impl FnOnce() -> io::Result<Child> + Send + 'static,
    ) -> oneshot::Receiver<io::Result<Started>> {
        let (give, given) = oneshot::channel();
        self.0 = Some(spawn_blocking(move || {
            let started = start().map(|child| {
                let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
                Started { group, child }
            });
            drop(give.send(started));
        }));
        given
    }

    /// Waits until no start is under way. Whoever stops waiting may wait again.
    async fn ended(&mut self) {
        if let Some(thread) = &mut self.0 {
            let _ = thread.await;
            self.0 = None;
        }
    }
}

/// Looks for the program of `words`, and runs nothing. A name without a slash is the shell's `PATH` to find.
pub(super) fn look(words: &[String]) -> Result<String, String> {
    let program = words.first().ok_or("there is no program")?;
    if !program.contains('/') {
        return Ok(format!("{program}, to be found in PATH"));
    }
    match std::fs::metadata(program) {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => Ok(program.clone()),
        Ok(_) => Err(format!("{program} is no program that can be run")),
        Err(error) => Err(format!("cannot run {program}: {error}")),
    }
}

/// Reads everything that is said, and keeps its beginning.
async fn listen(stderr: Option<ChildStderr>, said: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut chunk = [0; 512];
    while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
        let kept = length.min(MAX_WORDS - said.len());
        said.extend_from_slice(&chunk[..kept]);
    }
}

/// Processes of a program that runs: they are killed when this value is dropped.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Nobody has waited for the leader yet, so that its number is still its own.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(script: &str) -> Result<(), String> {
        let words = ["/bin/sh", "-c", script, "hook"].map(str::to_owned);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let address = "2001:db8::10".parse().expect("an address");
        runtime.block_on(run(&words, "announce", address, "web", Launch::Directly, &mut Starting::default()))
    }

    /// True unless the process is dead, or dead and not yet waited for.
    fn runs(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    }

    #[test]
    fn a_program_gets_the_verb_the_address_and_the_rule() {
        assert_eq!(ran("[ \"$*\" = 'announce 2001:db8::10 web' ]"), Ok(()));
    }

    #[test]
    fn a_program_that_fails_is_an_error_in_its_own_words() {
        let error = "/bin/sh announce ended with exit status: 3: no router; none at all";
        assert_eq!(ran("echo ' no router\n\nnone at all' >&2; exit 3"), Err(error.to_owned()));
        assert_eq!(ran("exit 1"), Err("/bin/sh announce ended with exit status: 1".to_owned()));
        let flood = ran("yes 2>&1 >&2 | head -c 1000000 >&2; exit 1").expect_err("it fails");
        assert!(flood.len() < 4 * MAX_WORDS, "{}", flood.len());
    }

    #[test]
    fn what_a_program_says_steers_no_terminal_and_no_log() {
        let said = ran(r"printf 'a\033[2J\0\rb\342\200\256c' >&2; exit 1");
        let shown = r"/bin/sh announce ended with exit status: 1: a\u{1b}[2J\0\rb\u{202e}c";
        assert_eq!(said, Err(shown.to_owned()));
    }

    #[test]
    fn what_a_program_leaves_behind_is_not_waited_for() {
        assert_eq!(ran("sleep 600 & exit 0"), Ok(()));
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let address = "192.0.2.1".parse().expect("an address");
        let error = runtime.block_on(run(
            &["/nonexistent".to_owned()],
            "announce",
            address,
            "web",
            Launch::Directly,
            &mut Starting::default(),
        ));
        assert!(error.expect_err("it is not there").starts_with("cannot run /nonexistent: "));
    }

    #[test]
    fn a_program_ends_with_whoever_waits_for_it() {
        let directory = tempfile::tempdir().expect("a directory of its own");
        let file = directory.path().join("pids");
        let script = format!("sleep 600 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let words = ["/bin/sh", "-c", &script, "hook"].map(str::to_owned);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let address = "192.0.2.1".parse().expect("an address");
            let written = async {
                while !file.exists() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let mut starting = Starting::default();
            tokio::select! {
                ended = run(&words, "announce", address, "web", Launch::Directly, &mut starting) => panic!("{ended:?}"),
                () = written => {}
            }
            let pids = std::fs::read_to_string(&file).expect("it is written");
            let end = tokio::time::Instant::now() + TIME;
            while pids.split_whitespace().any(runs) {
                assert!(tokio::time::Instant::now() < end, "{pids} live on");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }

    #[test]
    fn a_start_that_hangs_is_told_of_and_what_comes_of_it_is_killed() {
        let directory = tempfile::tempdir().expect("a directory of its own");
        let file = directory.path().join("told");
        let script = format!("echo $1 >> {}", file.display());
        let words = ["/bin/sh", "-c", &script, "sh"].map(str::to_owned);
        let address = "192.0.2.1".parse().expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (tell, outdated) = std::sync::mpsc::channel();
        runtime.block_on(async {
            let mut starting = Starting::default();
            drop(starting.begin(move || {
                let _ = wait.recv();
                let child =
                    Command::new("/bin/sleep").arg("600").process_group(0).kill_on_drop(true).spawn()?;
                let _ = tell.send(child.id());
                Ok(child)
            }));
            for verb in ["announce", "withdraw"] {
                let hung = timeout(
                    Duration::from_millis(50),
                    run(&words, verb, address, "web", Launch::Directly, &mut starting),
                );
                assert!(hung.await.is_err(), "it waits for the start before");
                assert!(starting.0.is_some(), "a start that is waited for no longer is not forgotten");
            }
            drop(go);
            // Without another order, too, the program of the one before does not run on.
            let pid = outdated.recv().expect("it is started").expect("it has a number");
            let end = tokio::time::Instant::now() + TIME;
            while runs(&pid.to_string()) {
                assert!(tokio::time::Instant::now() < end, "{pid} lives on");
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(
                run(&words, "withdraw", address, "web", Launch::Directly, &mut starting).await,
                Ok(())
            );
        });
        assert_eq!(std::fs::read_to_string(&file).expect("it is written"), "withdraw\n");
    }
}
