//! The limits of a configuration, each chosen so that the whole of it fits what the data plane can hold.

/// Largest size of a configuration file, in bytes: 128 for each of as many backends as there may be.
pub const MAX_FILE_BYTES: usize = 128 << 20;
/// Largest number of patterns of `include`.
pub(super) const MAX_INCLUDES: usize = 64;
/// Largest number of files that the patterns of `include` match together.
pub const MAX_INCLUDED_FILES: usize = 4_096;
/// Largest size of a file of endpoints, in bytes: 4 KiB for each of as many as a group may have.
pub const MAX_ENDPOINTS_FILE_BYTES: usize = 4 << 20;
/// Largest size of a file that holds a seed, in bytes: its digits, with room for spaces around them.
pub const MAX_SEED_FILE_BYTES: usize = 1_024;

/// Largest size of a file of a token, in bytes.
pub const MAX_TOKEN_FILE_BYTES: usize = 1_024;
/// Largest number of forwarding rules.
pub(super) const MAX_RULES: usize = 16_384;
/// Largest number of backend services.
pub(super) const MAX_SERVICES: usize = 4_096;
/// Largest number of backend groups.
pub(super) const MAX_GROUPS: usize = 16_384;
/// Largest number of health checks.
pub(super) const MAX_HEALTH_CHECKS: usize = 1_024;
/// Largest number of access lists.
pub(super) const MAX_ACCESS_LISTS: usize = 1_024;
/// Largest number of prefixes that an access list allows, and that it denies.
pub(super) const MAX_ACCESS_LIST_ENTRIES: usize = 100_000;
/// Largest number of routes.
pub(super) const MAX_ROUTES: usize = 4_096;
/// Largest number of announcements.
pub(super) const MAX_ANNOUNCEMENTS: usize = 256;
/// Largest number of words of an announcement's command.
pub(super) const MAX_ARGUMENTS: usize = 16;
/// Longest `hold_down_sec`: an hour.
pub(super) const MAX_HOLD_DOWN_SEC: u32 = 3_600;

/// Largest `min_healthy`: as many backends as a service may have.
pub(super) const MAX_MIN_HEALTHY: u32 = MAX_ENDPOINTS_OF_A_SERVICE as u32;
/// Largest number of ports of the appliance.
pub(super) const MAX_APPLIANCE_PORTS: usize = 16;
/// Largest number of entries that a worker may be told to make in a second: more than a core can.
pub(super) const MAX_NEW_CONNECTIONS: u32 = 100_000_000;
/// Largest number of networks.
pub(super) const MAX_NETWORKS: usize = guideway_dataplane::ingress::MAX_NETWORKS;
/// Largest number of the appliance's addresses on one port, or in one VLAN.
pub(super) const MAX_ADDRESSES_OF_A_PORT: usize = 64;
/// Largest number of workers.
pub const MAX_WORKERS: usize = 64;
/// Longest path of a Unix socket, in bytes: `sun_path` of unix(7) without its NUL.
pub(super) const MAX_SOCKET_PATH: usize = 107;
/// Longest name of a network interface, in bytes: IFNAMSIZ of netdevice(7) without its NUL.
pub(super) const MAX_DEVICE_NAME: usize = 15;
/// Longest name of a BIRD protocol, in bytes: BIRD's parser takes no longer symbol.
pub(super) const MAX_PROTOCOL_NAME: usize = 64;
/// Longest text, such as one that a health check sends or expects, in bytes.
pub(super) const MAX_TEXT: usize = 1_024;
/// Longest description, in characters, as in Google Cloud.
pub(super) const MAX_DESCRIPTION: usize = 2_048;
/// Largest number of ports that a rule may list, as in Google Cloud.
pub(super) const MAX_PORTS: usize = 5;
/// Largest number of prefixes of a rule's `source_ip_ranges`, as in Google Cloud.
pub(super) const MAX_SOURCE_RANGES: usize = 64;
/// Largest number of prefixes of `region_ranges`.
pub(super) const MAX_REGION_RANGES: usize = 256;
/// Largest number of primary groups of a service, and of its failover groups, as in Google Cloud.
pub(super) const MAX_MEMBERS_OF_A_KIND: usize = 50;
/// Largest number of servers that are asked for the endpoints of a group, as in `/etc/resolv.conf`.
pub(super) const MAX_DNS_SERVERS: usize = 3;
/// Largest number of endpoints of a group.
pub(super) const MAX_ENDPOINTS_OF_A_GROUP: usize = 1_000;
/// Largest number of endpoints of a service.
pub(super) const MAX_ENDPOINTS_OF_A_SERVICE: usize = 1_000;
/// Largest number of backends, which are the endpoints of each service, added up over all services. They take half of the
/// backend handles that a conntrack entry can name; the other half is for those that drain.
pub(super) const MAX_BACKENDS: usize = 1 << 20;

/// Smallest MTU, in bytes: every IPv4 host takes packets of 576 bytes (RFC 791).
pub(super) const MIN_MTU: u32 = 576;
/// Largest MTU, in bytes: that of jumbo frames.
pub(super) const MAX_MTU: u32 = 9_216;
/// Smallest MTU of a path that carries IPv6 (RFC 8200, section 5).
pub(super) const IPV6_MIN_MTU: u16 = 1_280;
/// Fewest host bits of a tunnel source range: with fewer, outer addresses hardly differ.
pub(super) const MIN_ENTROPY_BITS: u8 = 8;
/// Smallest size of the conntrack table, in entries.
pub(super) const MIN_ENTRIES: u32 = 1 << 10;
/// Largest size of the conntrack table, in entries.
pub(super) const MAX_ENTRIES: u32 = 1 << 30;
/// Largest weight of a backend, as in Google Cloud.
pub const MAX_WEIGHT: u16 = 1_000;
/// Longest draining, in seconds, as in Google Cloud.
pub(super) const MAX_DRAINING_TIMEOUT_SEC: u32 = 3_600;

/// Largest number of backends in a subset: as many as a service may have.
pub(super) const MAX_SUBSET_SIZE: u32 = MAX_ENDPOINTS_OF_A_SERVICE as u32;
/// Idle timeout of external services, in seconds, as in Google Cloud.
pub(super) const EXTERNAL_IDLE_TIMEOUT_SEC: u32 = 60;
/// Idle timeout of internal services unless it is raised, in seconds, as in Google Cloud.
pub(super) const INTERNAL_IDLE_TIMEOUT_SEC: u32 = 600;
/// Longest idle timeout, in seconds, as in Google Cloud.
pub const MAX_IDLE_TIMEOUT_SEC: u32 = 57_600;

// Numbers of rules and services have 16 bits in the data plane.
const _: () = assert!(MAX_RULES <= u16::MAX as usize);
const _: () = assert!(MAX_SERVICES <= u16::MAX as usize);
const _: () = assert!(2 * MAX_BACKENDS <= guideway_dataplane::backend::BackendHandle::LIMIT as usize);
