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

mod admin;
mod announcement;
mod backend_group;
mod backend_service;
mod checks;
mod engine;
mod forwarding_rule;
mod group_member;
mod health_check;
mod limits;
mod names;
mod network;
mod port;
mod report;
mod route;
mod schema;
mod written;

use std::sync::Arc;

use toml::de::DeTable;

use names::Scope;
use report::Report;
use written::field::{Field, Table, elements};
use written::file::ConfigFile;
use written::lengths;

pub use admin::{Admin, Metrics};
pub use announcement::{Announcement, AnnouncementPolicy, Hook};
pub use backend_group::{BackendGroup, Endpoint};
pub use backend_service::{BackendService, FailoverPolicy};
pub use engine::Engine;
pub use forwarding_rule::{ForwardingRule, Ports};
pub use group_member::GroupMember;
pub use health_check::{DnsQuery, Exchange, HealthCheck, HttpRequest, Probe, Transport};
pub use limits::{MAX_FILE_BYTES, MAX_IDLE_TIMEOUT_SEC, MAX_WEIGHT, MAX_WORKERS};
pub use network::{Conntrack, Fleet, MacAddress, Network};
pub use port::Port;
pub use report::{ConfigError, ConfigErrors};
pub use route::Route;
pub use schema::schema;
pub use written::choice::{DnsRcode, DnsType, NeighborReplies, ProxyHeader, RuleProtocol, ServiceProtocol};
pub use written::google_key::{is_of_google_alone, snake_case};
pub use written::vip_range::{UnreadableVip, VipRange};

/// A commented configuration with every table.
pub const EXAMPLE: &str = include_str!("../../default.toml");

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
    /// Addresses, MTU and ICMP errors of the appliance itself.
    pub network: Arc<Network>,
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
    /// Routes, in the order of the file.
    pub routes: Vec<Route>,
    /// Announcements, in the order of the file.
    pub announcements: Vec<Announcement>,
}

impl Config {
    /// Parses the text of a configuration file; `name` is what errors call it.
    ///
    /// # Errors
    ///
    /// All errors of the text at once. Text that is not TOML, or whose lists are beyond their limits, is looked into no
    /// further.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        let mut report = Report::default();
        let config = Self::read(text, &mut report);
        report.finish(name, text)?;
        Ok(config.expect("a configuration that is not read has errors"))
    }

    fn read(text: &str, report: &mut Report) -> Option<Self> {
        if text.len() > MAX_FILE_BYTES {
            let message = format!("a file of more than {MAX_FILE_BYTES} bytes, which are the most");
            report.error(&(0..0), message, "split the configuration over several appliances");
            return None;
        }
        let document = match DeTable::parse(text) {
            Ok(document) => document,
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                report.error(
                    &span,
                    format!("not TOML: {}", error.message()),
                    "see https://toml.io for the syntax",
                );
                return None;
            }
        };
        let file = Table::read(document.get_ref(), document.span(), report);
        Self::from_file(&file, report)
    }

    fn from_file(file: &ConfigFile, report: &mut Report) -> Option<Self> {
        if !lengths::check(file, report) {
            return None;
        }
        let scope = Scope::new(file, report);

        let engine = Engine::parse(&file.engine, report);
        let ports = each(&file.port, |port| Port::parse(port, report));
        let network = Network::parse(&file.network, report);
        let groups = each(&file.backend_group, |group| BackendGroup::parse(group, &file.network, report));
        let health_checks = each(&file.health_check, |check| HealthCheck::parse(check, report));
        let services = each(&file.backend_service, |service| BackendService::parse(service, &scope, report));
        let rules = each(&file.forwarding_rule, |rule| ForwardingRule::parse(rule, &scope, report));
        let routes = each(&file.route, |route| Route::parse(route, &scope, report));
        let announcements =
            each(&file.announcement, |announcement| Announcement::parse(announcement, &scope, report));

        checks::check(&scope, &rules, &announcements, report);

        Some(Self {
            engine: engine?,
            ports: all(ports)?,
            admin: Admin::parse(&file.admin)?,
            metrics: Metrics::parse(&file.metrics)?,
            network: Arc::new(network?),
            fleet: Fleet::parse(&file.fleet)?,
            conntrack: Conntrack::parse(&file.conntrack)?,
            rules: all(rules)?,
            services: all(services)?,
            groups: all(groups)?,
            health_checks: all(health_checks)?,
            routes: all(routes)?,
            announcements: all(announcements)?,
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
