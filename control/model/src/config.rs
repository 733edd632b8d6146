//! The configuration: TOML as an operator writes it, parsed into a [`Config`] that is valid by construction.
//!
//! ```text
//!  text ─▶ written ─▶ names ─▶ a file for each noun ─▶ checks ─▶ Config
//!             │         │               │                 │
//!             └─────────┴───────┬───────┴─────────────────┘
//!                               ▼
//!                        limits, report
//! ```
//!
//! - `written` reads TOML into tables of fields: each key's type, bounds and default are stated there, in
//!   `written/file.rs`, and [`schema()`] describes the same tables to editors.
//! - `names` finds the tables that others refer to.
//! - A file for each noun parses its tables into the type that the rest of the program sees, and holds the rules that
//!   concern one table.
//! - `checks` holds the rules that concern several tables.
//!
//! Each may import what stands left of it or below it, and nothing that stands right of it. Among the nouns, a service
//! may look at its groups, and a rule at its service, never the other way round.

mod access_list;
mod admin;
mod announcement;
mod backend_group;
mod backend_service;
mod checks;
mod endpoints_dns;
mod endpoints_file;
mod engine;
mod forwarding_rule;
mod group_member;
mod health_check;
mod include;
mod joined;
mod limits;
mod link;
mod mention;
mod names;
mod nesting;
mod network;
mod port;
mod report;
mod route;
mod schema;
mod secret;
mod source;
mod written;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use names::Scope;
use report::Report;
use written::field::{Field, Table, elements};
use written::file::ConfigFile;
use written::lengths;

pub use access_list::AccessList;
pub use admin::{AccessToken, Admin, Metrics};
pub use announcement::{Announcement, AnnouncementPolicy, Hook};
pub use backend_group::{BackendGroup, Endpoint};
pub use backend_service::{BackendService, FailoverPolicy};
pub use endpoints_dns::DnsQuestion;
pub use endpoints_file::fault_of_endpoints;
pub use engine::Engine;
pub use forwarding_rule::{ForwardingRule, Ports};
pub use group_member::GroupMember;
pub use health_check::{DnsQuery, Exchange, HealthCheck, HttpRequest, Probe, Transport};
pub use limits::{
    MAX_ENDPOINTS_FILE_BYTES, MAX_FILE_BYTES, MAX_IDLE_TIMEOUT_SEC, MAX_INCLUDED_FILES, MAX_SEED_FILE_BYTES,
    MAX_TOKEN_FILE_BYTES, MAX_WEIGHT, MAX_WORKERS,
};
pub use mention::Mentions;
pub use network::{Conntrack, Fleet, MacAddress, Network};
pub use port::Port;
pub use report::{ConfigError, ConfigErrors};
pub use route::Route;
pub use schema::schema;
pub use secret::mask_secrets;
pub use source::{FileKind, Include, IncludedFile, NamedFile, Remark, Source, Sources};
pub use written::choice::{
    DnsRcode, DnsType, EndpointsRecord, NeighborReplies, ProxyHeader, RuleProtocol, ServiceProtocol,
};
pub use written::google_key::{is_of_google_alone, snake_case};
pub use written::group_name::UserGroup;
pub use written::vip_range::{UnreadableVip, VipRange};

/// A commented configuration with every table.
pub const EXAMPLE: &str = include_str!("../../default.toml");

/// The least configuration that an appliance can run: one port, rule, service, group and health check.
pub const MINIMAL: &str = include_str!("../../minimal.toml");

