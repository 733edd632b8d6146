//! Reads the files of a configuration, within the limit on their size: the main file, and those that it names.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use guideway_model::config::{
    FileKind, Include, IncludedFile, MAX_ENDPOINTS_FILE_BYTES, MAX_FILE_BYTES, MAX_INCLUDED_FILES,
    MAX_SEED_FILE_BYTES, MAX_TOKEN_FILE_BYTES, Mentions, NamedFile, Source, Sources,
};
use rustix::fs::OFlags;

/// Mode of a file that every user may read.
const READABLE_BY_OTHERS: u32 = 0o004;

/// Reads a configuration: a file, and all files that it names. A named file that cannot be read is an error of the key
/// that names it, which [`Config::parse_sources`](guideway_model::config::Config::parse_sources) reports.
///
/// # Errors
/// Where the main file cannot be read, or holds no UTF-8.
pub fn read(path: &Path) -> io::Result<Sources> {
    let (file, _) = ordinary(path)?;
    let main = Source { name: path.to_string_lossy().into_owned(), text: text_of(file)? };
    Ok(with_named(main, path.parent().unwrap_or(Path::new(""))))
}

/// Reads the files that a configuration names; a relative path begins in the folder of the file that names it, which is
/// `folder` for the main one.
pub fn with_named(main: Source, folder: &Path) -> Sources {
    let mut sources = Sources { main, includes: Vec::new(), named: Vec::new() };
    if sources.main.text.len() > MAX_FILE_BYTES {
        return sources;
    }
    let mentions = Mentions::of(&sources.main.text);
    sources.includes = Inclusion::new(&sources.main, folder).read(mentions.include.clone());
    // Files that are too large together are told of by the parser, and not all of them are read.
    let mut rest = (MAX_FILE_BYTES + 1).saturating_sub(sources.files().map(|(_, text)| text.len()).sum());
    sources.named = named_files(0, mentions, folder, &mut rest);
    let included: Vec<_> = sources
        .files()
        .enumerate()
        .skip(1)
        .map(|(index, (name, text))| (index, PathBuf::from(name), Mentions::of(text)))
        .collect();
    for (index, path, mentions) in included {
        let folder = path.parent().unwrap_or(Path::new(""));
        sources.named.extend(named_files(index, mentions, folder, &mut rest));
    }
    sources
}

/// Reads included files, each once, until they are too many or too large together.
struct Inclusion<'f> {
    folder: &'f Path,
    /// Files that have been read, the main one among them.
    known: BTreeSet<PathBuf>,
    /// Bytes that may still be read, and one more.
    rest: usize,
}

impl<'f> Inclusion<'f> {
    fn new(main: &Source, folder: &'f Path) -> Self {
        let known = Path::new(&main.name).canonicalize().into_iter().collect();
        Self { folder, known, rest: (MAX_FILE_BYTES + 1).saturating_sub(main.text.len()) }
    }

    fn read(mut self, patterns: Vec<String>) -> Vec<Include> {
        let mut includes: Vec<Include> = Vec::new();
        for pattern in patterns {
            if includes.iter().all(|known| known.pattern != pattern) {
                let files = self.matches(&pattern);
                includes.push(Include { pattern, files });
            }
        }
        includes
    }

