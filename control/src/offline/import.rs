//! Import: an export of Google Cloud's passthrough load balancers becomes a configuration.
//!
//! ```text
//!  text ─▶ document ─▶ resource ─▶ a file for each noun ─▶ acceptance ─▶ TOML with remarks
//!          (JSON, YAML)    │          │        │           (what `check` refuses is left out)
//!                          ▼          ▼        ▼
//!                      directory   left_out  table
//! ```
//!
//! Google Cloud's names are Guideway's, so most of it is a change of case. What has no counterpart becomes a remark at
//! its place; what the configuration's parser refuses becomes a comment, with the parser's words.

mod acceptance;
mod backend_group;
mod backend_service;
mod directory;
mod document;
mod forwarding_rule;
mod health_check;
mod left_out;
mod network;
mod resource;
mod route;
mod table;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guideway_dataplane::delivery::DeliveryMode;

use directory::Directory;
use network::Networks;
use resource::{Fields, Kind, Resource};
use table::{Table, comment, quoted};

/// File of an export.
#[derive(Clone, Debug)]
pub struct ExportFile {
    /// Name of the file, by which errors call it; a list of endpoints belongs to the group of this name.
    pub name: String,
    /// Text of the file, JSON or YAML.
    pub text: String,
}

/// Settings of the configuration that no export has.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Delivery mode of every backend group.
    pub delivery: DeliveryMode,
    /// IPv4 address of the appliance: source of tunnels over IPv4.
    pub ipv4_address: Option<Ipv4Addr>,
    /// IPv6 address of the appliance: source of tunnels over IPv6.
    pub ipv6_address: Option<Ipv6Addr>,
}

impl Options {
    /// True if packets can be delivered to an address: on the link, or from a tunnel's source of its family.
    fn has_source_to(&self, address: IpAddr) -> bool {
        let source =
            if address.is_ipv4() { self.ipv4_address.is_some() } else { self.ipv6_address.is_some() };
        self.delivery == DeliveryMode::L2 || source
    }
}

/// Configuration that an export has become.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Text of the configuration: valid TOML, with a remark at the place of everything that is not carried over.
    pub text: String,
    /// Remarks that tell of a loss, each with the resource that it is about.
    pub remarks: Vec<String>,
    /// Number of fields that were left out without a loss.
    pub idle_fields: usize,
    /// Word for each kind of table, with the numbers of those that are carried over and of all.
    pub tables: Vec<(&'static str, usize, usize)>,
}

/// Reason why an export does not become a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// A file is neither JSON nor YAML.
    Unreadable {
        /// Name of the file.
        file: String,
        /// Reason of the reader.
        reason: String,
    },
    /// No file holds a resource of a load balancer.
    Empty,
    /// The configuration is refused by something else than what was imported, such as the appliance's own address.
    Refused(String),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, reason } => write!(f, "cannot read {file}: {reason}"),
            Self::Empty => f.write_str(
                "no backend services, forwarding rules, health checks, groups or routes in what was given",
            ),
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for ImportError {}

/// Makes a configuration of the files of an export.
///
/// # Errors
///
/// [`ImportError`] if a file cannot be read, or nothing in them is of a load balancer. Resources that are wrong are no
/// error: they are left out, with a remark.
pub fn import(files: &[ExportFile], options: &Options) -> Result<Imported, ImportError> {
    let (mut resources, mut unknown) = (Vec::new(), Vec::new());
    for ExportFile { name, text } in files {
        let unreadable = |reason| ImportError::Unreadable { file: name.clone(), reason };
        for value in document::read(text).map_err(unreadable)? {
            let mut kinds = Vec::new();
            resource::find(value, name, &mut resources, &mut kinds);
            unknown.extend(kinds.into_iter().map(|kind| format!("left out: {kind} in {name}")));
        }
    }
    leave_out_repeated(&mut resources);
    let mut directory = Directory::new(&resources);
    let mut tables = tables(resources, &mut directory, options);
    if tables.is_empty() {
        return Err(ImportError::Empty);
    }
    let networks = directory.networks();
    let head = head(&unknown, networks, options);
    let text = acceptance::settle(&head, &mut tables).map_err(ImportError::Refused)?;
    let of_table = |table: &Table| {
        let losses = table.losses();
        losses.into_iter().map(|remark| format!("{}: {remark}", table.title)).collect::<Vec<_>>()
    };
    let losses = tables.iter().flat_map(of_table);
    let of_networks = networks.iter().map(|(.., remark)| remark);
    Ok(Imported {
        text,
        remarks: unknown.iter().cloned().chain(of_networks).chain(losses).collect(),
        idle_fields: tables.iter().map(|table| table.idle_fields.len()).sum(),
        tables: ORDER.map(|kind| numbers(kind, &tables)).to_vec(),
    })
}

