//! The admin socket and the exporter of metrics: an operator looks at the appliance and steers it by them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::report::Report;
use super::source::{FileKind, Remark, Sources};
use super::written::field::{Field, Optional};
use super::written::file::{AdminFile, DEFAULT_SOCKET, MetricsFile};
use super::written::group_name::UserGroup;
use super::written::value::NamedPath;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Address that the exporter listens on.
    pub listen: SocketAddr,
    /// Token that whoever asks must know; `None` where everybody may ask.
    pub token: Option<AccessToken>,
}

/// Secret that lets whoever knows it read; never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken(String);

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
    pub(super) fn parse(
        file: &Option<Field<MetricsFile>>,
        sources: &Sources,
        remarks: &mut Vec<Remark>,
        report: &mut Report,
    ) -> Option<Self> {
        let file = file.value_or_default()?;
        let token = match &file.token_file {
            Some(token_file) => Some(AccessToken::parse(token_file, sources, remarks, report)?),
            None => None,
        };
        Some(Self { listen: file.listen()?, token })
    }
}

impl AccessToken {
    /// Fewest characters of a token.
    pub const MIN_LENGTH: usize = 16;

    /// Most characters of a token.
    pub const MAX_LENGTH: usize = 512;

    /// Token of this text, with a line end behind it; [`None`] if it is none.
    pub fn of_text(text: &str) -> Option<Self> {
        let text = text.trim_ascii();
        let is_token = (Self::MIN_LENGTH..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_token.then(|| Self(text.to_owned()))
    }

    /// Bytes of the token, to be compared with those of whoever asks.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn parse(
        token_file: &Field<NamedPath>,
        sources: &Sources,
        remarks: &mut Vec<Remark>,
        report: &mut Report,
    ) -> Option<Self> {
        let NamedPath(path) = token_file.get()?;
        let Some(found) = sources.secret_file(FileKind::Token, token_file.span().start, path) else {
            let help = "read the configuration from a file of the same machine";
            report.error(token_file.span(), format!("`{path}` did not come with the configuration"), help);
            return None;
        };
        let name = &found.name;
        let wrong = match found.text.as_deref().map(Self::of_text) {
            Ok(Some(token)) => {
                if found.is_public {
                    remarks.push(Remark {
                        text: format!(
                            "every user may read the token in {name}, and who knows it may read the metrics"
                        ),
                        remedy: format!("`chmod o-r {name}`"),
                    });
                }
                return Some(token);
            }
            // The content may be a token in which one character is wrong.
            Ok(None) => format!(
                "`{name}` does not hold {} to {} visible ASCII characters, and nothing else",
                Self::MIN_LENGTH,
                Self::MAX_LENGTH
            ),
            Err(error) => format!("cannot read `{name}`: {error}"),
        };
        let help = format!(
            "make one with `openssl rand -hex 16 > {name}`, and give it to Prometheus as `credentials_file`"
        );
        report.error(token_file.span(), wrong, help);
        None
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_token_is_a_word_of_some_length_that_is_not_shown() {
        let token = AccessToken::of_text("0123456789abcdef\n").expect("it is long enough");
        assert_eq!(
            (token.as_bytes(), format!("{token:?}").as_str()),
            (&b"0123456789abcdef"[..], "AccessToken")
        );
        for wrong in ["", "0123456789abcde", "0123456789 abcdef", "0123456789abcdeü", &"a".repeat(513)] {
            assert_eq!(AccessToken::of_text(wrong), None, "{wrong}");
        }
    }

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