    /// Files that a pattern matches, in sorted order.
    fn matches(&mut self, pattern: &str) -> Result<Vec<IncludedFile>, String> {
        // The folder's own name is no pattern.
        let folder = glob::Pattern::escape(&self.folder.to_string_lossy());
        let pattern = Path::new(&folder).join(pattern);
        // An editor's hidden files are none of the configuration.
        let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
        let paths =
            glob::glob_with(&pattern.to_string_lossy(), options).map_err(|error| error.to_string())?;
        let mut found = paths.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        found.sort();
        let mut files = Vec::new();
        for path in found {
            if !self.known.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
                continue;
            }
            if self.known.len() > MAX_INCLUDED_FILES {
                return Err(format!("there are more than {MAX_INCLUDED_FILES} files, which are the most"));
            }
            let text = if self.rest == 0 { Ok(String::new()) } else { self.read_one(&path) };
            self.rest -= text.as_ref().map_or(0, String::len).min(self.rest);
            files.push(IncludedFile { name: path.to_string_lossy().into_owned(), text });
        }
        Ok(files)
    }

    fn read_one(&self, path: &Path) -> Result<String, String> {
        let text = ordinary(path).and_then(|(file, _)| text_within(file, self.rest));
        text.map_err(|error| error.to_string())
    }
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
    text_within(reader, MAX_FILE_BYTES + 1)
}

/// Reads at most so many bytes of text, the last of which is one too many.
fn text_within(reader: impl Read, limit: usize) -> io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(limit as u64).read_to_end(&mut bytes)?;
    if bytes.len() == limit {
        // The end may lie within a character.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|_| not_utf8())
}

fn not_utf8() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8")
}

/// Reads the files that keys of one file name, and takes their bytes off the `rest`.
fn named_files(named_in: usize, mentions: Mentions, folder: &Path, rest: &mut usize) -> Vec<NamedFile> {
    let seed = mentions.seed_file.into_iter().map(|path| (FileKind::Seed, path));
    let token = mentions.token_file.into_iter().map(|path| (FileKind::Token, path));
    let endpoints = mentions.endpoints_files.into_iter().map(|path| (FileKind::Endpoints, path));
    let mut read = |(kind, path): (FileKind, String)| {
        let at = folder.join(&path);
        let (text, is_public) = match bounded(&at, limit_of(kind)) {
            _ if *rest == 0 => (Ok(String::new()), false),
            Ok((text, is_public)) => (Ok(text), is_public),
            Err(error) => (Err(error.to_string()), false),
        };
        *rest -= text.as_ref().map_or(0, String::len).min(*rest);
        NamedFile { kind, named_in, path, name: at.to_string_lossy().into_owned(), text, is_public }
    };
    seed.chain(token).chain(endpoints).map(&mut read).collect()
}

/// Reads a file of endpoints again.
///
/// # Errors
/// Error where it cannot be read, is too large or holds no UTF-8.
pub fn read_endpoints(path: &Path) -> io::Result<String> {
    bounded(path, limit_of(FileKind::Endpoints)).map(|(text, _)| text)
}

/// Largest size of a file of this kind, in bytes.
const fn limit_of(kind: FileKind) -> usize {
    match kind {
        FileKind::Seed => MAX_SEED_FILE_BYTES,
        FileKind::Token => MAX_TOKEN_FILE_BYTES,
        FileKind::Endpoints | FileKind::Dns => MAX_ENDPOINTS_FILE_BYTES,
    }
}

/// Text of a file of at most `limit` bytes, with true if every user may read it.
fn bounded(path: &Path, limit: usize) -> io::Result<(String, bool)> {
    let (file, mode) = ordinary(path)?;
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes, which are the most")));
    }
    let text = String::from_utf8(bytes).map_err(|_| not_utf8())?;
    Ok((text, mode & READABLE_BY_OTHERS != 0))
}

/// Opens a regular file, and nothing that a reader may wait for without end; with its mode.
fn ordinary(path: &Path) -> io::Result<(File, u32)> {
    // Devices may do something when they are opened, and a socket cannot be.
    refuse_other_than_file(&fs::metadata(path)?)?;
    // Another file may have taken its place by now: a pipe is opened without a writer too, and looked at again.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    refuse_other_than_file(&metadata)?;
    Ok((file, metadata.permissions().mode()))
}

/// Refuses all but regular files.
fn refuse_other_than_file(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let name = if kind.is_file() {
        return Ok(());
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(io::Error::other(format!("it is {name}, and only regular files are read")))
}
