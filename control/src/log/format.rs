//! Forms of the log's lines: text for people, priorities for systemd's journal, JSON for programs.

use std::time::SystemTime;
use std::{env, fmt, io};

use rustix::fs::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Environment variable that names the form where the command line does not.
pub const VARIABLE: &str = "GUIDEWAY_LOG_FORMAT";

/// Form of the log's lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    #[default]
    Text,
    /// Text behind its priority, which systemd's journal takes out of it.
    Journal,
    /// JSON, an object a line, as `tracing` writes events.
    Json,
}

impl Format {
    /// Form that fits standard error: the journal's where systemd has connected it, unless the environment asks for JSON.
    pub fn of_standard_error() -> Self {
        if env::var_os(VARIABLE).is_some_and(|format| format == "json") {
            Self::Json
        } else if env::var("JOURNAL_STREAM").is_ok_and(|stream| is_standard_error(&stream)) {
            Self::Journal
        } else {
            Self::Text
        }
    }

    /// A line of a message that is no event of `tracing`; text keeps it as it stands.
    pub(super) fn line(self, level: Level, message: &str) -> String {
        match self {
            Self::Text => format!("{message}\n"),
            // A line without a priority would have the unit's.
            Self::Journal => message.lines().map(|line| format!("<{}>{line}\n", priority(level))).collect(),
            Self::Json => {
                let timestamp = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
                let fields = serde_json::json!({ "message": message.trim_end() });
                let line =
                    serde_json::json!({ "timestamp": timestamp, "level": level.as_str(), "fields": fields });
                format!("{line}\n")
            }
        }
    }
}

/// True if `stream`, a device and an inode, is what standard error leads to; a shell below a service inherits the variable.
fn is_standard_error(stream: &str) -> bool {
    fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Priority of a level, as syslog and `sd-daemon(3)` number them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Events behind their priorities, otherwise as `F` writes them.
#[derive(Clone, Copy, Debug)]
pub struct Prioritized<F>(pub F);

impl<S, N, F> FormatEvent<S, N> for Prioritized<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_its_priority_and_json_is_one_object() {
        assert_eq!(Format::Text.line(Level::ERROR, "error: a\nb"), "error: a\nb\n");
        assert_eq!(Format::Journal.line(Level::ERROR, "error: a\nb"), "<3>error: a\n<3>b\n");
        let line = Format::Json.line(Level::WARN, "a \"b\"\nc\n");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!((line.lines().count(), &value["level"]), (1, &"WARN".into()));
        assert_eq!(value["fields"]["message"], "a \"b\"\nc");
        assert!(humantime::parse_rfc3339(value["timestamp"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn a_journal_of_others_is_none() {
        let stat = fstat(io::stderr()).unwrap();
        assert!(is_standard_error(&format!("{}:{}", stat.st_dev, stat.st_ino)));
        assert!(!is_standard_error(&format!("{}:{}", stat.st_dev, stat.st_ino + 1)));
        assert!(!is_standard_error(""));
    }
}
