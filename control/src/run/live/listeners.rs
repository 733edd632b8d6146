//! Listeners for operators and Prometheus: a thread of their own, so that clients, JSON and scrapes hold up no turn of the
//! control thread, which gets whole requests by a bounded channel.

use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvError, channel};
use std::thread::{self, JoinHandle};

use guideway_model::config::{Admin, Metrics, UserGroup};
use nix::unistd::Group;
use tokio::sync::{mpsc, watch};

use super::LiveError;
use crate::api::admin::AccessRules;
use crate::api::admin::server::{ServedSocket, Server};
use crate::api::metrics::Exporter;
use crate::api::request::Request;
use crate::run::confinement::{LandlockAbi, confine_files, drop_capabilities, refuse_system_calls};

/// Thread that listens for operators and for Prometheus.
pub(super) struct Listeners(JoinHandle<Result<ServedSocket, LiveError>>);

impl Listeners {
    /// Listens, and answers with the replies to `requests` until the other end of `running` is gone; a thread that
    /// `is_confined` opens no file and no socket from then on.
    ///
    /// # Errors
    /// [`LiveError::Listen`] where a socket cannot be opened.
    pub(super) fn start(
        admin: Admin,
        metrics: Metrics,
        is_confined: bool,
        requests: mpsc::Sender<Request>,
        running: watch::Receiver<()>,
    ) -> Result<Self, LiveError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(LiveError::System)?;
        let (opened, is_open) = channel();
        let serve = async move {
            let group = |key: &str, group: Option<&UserGroup>| match group {
                Some(group) => number_of(group)
                    .map(Some)
                    .map_err(|why| listen("admin socket", format!("{why}: see `[admin] {key}`"))),
                None => Ok(None),
            };
            let write_group = group("write_group", admin.write_group.as_ref())?;
            let read_group = group("read_group", admin.read_group.as_ref())?;
            let server = Server::bind_for(&admin.socket, AccessRules::new(write_group, read_group))
                .await
                .map_err(|error| listen("admin socket", error.to_string()))?;
            let exporter = Exporter::bind(metrics.listen)
                .await
                .map_err(|error| listen("metrics", error.to_string()))?
                .with_token(metrics.token);
            if is_confined {
                confine();
            }
            let _ = opened.send(());
            let (served, ()) = tokio::join!(
                server.serve(requests.clone(), end_of(running.clone())),
                exporter.serve(requests, end_of(running)),
            );
            Ok(served)
        };
        let run = move || runtime.block_on(serve);
        let thread = thread::Builder::new().name("listeners".to_owned()).spawn(run);
        let listeners = Self(thread.map_err(LiveError::System)?);
        match is_open.recv() {
            Ok(()) => Ok(listeners),
            // The thread has ended before.
            Err(RecvError) => Err(match listeners.finish() {
                Ok(_) => LiveError::System(io::Error::other("the listeners have ended")),
                Err(error) => error,
            }),
        }
    }

    /// Looks if no other appliance listens for operators where this one is to, and begins nothing.
    ///
    /// # Errors
    /// [`LiveError::Listen`] where one does.
    pub(super) fn look(admin: &Admin) -> Result<(), LiveError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let found = runtime.map_err(LiveError::System)?.block_on(Server::look(&admin.socket));
        found.map_err(|error| listen("admin socket", error.to_string()))
    }

    /// Waits for the end of the answers that were begun, which is bounded, and returns the socket, to be closed last.
    ///
    /// # Errors
    /// Errors of [`Self::start`], or a panic of the thread.
    pub(super) fn finish(self) -> Result<ServedSocket, LiveError> {
        let panicked = |_| LiveError::System(io::Error::other("the listeners have failed"));
        self.0.join().map_err(panicked)?
    }
}

/// Confines the calling thread, once its sockets are open, as far as the kernel can, and tells of the rest.
fn confine() {
    // The groups of those who connect are read from there; all else that the thread needs is open.
    match confine_files(&[Path::new("/proc")]).map(LandlockAbi::left_out) {
        Ok(None) => {}
        Ok(Some(left_out)) => tracing::info!(
            "Landlock of this kernel has no rules for {left_out}; the listeners have a filter of system calls besides"
        ),
        Err(error) => tracing::warn!("the listeners may reach every file that the process may: {error}"),
    }
    if let Err(error) = drop_capabilities() {
        tracing::warn!("the listeners keep the capabilities of the process: {error}");
    }
    // Last, so that it needs to allow no call that the lines before are made of.
    if let Err(error) = refuse_system_calls() {
        tracing::warn!("the listeners may make any system call: {error}");
    }
}

fn listen(what: &'static str, message: String) -> LiveError {
    LiveError::Listen { what, message }
}

/// Number of a group of users, which the machine knows by its name.
fn number_of(group: &UserGroup) -> Result<u32, String> {
    match group {
        UserGroup::Number(number) => Ok(*number),
        UserGroup::Name(name) => match Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(format!("there is no group `{name}`")),
            Err(error) => Err(format!("cannot look up the group `{name}`: {error}")),
        },
    }
}

/// Waits until the other end of `running` is gone.
async fn end_of(mut running: watch::Receiver<()>) {
    while running.changed().await.is_ok() {}
}
