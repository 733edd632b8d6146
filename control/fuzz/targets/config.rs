//! No text makes the configuration's parser panic, and its errors can always be shown.

#![no_main]

use guideway_model::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(errors) = Config::parse("fuzz.toml", text) {
        assert!(!errors.render(false).is_empty());
    }
});