/// Kinds of tables, in their order in the configuration.
const ORDER: [Kind; 5] =
    [Kind::ForwardingRule, Kind::BackendService, Kind::BackendGroup, Kind::HealthCheck, Kind::Route];

fn numbers(kind: Kind, tables: &[Table]) -> (&'static str, usize, usize) {
    let of_kind = || tables.iter().filter(|table| table.kind == kind);
    (kind.noun(), of_kind().filter(|table| !table.is_left_out).count(), of_kind().count())
}

/// Leaves out resources that several files hold alike.
fn leave_out_repeated(resources: &mut Vec<Resource>) {
    let mut seen: BTreeMap<(Kind, String), Vec<Fields>> = BTreeMap::new();
    resources.retain(|resource| {
        let alike = seen.entry((resource.kind, resource.name.clone())).or_default();
        let is_new = resource.kind == Kind::Endpoint || !alike.contains(&resource.fields);
        if is_new && resource.kind != Kind::Endpoint {
            alike.push(resource.fields.clone());
        }
        is_new
    });
}

/// Makes a table of each resource, and of each group that services or lists of endpoints alone tell of.
fn tables(resources: Vec<Resource>, directory: &mut Directory, options: &Options) -> Vec<Table> {
    let (listed, resources): (Vec<_>, Vec<_>) =
        resources.into_iter().partition(|resource| resource.kind == Kind::Endpoint);
    let mut endpoints: BTreeMap<String, Vec<Fields>> = BTreeMap::new();
    for endpoint in listed {
        endpoints.entry(endpoint.stem).or_default().push(endpoint.fields);
    }
    let missing: Vec<_> = directory.missing_groups().iter().map(|name| Resource::group(name)).collect();
    let mut tables = Vec::new();
    for resource in resources.into_iter().chain(missing) {
        match resource.kind {
            Kind::HealthCheck => tables.push(health_check::table(resource, directory)),
            Kind::BackendGroup => {
                // By the name in the configuration: groups of several zones may have one in Google Cloud.
                let others = endpoints.remove(&directory.name_of(&resource)).unwrap_or_default();
                tables.extend(backend_group::tables(&resource, &others, directory, options));
            }
            Kind::BackendService => tables.push(backend_service::table(resource, directory)),
            Kind::ForwardingRule => tables.push(forwarding_rule::table(resource, directory)),
            Kind::Route => tables.push(route::table(resource, directory)),
            Kind::Instance | Kind::Endpoint => {}
        }
    }
    for (stem, endpoints) in endpoints {
        for mut table in backend_group::tables(&Resource::group(&stem), &endpoints, directory, options) {
            table.own().remark("no service refers to a group of this name, which is the file's");
            tables.push(table);
        }
    }
    tables.iter_mut().for_each(Table::finish);
    tables.sort_by_key(|table| ORDER.iter().position(|kind| *kind == table.kind));
    tables
}

/// Lines that stand above all tables.
fn head(unknown: &[String], networks: &Networks, options: &Options) -> String {
    let mut lines = vec![
        "# Made by `guideway import gcloud`. Lines that begin with `# remark:` say what was not carried over.".to_owned(),
    ];
    lines.extend(unknown.iter().map(|remark| comment(remark)));
    let ipv4 = options.ipv4_address.map(|address| format!("ipv4_address = \"{address}\""));
    let ipv6 = options.ipv6_address.map(|address| format!("ipv6_address = \"{address}\""));
    let own: Vec<String> = ipv4.into_iter().chain(ipv6).collect();
    let mut several = networks.iter().peekable();
    if several.peek().is_none() && !own.is_empty() {
        lines.extend([String::new(), "[network]".to_owned()]);
        lines.extend(own.iter().cloned());
    }
    for (name, vlan, remark) in several {
        lines.extend([String::new(), comment(&remark), "[[network]]".to_owned()]);
        lines.extend([format!("name = {}", quoted(name)), format!("vlan = {vlan}")]);
        lines.extend(own.iter().cloned());
    }
    lines.join("\n")
}
