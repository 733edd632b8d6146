//! Choice of the configuration that a verb goes by: a file, that of `run` unless another is named, or the embedded example.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args as Arguments;
use guideway::config_file;
use guideway_model::config::{Config, EXAMPLE, Source, Sources};

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

impl ConfigArgs {
    /// Reads the texts of the configuration; what is wrong goes to standard error.
    pub(super) fn sources(&self) -> Result<Sources, Exit> {
        if self.demo {
            return Ok(Sources::of_text("the embedded example", EXAMPLE));
        }
        read(&self.config)
    }

    /// Reads the configuration, with its name; its errors go to standard error.
    pub(super) fn config(&self, color: bool) -> Result<(Config, String), Exit> {
        let sources = self.sources()?;
        let config = parsed(&sources, color)?;
        Ok((config, sources.main.name))
    }
}

/// Reads the texts of a configuration, of a file or of standard input for `-`, and tells its name.
pub(super) fn try_read(path: &Path) -> (Cow<'_, str>, io::Result<Sources>) {
    if path != Path::new("-") {
        return (path.to_string_lossy(), config_file::read(path));
    }
    let name = "standard input";
    let main = |text| Source { name: name.to_owned(), text };
    // The files that it names are where the command is given.
    let named = |text| config_file::with_named(main(text), Path::new(""));
    (name.into(), config_file::text_of(io::stdin().lock()).map(named))
}

/// Reads the texts of a configuration like [`try_read`]; what is wrong goes to standard error.
pub(super) fn read(path: &Path) -> Result<Sources, Exit> {
    let (name, sources) = try_read(path);
    sources.map_err(|error| {
        let help = if path == Path::new(DEFAULT_CONFIG) {
            ": `--config FILE` names another, and `--demo` goes by the embedded example"
        } else {
            ""
        };
        complain!("error: cannot read {name}: {error}{help}");
        Exit::Usage
    })
}

/// Parses a configuration; its errors go to standard error.
pub(super) fn parsed(sources: &Sources, color: bool) -> Result<Config, Exit> {
    Config::parse_sources(sources).map_err(|errors| {
        complain_text!("{}", errors.render(color));
        Exit::Config
    })
}

/// Parses a configuration that an appliance could start with; its errors go to standard error.
pub(super) fn parsed_to_run(sources: &Sources, color: bool) -> Result<Config, Exit> {
    Config::parse_to_run(sources).map_err(|errors| {
        complain_text!("{}", errors.render(color));
        Exit::Config
    })
}

/// First line of what a verb prints for people: the configuration that it goes by.
pub(super) fn headline(name: &str) -> String {
    format!("configuration: {name}\n")
}

/// Name of the configuration of a running appliance.
pub(super) fn running(path: &str, generation: u64) -> String {
    format!("{path} (number {generation} of the running appliance)")
}
