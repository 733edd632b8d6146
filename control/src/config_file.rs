//! Reads the files of a configuration, within the limit on their size: the main file, and those that it names.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use guideway_model::config::{MAX_FILE_BYTES, MAX_SEED_FILE_BYTES, Mentions, NamedFile, Source, Sources};

/// Mode of a file that every user may read.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Reads a configuration: a file, and all files that it names. A named file that cannot be read is an error of the key
/// that names it, which [`Config::parse_sources`](guideway_model::config::Config::parse_sources) reports.
///
/// # Errors
/// Where the main file cannot be read, or holds no UTF-8.
pub fn read(path: &Path) -> io::Result<Sources> {
    let main = Source { name: path.to_string_lossy().into_owned(), text: read_text(path)? };
    Ok(with_named(main, path.parent().unwrap_or(Path::new(""))))
}

/// Reads the files that a configuration names; a relative path begins in `folder`.
pub fn with_named(main: Source, folder: &Path) -> Sources {
    let mut sources = Sources { main, named: Vec::new() };
    let Mentions { seed_file } = Mentions::of(&sources.main.text);
    sources.named.extend(seed_file.map(|path| named(0, path, folder, MAX_SEED_FILE_BYTES)));
    sources
}

/// Reads the text of one file. Of a file that is too large, only one byte more than the limit is read, and
/// [`Config::parse_sources`](guideway_model::config::Config::parse_sources) says so.
///
/// # Errors
/// Where the file cannot be read, or holds no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    text_of(File::open(path)?)
}

/// Reads the text of a configuration from a reader, as [`read_text`] does of a file.
///
/// # Errors
/// Where nothing can be read, or what is read is no UTF-8.
pub fn text_of(reader: impl Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        // The end may lie within a character.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|_| not_utf8())
}

fn not_utf8() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")
}

/// Reads a file that a key names, of at most `limit` bytes.
fn named(named_in: usize, path: String, folder: &Path, limit: usize) -> NamedFile {
    let at: PathBuf = folder.join(&path);
    let (text, is_public) = match bounded(&at, limit) {
        Ok((text, is_public)) => (Ok(text), is_public),
        Err(error) => (Err(error.to_string()), false),
    };
    NamedFile { named_in, path, name: at.to_string_lossy().into_owned(), text, is_public }
}

/// Text of a file of at most `limit` bytes, with whether every user may read it.
fn bounded(path: &Path, limit: usize) -> io::Result<(String, bool)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    // A pipe would be waited for without end.
    if !metadata.is_file() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes, which are the most")));
    }
    let text = String::from_utf8(bytes).map_err(|_| not_utf8())?;
    Ok((text, metadata.permissions().mode() & READABLE_BY_OTHERS != 0))
}
