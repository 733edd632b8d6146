//! Reads the text of a configuration file, within the limit on its size.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use guideway_model::config::MAX_FILE_BYTES;

/// Reads the text of a configuration file. Of a file that is too large, only one byte more than the limit is
/// read, and [`Config::parse`](guideway_model::config::Config::parse) says so.
///
/// # Errors
/// Where the file cannot be read, or holds no UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        // The end may lie within a character.
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}
