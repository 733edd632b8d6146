//! Table of the targets: the name of each, and its function.

mod admin;
mod bird;
mod capture;
mod config;
mod dns;
mod host_stack;
mod pipeline;
mod probe;
mod probe_tcp;
mod sources;
mod text;

use std::cell::RefCell;

use tokio::runtime::{Builder, Runtime};

/// Function that takes any bytes, and panics if they break a promise of the code that it runs.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the target, and of the folders of its inputs.
    pub name: &'static str,
    /// Runs the target on an input.
    pub run: fn(&[u8]),
}

/// Every target, in alphabetical order.
pub const TARGETS: [Target; 11] = [
    Target { name: "admin", run: admin::run },
    Target { name: "bird", run: bird::run },
    Target { name: "capture", run: capture::run },
    Target { name: "config", run: config::run },
    Target { name: "dns", run: dns::run },
    Target { name: "host_stack", run: host_stack::run },
    Target { name: "pipeline", run: pipeline::run },
    Target { name: "probe", run: probe::run },
    Target { name: "probe_tcp", run: probe_tcp::run },
    Target { name: "sources", run: sources::run },
    Target { name: "text", run: text::run },
];

impl Target {
    /// Target of this name.
    pub fn of_name(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }
}

/// Runs a conversation in virtual time, which goes on whenever nobody has anything to do: a wait is over at once.
fn virtual_time<T>(conversation: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<Runtime> = RefCell::new(
            Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime"),
        );
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(conversation))
}
