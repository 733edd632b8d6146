//! Thread of the hooks' tasks, and of threads that start programs: to start one may wait for a disk, and neither a turn of the
//! control thread nor another hook waits with it.

use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::launch::THREADS_LAST;

/// Most programs that are being started at once, by a thread each: one for each hook that a configuration may have.
const MAX_STARTS: usize = 256;

/// Thread that tasks run on; they end with this value.
#[derive(Debug)]
pub(super) struct HookThread {
    tasks: Handle,
    _running: oneshot::Sender<()>,
}

impl HookThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// Error where the operating system gives no thread, event queue or timer.
    pub(super) fn start() -> io::Result<Self> {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(MAX_STARTS).thread_keep_alive(THREADS_LAST);
        let runtime = runtime.build()?;
        let tasks = runtime.handle().clone();
        let (running, ended) = oneshot::channel();
        let run = move || {
            // The channel only closes: nothing is ever sent.
            let _ = runtime.block_on(ended);
            // A start that hangs is waited for by nobody.
            runtime.shutdown_background();
        };
        thread::Builder::new().name("hooks".to_owned()).spawn(run)?;
        Ok(Self { tasks, _running: running })
    }

    /// Runs a task.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::path::Path;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use guideway_model::config::Hook;

    use crate::announce::{Announcer, Plan, Reason, Wish};

    /// Holds up whoever opens a file, as a file system without its server does, until its standard input ends.
    const LEASE: &str = "import fcntl, os, signal, sys\n\
        signal.signal(signal.SIGIO, signal.SIG_IGN)\n\
        file = os.open(sys.argv[1], os.O_RDONLY)\n\
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)\n\
        print('held', flush=True)\n\
        sys.stdin.read()\n";

    fn wanted(hooks: Vec<Hook>) -> Announcer {
        let wish = Wish::of_web(Reason::Served);
        let address = std::net::IpAddr::from([203, 0, 113, 10]).into();
        let wishes = BTreeMap::from([(address, wish)]);
        let mut announcer = Announcer::new(None);
        announcer.want(&Plan(hooks.into_iter().map(|hook| (hook, wishes.clone())).collect()));
        announcer
    }

    fn wait_for(file: &Path, content: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while std::fs::read_to_string(file).unwrap_or_default() != content {
            assert!(Instant::now() < end, "nobody is told");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn script(text: &str) -> Hook {
        Hook::Command(["/bin/sh", "-c", text, "sh"].map(str::to_owned).into())
    }

    #[test]
    fn a_program_is_started_while_the_callers_thread_stands_still() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("told");
        let _announcer = wanted(vec![script(&format!("echo $1 > {}", file.display()))]);
        wait_for(&file, "announce\n");
    }

    #[test]
    fn a_program_whose_start_hangs_holds_up_no_other_hook() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (program, file) = (folder.path().join("hangs"), folder.path().join("told"));
        std::fs::copy("/bin/true", &program).expect("it can be copied");
        let mut lease = Command::new("python3");
        lease.args(["-c", LEASE]).arg(&program).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut lease) = lease.spawn() else {
            eprintln!("skipped: no python3 in PATH");
            return;
        };
        let mut said = lease.stdout.take().expect("a pipe");
        said.read_exact(&mut [0; 5]).expect("it holds the file");
        let hanging = Hook::Command(vec![program.display().to_string()]);
        let announcer = wanted(vec![hanging, script(&format!("sleep 0.2; echo $1 > {}", file.display()))]);
        wait_for(&file, "announce\n");
        assert!(!announcer.is_settled(), "the other one still hangs");
        drop(lease.stdin.take());
        let _ = lease.wait();
        let end = Instant::now() + Duration::from_secs(60);
        while !announcer.is_settled() {
            assert!(Instant::now() < end, "it does not go on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
