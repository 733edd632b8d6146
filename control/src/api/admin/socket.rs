//! The Unix socket that the admin interface listens on: its mode, and the life of its file.

use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
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

/// Longest wait for others who begin to listen in the same directory, which takes them microseconds, and pause between two tries.
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
    // Of several that start at once, none takes the socket of one that has not come to listen for that of a dead one.
    let _alone = lock(directory).await.map_err(failed)?;
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

/// Locks a directory against others who begin to listen in it; the file that comes back holds the lock.
async fn lock(directory: &Path) -> io::Result<File> {
    let file = File::open(directory)?;
    let end = Instant::now() + LOCK_TIME;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) if Instant::now() < end => sleep(LOCK_PAUSE).await,
            Err(Errno::WOULDBLOCK) => {
                return Err(io::Error::other(format!("another program has locked {}", directory.display())));
            }
            Err(error) => return Err(error.into()),
        }
    }
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
}
