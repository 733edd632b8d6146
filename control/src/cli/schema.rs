//! `guideway schema`: the JSON schema of the configuration, for editors.

use guideway_model::config;

use super::Exit;

pub(super) fn run() -> Exit {
    super::print(&config::schema())
}
