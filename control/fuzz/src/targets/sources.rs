//! No configuration that comes in a request, with whatever files it names, makes its reader panic; an error is located in a
//! file that was brought along, and can be shown.

use guideway_model::config::{Config, Sources};

/// Runs the target on the JSON of a request.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(sources) = serde_json::from_slice::<Sources>(bytes) else { return };
    let again = serde_json::to_vec(&sources).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<Sources>(&again).ok().as_ref(), Some(&sources));
    let Err(errors) = Config::parse_to_run(&sources) else { return };
    assert!(!errors.render(false).is_empty() && !errors.errors().is_empty());
    for error in errors.errors() {
        assert!(error.line >= 1 && error.column >= 1 && !error.message.is_empty());
    }
}
