//! The log: a thread of its own writes lines to standard error, so that no other thread waits for the reader.
//!
//! ```text
//!  control thread, panics ── lines ──▶ bounded queue ──▶ a thread ──▶ standard error
//! ```
//!
//! A terminal that was stopped with Ctrl-S, or a pipe whose reader hangs, takes nothing more: what would wait
//! for it, waits for ever. Here only the thread waits. What the queue has no room for is lost, counted, and
//! noted where it is missing.

mod format;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

pub use format::{Format, Prioritized, VARIABLE as FORMAT_VARIABLE};

/// Bytes of text that may wait to be written: thousands of lines.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// Longest wait of a panic until its message is written.
const PANIC_TIME: Duration = Duration::from_millis(100);

/// Log of the process. Its clones are the same log.
#[derive(Clone, Debug)]
pub struct Log(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    format: Format,
    queue: Mutex<Queue>,
    /// Signals that there is a line to write.
    filled: Condvar,
    /// Signals that all lines are written.
    emptied: Condvar,
    /// Lines that were lost since the start.
    lost: AtomicU64,
}

/// Lines that wait to be written.
#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines that were lost, of which nobody has been told.
    untold: u64,
    is_writing: bool,
}

impl Log {
    /// Starts a log on `output`, written by a thread of its own.
    ///
    /// # Errors
    /// Where the operating system starts no thread.
    pub fn start(format: Format, output: impl Write + Send + 'static) -> io::Result<Self> {
        let log = Self(Arc::new(Shared {
            format,
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            lost: AtomicU64::new(0),
        }));
        let shared = Arc::clone(&log.0);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_to(output))?;
        Ok(log)
    }

    /// Queues a message that is no event of `tracing`, in the form of this log.
    pub fn say(&self, level: Level, message: impl AsRef<str>) {
        self.0.push(self.0.format.line(level, message.as_ref()).into());
    }

    /// Waits until everything is written, for no longer than `time`; true if that has come.
    pub fn flush(&self, time: Duration) -> bool {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.lines.is_empty() || queue.untold > 0;
        let waited = self.0.emptied.wait_timeout_while(self.0.queue(), time, is_busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Form of the lines.
    pub fn format(&self) -> Format {
        self.0.format
    }

    /// Number of lines lost since the start.
    pub fn lost(&self) -> u64 {
        // Relaxed: it carries nothing but itself.
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Sends the messages of panics in any thread to this log: the standard library would wait for standard error.
    pub fn take_panics(&self) {
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("without a name");
            // Nothing, unless RUST_BACKTRACE asks for it.
            let backtrace = std::backtrace::Backtrace::capture();
            let trace = match backtrace.status() {
                std::backtrace::BacktraceStatus::Captured => format!("\n{backtrace}"),
                _ => String::new(),
            };
            log.say(Level::ERROR, format!("thread `{name}`: {panic}{trace}"));
            log.flush(PANIC_TIME);
        }));
    }
}

impl Shared {
    /// Locks the queue. A thread that panicked while holding it left it whole: nothing in between can fail.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Vec<u8>) {
        let mut queue = self.queue();
        if queue.bytes + line.len() > MAX_WAITING_BYTES {
            queue.untold += 1;
            // Relaxed: it carries nothing but itself.
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // What is said of the lost lines stands where they would.
        if let Some(notice) = queue.notice(self.format) {
            queue.put(notice);
        }
        queue.put(line);
        self.filled.notify_one();
    }

