//! The process around an appliance: its configuration file, its guard, the watch over its end, and its log.

use std::path::PathBuf;
use std::sync::Arc;

use guideway_model::config::Sources;

use crate::announce::{Guard, Messenger};
use crate::log::Log;

use super::aside::Aside;
use super::last_resort::LastResort;

/// The process around an appliance.
#[derive(Debug)]
pub struct Process {
    /// Path that a reload reads the configuration from.
    pub config_path: PathBuf,
    /// Texts that the configuration was read from; needed where it has files of endpoints, which are watched.
    pub sources: Option<Sources>,
    /// The process that withdraws announcements should this one fail to.
    pub guard: Option<Guard>,
    /// The watch that ends the process should a stop hang.
    pub last_resort: Option<LastResort>,
    /// The log, which knows how many of its lines were lost.
    pub log: Option<Log>,
    /// Way to read configurations, to make their lookup tables and to write the state file.
    pub aside: Aside,
    /// Messenger to the hooks; none where they are told themselves, by a thread of their own.
    pub messenger: Option<Arc<dyn Messenger>>,
}
