//! Thread of the hooks' tasks: to start a program may wait for a disk, and no turn of the control thread waits with it.

use std::{io, thread};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

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
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let tasks = runtime.handle().clone();
        let (running, ended) = oneshot::channel();
        let run = move || {
            // The channel only closes: nothing is ever sent.
            let _ = runtime.block_on(ended);
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
    use std::time::{Duration, Instant};

    use guideway_model::config::Hook;

    use crate::announce::{Announcer, Plan, Reason, Wish};

    #[test]
    fn a_program_is_started_while_the_callers_thread_stands_still() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("told");
        let script = format!("echo $1 > {}", file.display());
        let hook = Hook::Command(["/bin/sh", "-c", &script, "sh"].map(str::to_owned).into());
        let wish = Wish {
            announcement: "bgp".to_owned(),
            rule: "web".to_owned(),
            network: None,
            reason: Reason::Served,
            held_until: None,
        };
        let address = std::net::IpAddr::from([203, 0, 113, 10]).into();
        let mut announcer = Announcer::new(None);
        announcer.want(&Plan(BTreeMap::from([(hook, BTreeMap::from([(address, wish)]))])));
        let end = Instant::now() + Duration::from_secs(60);
        while std::fs::read_to_string(&file).unwrap_or_default() != "announce\n" {
            assert!(Instant::now() < end, "nobody is told");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
