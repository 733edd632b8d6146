//! Messenger to hooks: tells them in place of this process, which then starts no program and opens no socket.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use guideway_model::config::{Hook, VipRange};

use super::hook_task::{Tell, may_forget};

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
        may_forget(&self.hook)
    }

    async fn tell(&mut self, announced: bool, address: VipRange, _: &str) -> Result<(), String> {
        self.messenger.tell(&self.hook, announced, address).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::announce::{Announcer, Plan, Reason, Wish};

    #[derive(Debug, Default)]
    struct Notebook(Mutex<Vec<(bool, String)>>);

    impl Messenger for Notebook {
        fn tell<'m>(&'m self, _: &'m Hook, announced: bool, address: VipRange) -> Told<'m> {
            self.0.lock().expect("no test has failed").push((announced, address.to_string()));
            Box::pin(std::future::ready(Ok(())))
        }
    }

    #[test]
    fn a_messenger_is_sent_in_place_of_a_program() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let notebook = Arc::new(Notebook::default());
            let mut announcer = Announcer::new(None).told_by(notebook.clone());
            let hook = Hook::Command(vec!["/nonexistent".to_owned()]);
            let address = std::net::IpAddr::from([203, 0, 113, 10]).into();
            for reason in [Reason::Served, Reason::TooFewHealthy] {
                let wishes = BTreeMap::from([(address, Wish::of_web(reason))]);
                announcer.want(&Plan(BTreeMap::from([(hook.clone(), wishes)])));
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert!(announcer.is_settled());
            }
            let told = notebook.0.lock().expect("no test has failed").clone();
            assert_eq!(told, [(true, "203.0.113.10".to_owned()), (false, "203.0.113.10".to_owned())]);
        });
    }
}