    /// Writes lines for as long as the process lives.
    fn write_to(&self, mut output: impl Write) {
        let mut is_cut = false;
        loop {
            let mut line = self.next();
            // The rest of a line that a full disk has cut short is gone; the next one is not to begin in its middle.
            if is_cut {
                line.insert(0, b'\n');
            }
            let written = write(&mut output, &line);
            if written < line.len() {
                // Standard error is closed, or full and does not wait. There is no other place to say so.
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            is_cut = written < line.len() && (written > 0 || is_cut);
        }
    }

    /// Waits for the next line.
    fn next(&self) -> Vec<u8> {
        let mut queue = self.queue();
        queue.is_writing = false;
        loop {
            let line = queue.lines.pop_front();
            queue.bytes -= line.as_ref().map_or(0, Vec::len);
            if let Some(line) = line.or_else(|| queue.notice(self.format)) {
                queue.is_writing = true;
                return line;
            }
            self.emptied.notify_all();
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes a line as far as that can be done; returns the number of bytes.
fn write(output: &mut impl Write, line: &[u8]) -> usize {
    let mut written = 0;
    while written < line.len() {
        match output.write(&line[written..]) {
            Ok(0) => break,
            Ok(bytes) => written += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // Bytes that the writer itself holds back are not lost yet, and nothing is known of them.
    let _ = output.flush();
    written
}

impl Queue {
    fn put(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }

    /// Notice about lines that were lost, given once.
    fn notice(&mut self, format: Format) -> Option<Vec<u8>> {
        let lost = std::mem::take(&mut self.untold);
        let level = if format == Format::Text { " WARN " } else { "" };
        (lost > 0).then(|| {
            let lines =
                format!("{level}{lost} lines of the log are lost here: nobody read standard error in time");
            format.line(Level::WARN, &lines).into()
        })
    }
}

/// Each call writes one whole line.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.into());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Reads numbered lines in order, and checks that as many are missing at each notice as it says; returns
    /// the number lost.
    fn lost_among(lines: impl Iterator<Item = String>) -> u64 {
        let (mut expected, mut lost) = (0, 0);
        for line in lines {
            let words: Vec<_> = line.split_whitespace().collect();
            if words[0] == "WARN" {
                lost += words[1].parse::<u64>().unwrap();
                expected += words[1].parse::<u64>().unwrap();
            } else {
                assert_eq!(words[1].parse(), Ok(expected));
                expected += 1;
            }
        }
        lost
    }

    fn line(number: u64) -> String {
        format!("line {number} {}", "x".repeat(1_000))
    }

    #[test]
    fn who_writes_to_a_full_pipe_does_not_wait_and_the_lost_are_counted() {
        let (reader, writer) = io::pipe().unwrap();
        let log = Log::start(Format::Text, writer).unwrap();
        // Nobody reads: a write to the pipe itself would wait here for ever.
        for number in 0..2_000 {
            log.say(Level::INFO, line(number));
        }
        let lost = log.lost();
        assert!(lost > 0 && !log.flush(Duration::from_millis(1)));
        let reading = std::thread::spawn(move || {
            let lines = io::BufReader::new(reader).lines().map(Result::unwrap);
            lost_among(lines.take_while(|line| line != "the end"))
        });
        assert!(log.flush(PATIENCE), "all that waited is written");
        log.say(Level::INFO, "the end");
        assert_eq!(reading.join().unwrap(), lost);
        assert_eq!(log.lost(), lost);
    }

    #[test]
    fn lost_lines_are_told_of_once_where_they_are_missing() {
        let shared = Shared {
            format: Format::Text,
            queue: Mutex::default(),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            lost: AtomicU64::new(0),
        };
        let room = (MAX_WAITING_BYTES / (line(0).len() + 1)) as u64;
        for number in 0..room + 100 {
            shared.push(format!("{}\n", line(number)).into());
        }
        let mut read: Vec<String> =
            (0..room / 2).map(|_| String::from_utf8(shared.next()).unwrap()).collect();
        shared.push(format!("{}\n", line(room + 100)).into());
        while !shared.queue().lines.is_empty() {
            read.push(String::from_utf8(shared.next()).unwrap());
        }
        let lost = shared.lost.load(Ordering::Relaxed);
        assert!(lost >= 99, "{lost}");
        assert_eq!(read.iter().filter(|line| line.contains("WARN")).count(), 1);
        assert_eq!(lost_among(read.into_iter()), lost);
    }

    /// Disk with room for a number of bytes, which is given more later.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut disk = self.0.lock().unwrap();
            let taken = disk.1.min(bytes.len());
            disk.1 -= taken;
            disk.0.extend(&bytes[..taken]);
            if taken == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_a_full_disk_cuts_short_does_not_run_into_the_next_one() {
        let disk = Disk::default();
        let log = Log::start(Format::Text, disk.clone()).unwrap();
        let say = |room: usize, text: &str| {
            disk.0.lock().unwrap().1 = room;
            log.say(Level::INFO, text);
            assert!(log.flush(PATIENCE));
        };
        let whole = 1_000;
        say(whole, "line 1");
        say(4, "line 2");
        say(0, "line 3");
        say(whole, "line 4");
        say(0, "line 5");
        say(whole, "line 6");
        assert_eq!(String::from_utf8_lossy(&disk.0.lock().unwrap().0), "line 1\nline\nline 4\nline 6\n");
        assert_eq!(log.lost(), 3);
    }

    #[test]
    fn an_output_that_fails_is_no_reason_to_wait() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let log = Log::start(Format::Text, writer).unwrap();
        log.say(Level::INFO, "line 1");
        assert!(log.flush(PATIENCE));
        assert_eq!(log.lost(), 1);
    }
}
