//! Messenger to hooks: tells them in place of this process, which then starts no program and opens no socket.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use guideway_model::config::{Hook, VipRange};

use super::hook_task::Tell;

/// Future of a message: `Ok` once the hook has heard it, or the cause for which it has not, in words.
pub type Told<'m> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'm>>;

/// Messenger to hooks, as a simulation of routers has one.
pub trait Messenger: fmt::Debug + Send + Sync {
    /// Tells a hook that an address is announced or withdrawn from now on.
    fn tell<'m>(&'m self, hook: &'m Hook, announced: bool, address: VipRange) -> Told<'m>;
}

/// Hook that a messenger is sent to.
pub(super) struct ByMessenger {
    pub(super) hook: Hook,
    pub(super) messenger: Arc<dyn Messenger>,
}

impl Tell for ByMessenger {
    fn forgets(&self) -> bool {
        self.hook.forgets()
    }

    async fn tell(&self, announced: bool, address: VipRange, _: &str) -> Result<(), String> {
        self.messenger.tell(&self.hook, announced, address).await
    }
}
