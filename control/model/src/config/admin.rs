//! The admin socket and the exporter of metrics: an operator looks at the appliance and steers it by them.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::written::field::{Field, Optional};
use super::written::file::{AdminFile, DEFAULT_SOCKET, MetricsFile};
use super::written::group_name::UserGroup;

/// Admin API of the appliance. A reload does not change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Path of the Unix socket that the API listens on.
    pub socket: PathBuf,
    /// Path of the file that keeps operators' drains and weights over a restart; `None` where a restart forgets them.
    pub state: Option<PathBuf>,
    /// True if a reload that removes every rule, or more than half of all backends, needs a word of the operator.
    pub confirm_removals: bool,
    /// Group that may change the appliance; `None` where its own group may.
    pub write_group: Option<UserGroup>,
    /// Group that may look at the appliance; `None` where its own group may.
    pub read_group: Option<UserGroup>,
}

/// Exporter of metrics for Prometheus. A reload does not change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Address that the exporter listens on.
    pub listen: SocketAddr,
}

impl Admin {
    /// Path of the socket, unless the configuration names another.
    pub const DEFAULT_SOCKET: &'static str = DEFAULT_SOCKET;

    pub(super) fn parse(file: &Option<Field<AdminFile>>) -> Option<Self> {
        let file = file.value_or_default()?;
        let state = match &file.state {
            Some(state) => Some(state.get()?.0.clone()),
            None => None,
        };
        let group = |group: &Option<Field<UserGroup>>| match group {
            Some(group) => Some(Some(group.get()?.clone())),
            None => Some(None),
        };
        Some(Self {
            socket: file.socket()?,
            state,
            confirm_removals: file.confirm_removals()?,
            write_group: group(&file.write_group)?,
            read_group: group(&file.read_group)?,
        })
    }
}

impl Metrics {
    pub(super) fn parse(file: &Option<Field<MetricsFile>>) -> Option<Self> {
        Some(Self { listen: file.value_or_default()?.listen()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_group_is_a_name_or_a_number() {
        let group = |written: &str| {
            let text = format!("[admin]\nwrite_group = {written}\n");
            Config::parse("test", &text).map(|config| config.admin.write_group)
        };
        assert_eq!(
            group("\"guideway-admin\"").ok(),
            Some(Some(UserGroup::Name("guideway-admin".to_owned())))
        );
        assert_eq!(group("0x10").ok(), Some(Some(UserGroup::Number(16))));
        for wrong in ["\"\"", "\"-a\"", "\"a b\"", "\"a\\u001b\"", "-1", "4_294_967_295", "true"] {
            let errors = group(wrong).expect_err(wrong);
            assert!(errors.errors()[0].message.contains("`write_group`"), "{wrong}: {errors}");
        }
        assert_eq!(Config::parse("test", "").map(|config| config.admin.read_group).ok(), Some(None));
    }
}
