//! Health checks of Google Cloud, the legacy ones among them.

use guideway_model::config::snake_case;

use super::directory::Directory;
use super::resource::{Fields, Resource};
use super::table::{Section, Table, WhenRefused};

/// Types of health checks, each with the key of the object that has its parameters.
const TYPES: [(&str, &str); 8] = [
    ("TCP", "tcp_health_check"),
    ("SSL", "ssl_health_check"),
    ("HTTP", "http_health_check"),
    ("HTTPS", "https_health_check"),
    ("HTTP2", "http2_health_check"),
    ("GRPC", "grpc_health_check"),
    ("GRPC_WITH_TLS", "grpc_tls_health_check"),
    ("UDP", "udp_health_check"),
];

/// Makes the table of a health check.
pub(super) fn table(mut resource: Resource, directory: &Directory) -> Table {
    let mut table = Table::begin(&mut resource, directory, "health_check");
    let fields = &mut resource.fields;
    let own = table.own();
    let legacy = fields.peek("kind").map(|kind| snake_case(kind.rsplit('#').next().unwrap_or_default()));
    let legacy = TYPES.iter().find(|(_, key)| legacy.as_deref() == Some(key)).map(|(kind, _)| *kind);
    let inferred = legacy.or(TYPES.iter().find(|(_, key)| fields.has(key)).map(|(kind, _)| *kind));
    let kind = fields.scalar("type").or(inferred.map(str::to_owned));
    own.text("type", kind.clone(), WhenRefused::Table);
    for key in ["check_interval_sec", "timeout_sec", "healthy_threshold", "unhealthy_threshold"] {
        own.bare(key, fields.scalar(key), WhenRefused::Line);
    }
    if legacy.is_some() {
        parameters(fields, own);
    } else if let Some((_, key)) = TYPES.iter().find(|(known, _)| kind.as_deref() == Some(known))
        && let Some(mut of_type) = fields.object(key)
    {
        parameters(&mut of_type, own);
        table.rest(of_type);
    }
    table.rest(resource.fields);
    table
}

/// Writes the parameters that depend on the type. What a type does not have, Google Cloud does not give it.
fn parameters(fields: &mut Fields, own: &mut Section) {
    let port = fields.scalar("port").filter(|port| port != "0");
    if port.is_none() && fields.peek("port_specification").is_some_and(|port| port != "USE_FIXED_PORT") {
        own.remark(
            "not carried over: the serving port: a check here has a port of its own, the type's by default",
        );
    }
    own.bare("port", port, WhenRefused::Table);
    for key in ["host", "request_path", "request", "response", "proxy_header", "grpc_service_name"] {
        let text = fields.scalar(key).filter(|text| !text.is_empty());
        own.text(key, text, WhenRefused::Line);
    }
}
