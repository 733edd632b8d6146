//! Progress of a replay on the terminal, for captures that take longer than a second.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time that a replay takes without a bar: what is over so soon needs none.
const QUIET: Duration = Duration::from_secs(1);

/// Bytes between two looks at the clock.
const STRIDE: u64 = 1 << 16;

/// Bar on standard error that moves as a capture is read. It is shown on a terminal alone, and gone when it is dropped.
pub(super) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

/// Source of a capture whose bytes are counted as they are read.
pub(super) struct Counted<R> {
    source: R,
    progress: Progress,
    /// Bytes since the last look at the clock.
    unseen: u64,
}

impl Progress {
    /// Bar for a source of so many bytes; none where nobody knows.
    fn new(bytes: Option<u64>) -> Self {
        let (bar, template) = match bytes {
            Some(bytes) => {
                (ProgressBar::new(bytes), "replaying {bar:30} {percent:>3} % of {total_bytes}, {eta} left")
            }
            None => (ProgressBar::no_length(), "replaying {spinner} {bytes}"),
        };
        bar.set_draw_target(ProgressDrawTarget::hidden());
        // A template that is wrong shows as the plain bar; the test below looks.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, started: Instant::now() }
    }

    fn advance(&mut self, bytes: u64) {
        self.bar.inc(bytes);
        if self.bar.is_hidden() && self.started.elapsed() >= QUIET {
            // Stays hidden where standard error is no terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(5));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl<R: Read> Counted<R> {
    /// Counts what is read of `source`, which has so many bytes.
    pub(super) fn new(source: R, bytes: Option<u64>) -> Self {
        Self { source, progress: Progress::new(bytes), unseen: 0 }
    }
}

impl Counted<File> {
    /// Counts what is read of a file; a pipe has no length.
    pub(super) fn of_file(file: File) -> Self {
        let bytes = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
        Self::new(file, bytes)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.unseen += read as u64;
        if self.unseen >= STRIDE {
            self.progress.advance(std::mem::take(&mut self.unseen));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, TermLike};

    use super::*;

    #[test]
    fn the_bar_tells_the_part_that_was_read_and_vanishes() {
        let terminal = InMemoryTerm::new(5, 80);
        let on = |terminal: &InMemoryTerm| ProgressDrawTarget::term_like(Box::new(terminal.clone()));
        let mut counted = Counted::new(io::repeat(0).take(4 * STRIDE), Some(4 * STRIDE));
        assert!(counted.progress.bar.is_hidden(), "a second has not passed");
        counted.progress.bar.set_draw_target(on(&terminal));
        counted.read_exact(&mut vec![0; 2 * STRIDE as usize]).expect("there is as much");
        counted.progress.bar.force_draw();
        let shown = terminal.contents();
        assert!(shown.starts_with("replaying [") || shown.starts_with("replaying ="), "{shown}");
        assert!(shown.contains(" 50 % of 256.00 KiB"), "{shown}");
        assert!(shown.lines().count() == 1 && terminal.width() == 80);
        drop(counted);
        assert_eq!(terminal.contents(), "");
    }

    #[test]
    fn a_source_without_length_tells_its_bytes() {
        let terminal = InMemoryTerm::new(5, 80);
        let mut counted = Counted::new(io::repeat(0), None);
        counted.progress.bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        counted.read_exact(&mut vec![0; 2 * STRIDE as usize]).expect("there is as much");
        counted.progress.bar.force_draw();
        assert!(terminal.contents().contains("128.00 KiB"), "{}", terminal.contents());
    }
}