/// A whole configuration whose every rule has been checked; references are indices into its lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Cores and memory that the engine uses.
    pub engine: Engine,
    /// Devices that packets come and go by, in the order of the file.
    pub ports: Vec<Port>,
    /// Admin API of the running appliance.
    pub admin: Admin,
    /// Exporter of metrics for Prometheus.
    pub metrics: Metrics,
    /// Networks that the appliance is attached to, in the order of the file; at least one.
    pub networks: Vec<Arc<Network>>,
    /// Settings that all appliances of a fleet share.
    pub fleet: Fleet,
    /// Size of the conntrack table.
    pub conntrack: Conntrack,
    /// Forwarding rules, in the order of the file.
    pub rules: Vec<ForwardingRule>,
    /// Backend services, in the order of the file.
    pub services: Vec<BackendService>,
    /// Backend groups, in the order of the file.
    pub groups: Vec<BackendGroup>,
    /// Health checks, in the order of the file.
    pub health_checks: Vec<HealthCheck>,
    /// Access lists, in the order of the file.
    pub access_lists: Vec<AccessList>,
    /// Routes, in the order of the file.
    pub routes: Vec<Route>,
    /// Announcements, in the order of the file.
    pub announcements: Vec<Announcement>,
    /// Remarks on the files themselves, none of which makes the configuration wrong.
    pub remarks: Vec<Remark>,
}

impl Config {
    /// Parses the text of a configuration file that names no other files; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// All errors of the text at once. Text that is not TOML, or whose lists are beyond their limits, is looked into no
    /// further.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        Self::parse_sources(&Sources::of_text(name, text))
    }

    /// Parses a configuration with the files that it names.
    ///
    /// # Errors
    ///
    /// Every error of the texts at once, as [`Config::parse`] returns them.
    pub fn parse_sources(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut report = Report::default();
        let config = Self::read(sources, &mut report);
        report.finish(&sources.texts())?;
        Ok(config.expect("a configuration that is not read has errors"))
    }

    /// Parses a configuration that an appliance is to run: one with a port, which captures do without.
    ///
    /// # Errors
    ///
    /// Every error of the texts at once.
    pub fn parse_to_run(sources: &Sources) -> Result<Self, ConfigErrors> {
        let config = Self::parse_sources(sources)?;
        if !config.ports.is_empty() {
            return Ok(config);
        }
        let mut report = Report::default();
        let what = if config.rules.is_empty() {
            "neither a port nor a forwarding rule"
        } else {
            "no port to forward by"
        };
        report.error(&(0..0), format!("there is {what}"), "add a `[[port]]` with its `device`");
        report.finish(&sources.texts())?;
        Ok(config)
    }

    fn read(sources: &Sources, report: &mut Report) -> Option<Self> {
        if sources.bytes() > MAX_FILE_BYTES {
            let what = if sources.is_one_file() { "a file" } else { "files that together are" };
            let message = format!("{what} of more than {MAX_FILE_BYTES} bytes, which are the most");
            report.error(&(0..0), message, "split the configuration over several appliances");
            return None;
        }
        let document = joined::parse(&sources.texts()[..sources.files().count()], report)?;
        let mut file = Table::read(document.get_ref(), document.span(), report);
        let mut remarks = Vec::new();
        if !include::check(&file, sources, &mut remarks, report) {
            return None;
        }
        endpoints_file::fill(&mut file, sources, &mut remarks, report);
        Self::from_file(&file, sources, remarks, report)
    }

    fn from_file(
        file: &ConfigFile,
        sources: &Sources,
        mut remarks: Vec<Remark>,
        report: &mut Report,
    ) -> Option<Self> {
        if !lengths::check(file, report) {
            return None;
        }
        let scope = Scope::new(file, report);

        let engine = Engine::parse(&file.engine, report);
        let ports = each(&file.port, |port| Port::parse(port, report));
        let networks = network::parse(&scope, report);
        let groups = each(&file.backend_group, |group| BackendGroup::parse(group, &scope, report));
        let health_checks = each(&file.health_check, |check| HealthCheck::parse(check, report));
        let services = each(&file.backend_service, |service| BackendService::parse(service, &scope, report));
        let rules = each(&file.forwarding_rule, |rule| ForwardingRule::parse(rule, &scope, report));
        let access_lists = each(&file.access_list, |list| AccessList::parse(list, report));
        let routes = each(&file.route, |route| Route::parse(route, &scope, report));
        let announcements =
            each(&file.announcement, |announcement| Announcement::parse(announcement, &scope, report));

        let fleet = Fleet::parse(&file.fleet, sources, &mut remarks, report);
        let metrics = Metrics::parse(&file.metrics, sources, &mut remarks, report);
        let conntrack = Conntrack::parse(&file.conntrack, report);

        checks::check(&scope, &rules, &announcements, report);

        Some(Self {
            engine: engine?,
            ports: all(ports)?,
            admin: Admin::parse(&file.admin)?,
            metrics: metrics?,
            networks: all(networks)?.into_iter().map(Arc::new).collect(),
            fleet: fleet?,
            conntrack: conntrack?,
            rules: all(rules)?,
            services: all(services)?,
            groups: all(groups)?,
            health_checks: all(health_checks)?,
            access_lists: all(access_lists)?,
            routes: all(routes)?,
            announcements: all(announcements)?,
            remarks,
        })
    }
}

