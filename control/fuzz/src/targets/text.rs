//! No text of an operator, of a discovery tool or of an export makes its reader panic, and what is accepted reads as it was
//! written.

use guideway::api::request::{BackendName, CaptureReasons};
use guideway::offline::import::{ExportFile, Options, import};
use guideway_dataplane::delivery::DeliveryMode;
use guideway_model::config::{Config, fault_of_endpoints};
use guideway_model::flow_text::FlowText;

/// Runs the target on these bytes.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(flow) = text.parse::<FlowText>() {
        let shown = flow.to_string();
        let again: FlowText = shown.parse().unwrap_or_else(|error| panic!("{shown}: {error}"));
        assert_eq!(again.0, flow.0, "{shown}");
    }
    if let Ok(name) = text.parse::<BackendName>() {
        assert_eq!(name.to_string(), text);
    }
    let _ = text.parse::<CaptureReasons>();
    // A place is always of the text.
    let _ = fault_of_endpoints(text);
    let options = Options { delivery: DeliveryMode::L2, ipv4_address: None, ipv6_address: None };
    let file = ExportFile { name: "export.yaml".to_owned(), text: text.to_owned() };
    if let Ok(imported) = import(&[file], &options) {
        assert!(Config::parse("imported.toml", &imported.text).is_ok(), "{}", imported.text);
    }
}
