//! The Unix socket that the admin interface listens on: its mode, and the life of its file.

use std::fmt;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Mode of the socket: owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

/// Mode of a socket whose peers are judged by their credentials: everybody may connect.
const JUDGED_SOCKET_MODE: u32 = 0o666;

/// Mode of the socket's directory, which only leads there: the socket's own mode decides.
const DIRECTORY_MODE: u32 = 0o755;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 128;

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
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(DIRECTORY_MODE).create(directory);
        made.map_err(|error| ListenError::Directory(directory.to_owned(), error))?;
    }
    make_way(path).await?;
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

/// Removes the socket of an appliance that is gone.
async fn make_way(path: &Path) -> Result<(), ListenError> {
    let failed = |error| ListenError::Socket(path.to_owned(), error);
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => return Err(ListenError::NotASocket(path.to_owned())),
        Ok(_) => (),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    match UnixStream::connect(path).await {
        // One that has no time for us is there nevertheless.
        Ok(_) => Err(ListenError::Answered(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ListenError::Answered(path.to_owned())),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}