/// The appliance's place on a link of a network: a port, untagged or in a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkLink<'c> {
    /// Index of the network in [`Config::networks`].
    pub network: usize,
    /// Index of the port in [`Config::ports`].
    pub port: usize,
    /// VLAN whose tag the link's frames have; [`None`] if they are untagged.
    pub vlan: Option<u16>,
    /// Addresses of the appliance on the link, each with the length of the link's prefix.
    pub addresses: &'c [IpNet],
    /// Router on the link to all other IPv4 destinations.
    pub ipv4_gateway: Option<IpAddr>,
    /// Router on the link to all other IPv6 destinations.
    pub ipv6_gateway: Option<IpAddr>,
}

impl Config {
    /// True if the appliance is attached to more than one network, so that words about a packet or a rule name theirs.
    pub fn has_several_networks(&self) -> bool {
        self.networks.len() > 1
    }

    /// Network of this name, or the first without a name; [`None`] where there is no such network.
    pub fn network_named(&self, name: Option<&str>) -> Option<&Network> {
        let is_wanted = |network: &&Arc<Network>| name.is_none_or(|name| network.name == name);
        self.networks.iter().find(is_wanted).map(|network| &**network)
    }

    /// Links of all networks: of each in turn, in the order of its ports.
    pub fn links(&self) -> impl Iterator<Item = NetworkLink<'_>> {
        self.networks.iter().enumerate().flat_map(|(index, network)| self.links_of(index, network))
    }

    /// MAC address that the appliance is given on a port, in all networks there; [`None`] means the device's own.
    pub fn mac_of_port(&self, port: usize) -> Option<MacAddress> {
        let mut there = self.links().filter(|link| link.port == port);
        there.find_map(|link| self.networks[link.network].mac_address)
    }

    fn links_of<'c>(&'c self, index: usize, network: &'c Network) -> impl Iterator<Item = NetworkLink<'c>> {
        let ports = self.ports.iter().enumerate();
        let own = ports.filter(|(port, _)| network.port.is_none_or(|own| own == *port));
        own.map(move |(port, at)| match network.vlan {
            None => NetworkLink {
                network: index,
                port,
                vlan: None,
                addresses: &at.addresses,
                ipv4_gateway: at.ipv4_gateway,
                ipv6_gateway: at.ipv6_gateway,
            },
            vlan => NetworkLink {
                network: index,
                port,
                vlan,
                addresses: &network.addresses,
                ipv4_gateway: network.ipv4_gateway,
                ipv6_gateway: network.ipv6_gateway,
            },
        })
    }
}

impl BackendService {
    /// Endpoints of all groups of the service, in the order of the file.
    pub fn endpoints<'a>(&'a self, config: &'a Config) -> impl Iterator<Item = &'a Endpoint> {
        self.members.iter().flat_map(|member| &config.groups[member.group].endpoints)
    }
}

/// A list of tables as it is written, such as `[[port]]`.
type Tables<T> = Option<Field<Vec<Field<T>>>>;

/// Parses each table of a list; those that are wrong keep their index in it.
fn each<T, U>(tables: &Tables<T>, mut parse: impl FnMut(&T) -> Option<U>) -> Vec<Option<U>> {
    elements(tables).iter().map(|table| parse(table.get()?)).collect()
}

/// The list, if every table of it could be parsed.
fn all<T>(parsed: Vec<Option<T>>) -> Option<Vec<T>> {
    parsed.into_iter().collect()
}
