//! The Unix socket that the admin interface listens on: its mode, and the life of its file.

use std::fmt;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::time::{Instant, sleep};

/// Mode of the socket: owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// Mode of a socket whose peers are judged by their credentials: everybody may connect.
const JUDGED_SOCKET_MODE: u32 = 0o666;

/// Mode of the socket's directory, which only leads there: the socket's own mode decides.
const DIRECTORY_MODE: u32 = 0o755;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

/// Mode of the file by which those who begin to listen on one socket keep each other out.
const LOCK_MODE: u32 = 0o600;

/// Longest wait for others who begin to listen on the same socket, which takes them microseconds, and pause between two tries.
const LOCK_TIME: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(1);

/// Reasons why the admin interface cannot listen.
#[derive(Debug)]
pub enum ListenError {
    /// Another appliance answers on this socket.
    Answered(PathBuf),
    /// A file of this name exists and is no socket.
    NotASocket(PathBuf),
    /// The directory of the socket cannot be made.
    Directory(PathBuf, io::Error),
    /// The operating system does not allow to listen on the socket.
    Socket(PathBuf, io::Error),
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(path) => write!(
                f,
                "another appliance answers on {}: stop it, or set another [admin] socket",
                path.display()
            ),
            Self::NotASocket(path) => write!(
                f,
                "{} is there already and is no socket: remove it, or set another [admin] socket",
                path.display()
            ),
            Self::Directory(path, error) => write!(
                f,
                "cannot make the directory {}: {error}; make it, or set another [admin] socket",
                path.display()
            ),
            Self::Socket(path, error) => write!(
                f,
                "cannot listen on {}: {error}; see who may write there, or set another [admin] socket",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ListenError {}

/// File of the socket that this process listens on; removed when this value is dropped.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file that somebody else has put there meanwhile is not ours.
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == (self.device, self.inode));
        if ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path`, for everybody if peers are judged; makes its directory, and removes a socket that nobody listens on.
pub(super) async fn listen(path: &Path, are_judged: bool) -> Result<(UnixListener, SocketFile), ListenError> {
    let failed = |error| ListenError::Socket(path.to_owned(), error);
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(DIRECTORY_MODE).create(directory);
    made.map_err(|error| ListenError::Directory(directory.to_owned(), error))?;
    // No one of several that start at once takes the socket of one that has not come to listen for that of a dead one.
    let _alone = lock(path).await.map_err(failed)?;
    if find(path).await? {
        fs::remove_file(path).map_err(failed)?;
    }
    let socket = UnixSocket::new_stream().map_err(failed)?;
    socket.bind(path).map_err(failed)?;
    let file = fs::symlink_metadata(path).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), device: file.dev(), inode: file.ino() };
    // Nobody can connect before `listen`, and so nobody whom the mode does not allow to.
    let mode = if are_judged { JUDGED_SOCKET_MODE } else { SOCKET_MODE };
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    Ok((listener, file))
}

/// Lock of whoever begins to listen on a socket; its file lies beside the socket, and goes with this value.
#[derive(Debug)]
struct StartLock {
    path: PathBuf,
    _file: File,
}

impl Drop for StartLock {
    fn drop(&mut self) {
        // While the lock is held: whoever waits for it looks whether the file is still there.
        let _ = fs::remove_file(&self.path);
    }
}

/// Locks a socket against others who begin to listen on it; none where the file system has no locks, or somebody else has a
/// file of the lock's name, who could hold it for ever.
async fn lock(socket: &Path) -> io::Result<Option<StartLock>> {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let end = Instant::now() + LOCK_TIME;
    loop {
        let Some(file) = open_lock(&path) else { return Ok(None) };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_at(&file, &path) => return Ok(Some(StartLock { path, _file: file })),
            // The one before has removed it.
            Ok(()) if Instant::now() < end => {}
            Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < end => sleep(LOCK_PAUSE).await,
            Ok(()) | Err(Errno::WOULDBLOCK) => {
                let locked = format!("another program has locked {}", path.display());
                return Err(io::Error::other(locked));
            }
            Err(_) => return Ok(None),
        }
    }
}

/// Opens the file of a lock, which nobody else can open: a lock needs no more than an open file. None where it is another's.
fn open_lock(path: &Path) -> Option<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(LOCK_MODE);
    let file = options.custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path).ok()?;
    let is_own = |file: &Metadata| file.is_file() && file.uid() == geteuid().as_raw();
    file.metadata().is_ok_and(|file| is_own(&file)).then_some(file)
}

/// True if a path leads to this open file.
fn is_at(file: &File, path: &Path) -> bool {
    let number = |file: Metadata| (file.dev(), file.ino());
    matches!(
        (file.metadata().map(number), fs::symlink_metadata(path).map(number)),
        (Ok(open), Ok(named)) if open == named
    )
}

/// Looks for a socket at `path`: true for one of an appliance that is gone, false if there is none.
///
/// # Errors
/// [`ListenError::Answered`] where somebody listens on it, and others where it is no socket or cannot be reached.
pub(super) async fn find(path: &Path) -> Result<bool, ListenError> {
    let failed = |error| ListenError::Socket(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(_) => (),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    }
    match UnixStream::connect(path).await {
        // One that has no time for us is there nevertheless.
        Ok(_) => Err(ListenError::Answered(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ListenError::Answered(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdListener;
    use std::sync::Barrier;
    use std::thread;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().expect("a runtime").block_on(future)
    }

    /// Starts by several threads at once, over and over, on a socket that a dead appliance has left.
    #[test]
    fn one_of_many_that_start_at_once_takes_the_socket_of_a_dead_one() {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("admin.sock");
        for _ in 0..200 {
            let _ = fs::remove_file(&path);
            drop(StdListener::bind(&path).expect("the directory can be written"));
            let (began, ended) = (Barrier::new(6), Barrier::new(6));
            let start = || {
                run(async {
                    began.wait();
                    let listening = listen(&path, false).await;
                    ended.wait();
                    match listening {
                        Ok(_) => true,
                        Err(ListenError::Answered(_)) => false,
                        Err(other) => panic!("{other}"),
                    }
                })
            };
            let listening = thread::scope(|scope| {
                let starts: Vec<_> = (0..6).map(|_| scope.spawn(start)).collect();
                let won = starts.into_iter().map(|start| start.join().expect("no panic"));
                won.filter(|won| *won).count()
            });
            assert_eq!(listening, 1);
        }
    }
    /// Sockets of a folder that everybody may open, and so lock: their appliance starts all the same.
    #[test]
    fn no_lock_and_no_file_of_others_keeps_an_appliance_from_its_socket() {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("admin.sock");
        let lock = directory.path().join("admin.sock.lock");
        let folder = File::open(directory.path()).expect("it is there");
        flock(&folder, FlockOperation::LockExclusive).expect("nobody has locked it");
        drop(run(listen(&path, false)).expect("a lock of the folder is nobody's affair"));
        assert!(!lock.exists(), "the lock goes once somebody listens");

        let other = directory.path().join("other");
        fs::write(&other, "kept").expect("it can be written");
        std::os::unix::fs::symlink(&other, &lock).expect("a link can be made");
        drop(run(listen(&path, false)).expect("a link is not followed"));
        assert_eq!(fs::read_to_string(&other).expect("it is there"), "kept");
        fs::remove_file(&lock).expect("it is not removed by others");
        let pipe = mknodat(CWD, &lock, FileType::Fifo, Mode::RWXU, 0);
        pipe.expect("a pipe can be made");
        drop(run(listen(&path, false)).expect("a pipe is waited for by nobody"));
    }

    #[test]
    fn the_lock_is_for_its_owner_alone_and_one_that_is_held_is_named() {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("admin.sock");
        let held = run(lock(&path)).expect("nobody has it").expect("the file system has locks");
        let mode = fs::metadata(&held.path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, LOCK_MODE);
        let late = async {
            tokio::time::pause();
            listen(&path, false).await.expect_err("somebody starts there").to_string()
        };
        let late = run(late);
        assert!(late.contains("another program has locked") && late.contains("admin.sock.lock"), "{late}");
        drop(held);
        run(listen(&path, false)).expect("the lock is free again");
    }
}
