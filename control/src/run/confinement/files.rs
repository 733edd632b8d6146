//! Confinement from files: Landlock refuses a thread that parses what strangers send every file but those that it needs.
//!
//! A domain is of one thread, so that the control thread, which reads configurations and runs programs of the operator's, stays
//! as free as it was. What is open already stays open. A kernel before 6.12 knows a part of the rights, and refuses that part:
//! [`LandlockAbi`] tells the rest.

use std::fmt;
use std::path::Path;
use std::thread;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

/// Newest rights that are asked for; an older kernel refuses those that it knows.
const RIGHTS: ABI = ABI::V6;

/// Rights that an ABI of Landlock has brought, with the version of Linux that has it first; links and moves between folders
/// (ABI 2, Linux 5.19) are refused by all.
const BROUGHT: [(i32, &str, &str); 4] = [
    (3, "6.2", "cutting files short by their path"),
    (4, "6.7", "listening and connecting by TCP"),
    (5, "6.10", "commands to devices"),
    (6, "6.12", "abstract Unix sockets and signals to other processes"),
];

/// Number of the interface of Landlock that a kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LandlockAbi(pub i32);

impl LandlockAbi {
    /// Part of the rules that this kernel does not enforce; none where it enforces all of them.
    pub fn left_out(self) -> Option<String> {
        let left_out = BROUGHT.iter().filter(|(abi, ..)| *abi > self.0);
        let left_out = left_out.map(|(_, version, right)| format!("{right} (Linux {version})"));
        let left_out: Vec<_> = left_out.collect();
        (!left_out.is_empty()).then(|| left_out.join(", "))
    }
}

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
/// TCP listeners and connections that it does not have yet, and from other processes, as far as the kernel's ABI does.
///
/// # Errors
/// [`NoLandlock`] where the kernel enforces nothing.
pub fn confine_files(readable: &[&Path]) -> Result<LandlockAbi, NoLandlock> {
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
        (_, LandlockStatus::Available { effective_abi, kernel_abi }) => {
            Ok(LandlockAbi(kernel_abi.unwrap_or(effective_abi as i32)))
        }
    }
}

/// Looks for Landlock, on a thread that is confined and ends.
///
/// # Errors
/// [`NoLandlock`] where the kernel enforces nothing.
pub fn look_for_landlock() -> Result<LandlockAbi, NoLandlock> {
    let look = thread::Builder::new().name("landlock".to_owned()).spawn(|| confine_files(&[]))?;
    look.join().unwrap_or_else(|_| Err(NoLandlock::Refused("the look has failed".to_owned())))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{self, ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;
    use std::thread;

    use super::*;

    /// Set where the tests must not go on without Landlock.
    const DEMAND: &str = "GUIDEWAY_DEMAND_LANDLOCK";

    #[test]
    fn a_kernel_that_knows_a_part_of_the_rights_is_told_of() {
        let left_out = |abi| LandlockAbi(abi).left_out();
        // Debian 12 has Linux 6.1.
        let debian = left_out(2).expect("it knows neither");
        assert!(
            debian.starts_with("cutting files short by their path (Linux 6.2), listening and"),
            "{debian}"
        );
        assert_eq!(
            left_out(5).as_deref(),
            Some("abstract Unix sockets and signals to other processes (Linux 6.12)")
        );
        assert_eq!((left_out(6), left_out(7)), (None, None));
        assert_eq!(RIGHTS as i32, BROUGHT[3].0, "the newest rights are the last that a kernel may leave out");
    }

    #[test]
    fn a_look_confines_nobody_else() {
        let looked = look_for_landlock();
        assert!(File::open("/etc/passwd").is_ok());
        match looked {
            Ok(LandlockAbi(abi)) => assert!(abi > 0),
            Err(error) => assert!(std::env::var_os(DEMAND).is_none(), "{error}"),
        }
    }

    /// Runs `work` on a thread of its own that is confined first; none where the kernel has no Landlock, unless it must have.
    fn confined<T: Send + 'static>(
        readable: &'static [&'static str],
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let thread = thread::spawn(|| {
            let readable: Vec<&Path> = readable.iter().map(Path::new).collect();
            match confine_files(&readable) {
                Ok(_) => Some(work()),
                Err(error @ (NoLandlock::Missing | NoLandlock::Disabled))
                    if std::env::var_os(DEMAND).is_none() =>
                {
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
