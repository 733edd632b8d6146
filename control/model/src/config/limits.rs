//! The limits of a configuration, each chosen so that the whole of it fits what the data plane can hold.

/// Bytes of a configuration file.
pub const MAX_FILE_BYTES: usize = 16 << 20;
/// Forwarding rules.
pub(super) const MAX_RULES: usize = 4_096;
/// Backend services.
pub(super) const MAX_SERVICES: usize = 512;
/// Backend groups.
pub(super) const MAX_GROUPS: usize = 4_096;
/// Health checks.
pub(super) const MAX_HEALTH_CHECKS: usize = 1_024;
/// Routes.
pub(super) const MAX_ROUTES: usize = 4_096;
/// Announcements.
pub(super) const MAX_ANNOUNCEMENTS: usize = 256;
/// Words of an announcement's command.
pub(super) const MAX_ARGUMENTS: usize = 16;
/// The largest `min_healthy`: as many backends as a service may have.
pub(super) const MAX_MIN_HEALTHY: u32 = MAX_ENDPOINTS_OF_A_SERVICE as u32;
/// Ports of the appliance.
pub(super) const MAX_APPLIANCE_PORTS: usize = 16;
/// The appliance's own addresses on one port.
pub(super) const MAX_ADDRESSES_OF_A_PORT: usize = 64;
/// Workers.
pub(super) const MAX_WORKERS: usize = 64;
/// Bytes of a Unix socket's path: `sun_path` of unix(7), with its NUL.
pub(super) const MAX_SOCKET_PATH: usize = 107;
/// Ports that a rule may list, as in Google Cloud.
pub(super) const MAX_PORTS: usize = 5;
/// Prefixes of a rule's `source_ip_ranges`, as in Google Cloud.
pub(super) const MAX_SOURCE_RANGES: usize = 64;
/// Prefixes of `region_ranges`.
pub(super) const MAX_REGION_RANGES: usize = 256;
/// Primary groups of a service, and failover groups too, as in Google Cloud.
pub(super) const MAX_MEMBERS_OF_A_KIND: usize = 50;
/// Endpoints of a group.
pub(super) const MAX_ENDPOINTS_OF_A_GROUP: usize = 1_000;
/// Endpoints of a service. All services at this limit take half of the backend handles; the other half is for those
/// that drain.
pub(super) const MAX_ENDPOINTS_OF_A_SERVICE: usize = 1_000;

/// The smallest MTU: every IPv4 host takes packets of 576 bytes (RFC 791).
pub(super) const MIN_MTU: u32 = 576;
/// The largest MTU: that of jumbo frames.
pub(super) const MAX_MTU: u32 = 9_216;
/// The smallest MTU of a path that carries IPv6 (RFC 8200, section 5).
pub(super) const IPV6_MIN_MTU: u16 = 1_280;
/// The fewest host bits of a tunnel source range: with less, outer addresses hardly differ.
pub(super) const MIN_ENTROPY_BITS: u8 = 8;
/// The smallest conntrack table.
pub(super) const MIN_ENTRIES: u32 = 1 << 10;
/// The largest conntrack table.
pub(super) const MAX_ENTRIES: u32 = 1 << 30;
/// Largest weight of a backend, as in Google Cloud.
pub const MAX_WEIGHT: u16 = 1_000;
/// The longest draining, as in Google Cloud.
pub(super) const MAX_DRAINING_TIMEOUT_SEC: u32 = 3_600;
/// The idle timeout of external services, as in Google Cloud.
pub(super) const EXTERNAL_IDLE_TIMEOUT_SEC: u32 = 60;
/// The idle timeout of internal services unless it is raised, as in Google Cloud.
pub(super) const INTERNAL_IDLE_TIMEOUT_SEC: u32 = 600;
/// The longest idle timeout, as in Google Cloud.
pub const MAX_IDLE_TIMEOUT_SEC: u32 = 57_600;

const _: () = assert!(
    2 * MAX_SERVICES * MAX_ENDPOINTS_OF_A_SERVICE
        <= guideway_dataplane::backend::BackendHandle::LIMIT as usize
);
