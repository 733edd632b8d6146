//! Confinement from files: Landlock refuses a thread that parses what strangers send every file but those that it needs.
//!
//! A domain is of one thread, so that the control thread, which reads configurations and runs programs of the operator's, stays
//! as free as it was. What is open already stays open. Kernels before 6.2 or so know a part of the rights, and refuse that part.

use std::fmt;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

/// Newest rights that are asked for; an older kernel refuses those that it knows.
const RIGHTS: ABI = ABI::V6;

/// Failure to keep a thread from files.
#[derive(Debug)]
pub enum NoLandlock {
    /// The kernel is built without Landlock.
    Missing,
    /// The kernel has Landlock, and its command line leaves it out.
    Disabled,
    /// The kernel refuses the rules.
    Refused(String),
}

impl fmt::Display for NoLandlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => {
                f.write_str("the kernel has no Landlock (5.13 and later have, with CONFIG_SECURITY_LANDLOCK)")
            }
            Self::Disabled => {
                f.write_str("the kernel's Landlock is off: add `landlock` to `lsm=` on its command line")
            }
            Self::Refused(why) => write!(f, "the kernel refuses rules of Landlock ({why})"),
        }
    }
}

impl<E: std::error::Error> From<E> for NoLandlock {
    fn from(error: E) -> Self {
        Self::Refused(error.to_string())
    }
}

/// Keeps the calling thread, and all that it may start, for good from files but those in the folders that it may read, from
/// TCP listeners and connections that it does not have yet, and from other processes.
pub fn confine_files(readable: &[&Path]) -> Result<(), NoLandlock> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RIGHTS))?
        .handle_access(AccessNet::from_all(RIGHTS))?
        .scope(Scope::from_all(RIGHTS))?;
    let mut ruleset = ruleset.create()?;
    for folder in readable {
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(folder)?, AccessFs::ReadFile))?;
    }
    let status = ruleset.restrict_self()?;
    match (status.ruleset, status.landlock) {
        (_, LandlockStatus::NotImplemented) => Err(NoLandlock::Missing),
        (_, LandlockStatus::NotEnabled) => Err(NoLandlock::Disabled),
        (RulesetStatus::NotEnforced, _) => Err(NoLandlock::Refused("it enforces none".to_owned())),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{self, ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;
    use std::thread;

    use super::*;

    /// Runs `work` on a thread of its own that is confined first; none where the kernel has no Landlock.
    fn confined<T: Send + 'static>(
        readable: &'static [&'static str],
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let thread = thread::spawn(|| {
            let readable: Vec<&Path> = readable.iter().map(Path::new).collect();
            match confine_files(&readable) {
                Ok(()) => Some(work()),
                Err(error @ (NoLandlock::Missing | NoLandlock::Disabled)) => {
                    eprintln!("skipped: {error}");
                    None
                }
                Err(error) => panic!("{error}"),
            }
        });
        thread.join().expect("what is refused ends no thread")
    }

    #[test]
    fn a_confined_thread_reaches_no_file_no_program_and_nobody() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("file");
        fs::write(&path, "secret").expect("a file can be written");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let (own, other) = (path.clone(), folder.path().join("other"));
        let refusals = confined(&["/proc"], move || {
            let attempts: [(&str, io::Result<()>); 8] = [
                ("read", fs::read(&own).map(drop)),
                ("read another's", fs::read("/etc/shadow").map(drop)),
                ("write", File::create(&own).map(drop)),
                ("make", File::create(&other).map(drop)),
                ("remove", fs::remove_file(&own)),
                ("list", fs::read_dir("/").map(drop)),
                ("run", Command::new("/bin/true").status().map(drop)),
                ("connect", TcpStream::connect(address).map(drop)),
            ];
            attempts
        });
        for (attempt, refusal) in refusals.into_iter().flatten() {
            // TCP is of ABI 4, in Linux 6.7.
            if attempt == "connect" && refusal.is_ok() {
                continue;
            }
            assert_eq!(refusal.expect_err(attempt).kind(), ErrorKind::PermissionDenied, "{attempt}");
        }
        assert_eq!(fs::read_to_string(&path).expect("another thread is as free as before"), "secret");
    }

    #[test]
    fn a_confined_thread_reads_what_it_may_and_goes_on_with_what_is_open() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("file");
        fs::write(&path, "open").expect("a file can be written");
        let mut file = File::open(&path).expect("it can be read");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has one");
        let client = TcpStream::connect(address).expect("somebody listens");
        let read = confined(&["/proc"], move || {
            let mut text = String::new();
            file.read_to_string(&mut text).expect("it is open");
            let status = fs::read_to_string("/proc/thread-self/status").expect("it may read this");
            assert!(fs::write("/proc/self/comm", "x").is_err(), "and write nothing there");
            listener.accept().expect("a client waits");
            (text, status.contains("NoNewPrivs:\t1"))
        });
        drop(client);
        assert!(read.is_none_or(|read| read == ("open".to_owned(), true)));
    }
}
