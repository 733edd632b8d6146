//! The file that keeps a small state over a restart: written whole or not at all, and never thrown away unread.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Largest file that is read: several times the state of the largest configuration.
const MAX_BYTES: u64 = 64 << 20;

/// File that keeps a state, by its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StateFile {
    path: PathBuf,
}

/// Error: a state that was kept cannot be used, and where it lies now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spoiled {
    /// Words for the error, and for what has become of the file.
    pub(super) text: String,
}

impl StateFile {
    /// The file at this path, which need not be there yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the state; the default where there is no file yet. A file that cannot be read is kept aside.
    ///
    /// # Errors
    /// [`Spoiled`] where there is a file, and no state in it.
    pub(super) fn read<T: Default>(
        &self,
        decode: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Spoiled> {
        let why = match self.text() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
            Err(error) => error.to_string(),
            Ok(text) => match decode(&text) {
                Ok(state) => return Ok(state),
                Err(why) => why,
            },
        };
        let aside = self.beside(".bad");
        let fate = match std::fs::rename(&self.path, &aside) {
            Ok(()) => format!("it is kept as {}", aside.display()),
            Err(error) => {
                format!("it stays where it is until the next change, as it cannot be moved: {error}")
            }
        };
        Err(Spoiled { text: format!("cannot read {}: {}; {fate}", self.path.display(), why.trim_end()) })
    }

    /// Writes a text in place of the one before. At every moment, and after a power cut, the file is the old one or
    /// the new one.
    ///
    /// # Errors
    /// The operating system's; the file is the old one then, or already the new one.
    pub(super) fn write(&self, text: &str) -> io::Result<()> {
        self.replace(|file| file.write_all(text.as_bytes()))
    }

    fn replace(&self, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
        let new = self.beside(".new");
        let mut file = File::create(&new)?;
        write(&mut file)?;
        // Before the name: else a power cut could leave the new name with no content.
        file.sync_all()?;
        drop(file);
        std::fs::rename(&new, &self.path)?;
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn text(&self) -> io::Result<String> {
        let mut text = String::new();
        File::open(&self.path)?.take(MAX_BYTES).read_to_string(&mut text)?;
        Ok(text)
    }

    /// Path with another end: a file in the same directory.
    fn beside(&self, end: &str) -> PathBuf {
        let mut path = OsString::from(&self.path);
        path.push(end);
        path.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<String, String> {
        if text.starts_with("good") { Ok(text.to_owned()) } else { Err("no good".to_owned()) }
    }

    #[test]
    fn a_text_is_read_as_it_was_written_last() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path().join("state.toml"));
        assert_eq!(file.read(decode), Ok(String::new()), "nothing was ever kept");
        for text in ["good, and long", "good"] {
            file.write(text).unwrap();
            assert_eq!(file.read(decode).as_deref(), Ok(text));
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing lies about");
    }

    /// Ends where a kill or a full disk would end it: after any number of bytes.
    #[test]
    fn a_write_that_ends_early_leaves_the_file_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path().join("state.toml"));
        file.write("good, the old one").unwrap();
        let new = "good, the new one";
        for len in 0..=new.len() {
            let full = || io::Error::from(io::ErrorKind::StorageFull);
            let wrote = file.replace(|file| {
                file.write_all(&new.as_bytes()[..len])?;
                Err(full())
            });
            assert_eq!(wrote.unwrap_err().kind(), io::ErrorKind::StorageFull);
            assert_eq!(file.read(decode).as_deref(), Ok("good, the old one"), "after {len} bytes");
        }
        // Remains of an interrupted write do not hinder the next one.
        file.write(new).unwrap();
        assert_eq!(file.read(decode).as_deref(), Ok(new));
    }

    #[test]
    fn a_spoiled_file_is_kept_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.toml");
        let file = StateFile::new(path.clone());
        for bytes in [&b"bad"[..], b"good, but \xff"] {
            std::fs::write(&path, bytes).unwrap();
            let Spoiled { text } = file.read(decode).unwrap_err();
            assert!(text.contains("state.toml: ") && text.ends_with("state.toml.bad"), "{text}");
            assert_eq!(std::fs::read(directory.path().join("state.toml.bad")).unwrap(), bytes);
            assert_eq!(file.read(decode), Ok(String::new()), "the next start has nothing to complain of");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let file = StateFile::new(directory.path().join("missing/state.toml"));
        assert_eq!(file.write("good").unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
