//! Choice of the configuration that a verb goes by: a file, that of `run` unless another is named, or the embedded example.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args as Arguments;
use guideway::config_file;
use guideway_model::config::{Config, EXAMPLE, MAX_FILE_BYTES};

use super::Exit;

/// Configuration file that `run` reads, and every verb that reads one.
pub(super) const DEFAULT_CONFIG: &str = "/etc/guideway/guideway.toml";

#[derive(Arguments)]
pub(super) struct ConfigArgs {
    /// Configuration file; `-` is standard input.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    pub(super) config: PathBuf,
    /// Goes by the embedded example in place of a file.
    #[arg(long, conflicts_with = "config")]
    pub(super) demo: bool,
}

/// Text of a configuration, and the name that errors and first lines call it by.
pub(super) struct ConfigText {
    pub(super) name: String,
    pub(super) text: String,
}

impl ConfigArgs {
    /// Reads the text of the configuration; what is wrong goes to standard error.
    pub(super) fn text(&self) -> Result<ConfigText, Exit> {
        if self.demo {
            return Ok(ConfigText { name: "the embedded example".to_owned(), text: EXAMPLE.to_owned() });
        }
        read(&self.config)
    }

    /// Reads the configuration, with its name; its errors go to standard error.
    pub(super) fn config(&self, color: bool) -> Result<(Config, String), Exit> {
        let ConfigText { name, text } = self.text()?;
        let config = parsed(&name, &text, color)?;
        Ok((config, name))
    }
}

/// Reads the text of a file, or of standard input for `-`; what is wrong goes to standard error.
pub(super) fn read(path: &Path) -> Result<ConfigText, Exit> {
    let is_standard_input = path == Path::new("-");
    let text = if is_standard_input { standard_input() } else { config_file::read(path) };
    let name = if is_standard_input { "standard input".into() } else { path.to_string_lossy() };
    let name = name.into_owned();
    match text {
        Ok(text) => Ok(ConfigText { name, text }),
        Err(error) => {
            let help = if path == Path::new(DEFAULT_CONFIG) {
                ": `--config FILE` names another, and `--demo` goes by the embedded example"
            } else {
                ""
            };
            complain!("error: cannot read {name}: {error}{help}");
            Err(Exit::Usage)
        }
    }
}

/// Parses a configuration; its errors go to standard error.
pub(super) fn parsed(name: &str, text: &str, color: bool) -> Result<Config, Exit> {
    Config::parse(name, text).map_err(|errors| {
        complain_text!("{}", errors.render(color));
        Exit::Config
    })
}

/// Reads standard input, one byte more than a configuration may have at most, so that a longer one is refused.
pub(super) fn standard_input() -> io::Result<String> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Ok(String::from_utf8_lossy(&bytes).into_owned());
    }
    String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// First line of what a verb prints for people: the configuration that it goes by.
pub(super) fn headline(name: &str) -> String {
    format!("configuration: {name}\n")
}

/// Name of the configuration of a running appliance.
pub(super) fn running(path: &str, generation: u64) -> String {
    format!("{path} (number {generation} of the running appliance)")
}
