//! Endpoints from a file that has failed, and by a name that is gone.

use guideway::api::view::{EndpointsDns, EndpointsFile};

pub(super) fn endpoints_files() -> Vec<EndpointsFile> {
    vec![EndpointsFile {
        path: "/run/discovery/web.json".into(),
        backend_groups: vec!["web".into()],
        loaded_at_unix_sec: 1_790_000_000,
        last_error: Some("it has no target".into()),
    }]
}

pub(super) fn endpoints_dns() -> Vec<EndpointsDns> {
    vec![EndpointsDns {
        name: "spare.example.com".into(),
        record: "A".into(),
        servers: vec!["192.0.2.53:53".into()],
        backend_groups: vec!["spare".into()],
        answered_at_unix_sec: Some(1_790_000_000),
        last_error: Some("there is no such name (NXDOMAIN)".into()),
    }]
}
