//! No text makes the configuration's parser panic, and its errors can always be shown.

use guideway_model::config::Config;

/// Runs the target on these bytes.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(errors) = Config::parse("fuzz.toml", text) {
        assert!(!errors.render(false).is_empty());
    }
}
