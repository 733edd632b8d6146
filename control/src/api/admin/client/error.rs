//! Errors of the admin interface's client, each with its remedy.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use crate::api::view::ErrorView;

/// Longest wait for an answer: a little more than the server allows itself.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(45);

/// Failure of a request to the appliance.
#[derive(Debug)]
pub enum ClientError {
    /// No appliance can be reached on this socket.
    Unreachable(PathBuf, io::Error),
    /// The appliance has not answered in time.
    Late(PathBuf),
    /// The appliance went away in the middle of its answer.
    Gone(PathBuf, hyper::Error),
    /// The answer is not in a form that this program reads.
    Unreadable(PathBuf, String),
    /// The appliance refused the request.
    Refused(Box<ErrorView>),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(socket, error) => {
                let socket = socket.display();
                match error.kind() {
                    ErrorKind::NotFound => {
                        write!(
                            f,
                            "there is no socket {socket}: is guideway running? `--socket` names another"
                        )
                    }
                    ErrorKind::ConnectionRefused => {
                        write!(f, "nobody answers on {socket}: is guideway running? `--socket` names another")
                    }
                    ErrorKind::PermissionDenied => {
                        write!(f, "{socket} is not for you: be root, or a member of the socket's group")
                    }
                    ErrorKind::WouldBlock => {
                        write!(f, "the appliance on {socket} takes no more clients: try again")
                    }
                    _ => write!(f, "cannot connect to {socket}: {error}"),
                }
            }
            Self::Late(socket) => {
                let seconds = ANSWER_TIME.as_secs();
                write!(f, "the appliance on {} has not answered for {seconds} seconds", socket.display())
            }
            Self::Gone(socket, error) => {
                write!(
                    f,
                    "the appliance on {} went away in the middle of its answer: {error}",
                    socket.display()
                )
            }
            Self::Unreadable(socket, what) => {
                let socket = socket.display();
                write!(
                    f,
                    "the answer from {socket} is unreadable ({what}): is it a guideway of this version?"
                )
            }
            Self::Refused(view) => write!(f, "{}; {}", view.message, view.help),
        }
    }
}

impl std::error::Error for ClientError {}
