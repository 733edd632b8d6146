//! Terminal in full: opened, and given back as it was, however the session ends.

use std::io::{self, IsTerminal};
use std::thread;

use ratatui::crossterm::event::{self, Event};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

/// Terminal that shows the screen; dropped, it is as it was before. A panic gives it back before it is told of.
pub(super) struct Terminal(DefaultTerminal);

impl Terminal {
    /// Opens the terminal of standard output.
    pub(super) fn open() -> io::Result<Self> {
        ratatui::try_init().map(Self).inspect_err(|_| {
            let _ = ratatui::try_restore();
        })
    }

    /// Draws the screen.
    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }

    /// Forgets what is on the screen, so that all is drawn again.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.0.clear()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone has nothing to be given back.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// Words that tell why standard output has no screen; none where it has one.
pub(super) fn fault() -> Option<&'static str> {
    if !io::stdout().is_terminal() {
        return Some("standard output is no terminal");
    }
    let is_plain = std::env::var_os("TERM").is_none_or(|kind| kind.is_empty() || kind == "dumb");
    is_plain.then_some("the terminal has no full screen: TERM is unset or `dumb`")
}

/// Keys and changes of size, read by a thread of their own; it ends with the process, or when the terminal is gone.
pub(super) fn events() -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(16);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                break;
            }
        }
    });
    receiver
}

/// True if the terminal of standard output shows colours, and nobody has asked for none.
pub(super) fn has_colors() -> bool {
    let [no_color, kind] = ["NO_COLOR", "TERM"].map(|name| std::env::var(name).unwrap_or_default());
    shows_colors(&no_color, &kind)
}

/// True if a terminal of this kind shows colours, and NO_COLOR has no value.
fn shows_colors(no_color: &str, kind: &str) -> bool {
    let is_monochrome = ["vt1", "vt2"].iter().any(|start| kind.starts_with(start))
        || ["-m", "-mono"].iter().any(|end| kind.ends_with(end));
    no_color.is_empty() && !is_monochrome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colors_are_shown_where_the_terminal_has_them_and_nobody_minds() {
        for (no_color, kind, expected) in [
            ("", "xterm-256color", true),
            ("", "linux", true),
            ("1", "xterm-256color", false),
            ("", "vt100", false),
            ("", "vt220", false),
            ("", "xterm-mono", false),
            ("", "linux-m", false),
        ] {
            assert_eq!(shows_colors(no_color, kind), expected, "{no_color}, {kind}");
        }
    }
}
