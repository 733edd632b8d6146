//! Backend services of Google Cloud.

use super::directory::Directory;
use super::resource::{Fields, Kind, Resource};
use super::table::{Section, Table, WhenRefused, quoted};

/// Makes the table of a backend service.
pub(super) fn table(mut resource: Resource, directory: &Directory) -> Table {
    let name = directory.name_of(&resource);
    let network = directory.networks().first_of(Kind::BackendService, &name);
    let mut table = Table::begin(&mut resource, directory, "backend_service");
    let fields = &mut resource.fields;
    let own = table.own();
    let scheme = scheme(fields);
    own.text("load_balancing_scheme", scheme.clone(), WhenRefused::Table);
    own.text("protocol", fields.scalar("protocol"), WhenRefused::Table);
    own.text("session_affinity", fields.scalar("session_affinity"), WhenRefused::Line);
    own.text("locality_lb_policy", fields.scalar("locality_lb_policy"), WhenRefused::Line);
    let missing_check = health_checks(fields, directory, own);
    let members = backends(fields, network, directory, own);
    let parts = [tracking(fields), draining(fields), failover(fields), subsetting(fields)];
    for fields in members {
        table.rest(fields);
    }
    for (section, fields) in parts.into_iter().flatten() {
        table.rest(fields);
        if !section.lines.is_empty() {
            table.sections.push(section);
        }
    }
    table.rest(resource.fields);
    if let Some(scheme) = scheme.filter(|scheme| is_of_proxies(scheme)) {
        table.leave_out(format!("`{scheme}` is the scheme of a proxy, and Guideway passes packets on"));
    } else if let Some(missing) = missing_check {
        table.leave_out(format!("its health check `{missing}` is not among the files"));
    }
    table
}

/// Takes the scheme, by the name that passthrough load balancers have for it.
pub(super) fn scheme(fields: &mut Fields) -> Option<String> {
    let scheme = fields.scalar("load_balancing_scheme")?;
    Some(if scheme == "EXTERNAL_PASSTHROUGH" { "EXTERNAL".to_owned() } else { scheme })
}

/// True of a scheme whose load balancers end connections.
pub(super) fn is_of_proxies(scheme: &str) -> bool {
    scheme.ends_with("_MANAGED")
}

/// Writes the health checks, and returns a reference to one that is not there.
fn health_checks(fields: &mut Fields, directory: &Directory, own: &mut Section) -> Option<String> {
    let references = fields.scalars("health_checks");
    let resolve = |reference: &String| directory.resolve(Kind::HealthCheck, reference);
    let names = references.iter().map(|reference| quoted(resolve(reference).unwrap_or(reference)));
    let list = format!("health_checks = [{}]", names.collect::<Vec<_>>().join(", "));
    own.line(list, WhenRefused::Table);
    references.iter().find(|reference| resolve(reference).is_none()).cloned()
}

/// Writes the backends, and returns what is left of each.
fn backends(
    fields: &mut Fields,
    network: Option<&str>,
    directory: &Directory,
    own: &mut Section,
) -> Vec<Fields> {
    let mut backends = fields.objects("backends");
    backends.extend(fields.objects("backend"));
    own.line("backends = [".to_owned(), WhenRefused::Table);
    for backend in &mut backends {
        let reference = backend.scalar("group").unwrap_or_default();
        let group = directory.resolve(Kind::BackendGroup, &reference).unwrap_or(&reference);
        let mut member = format!("group = {}", quoted(&directory.networks().group_in(group, network)));
        if backend.scalar("failover").is_some_and(|failover| failover == "true") {
            member += ", failover = true";
        }
        if let Some(description) = backend.scalar("description").filter(|text| !text.is_empty()) {
            member += &format!(", description = {}", quoted(&description));
        }
        own.line(format!("    {{ {member} }},"), WhenRefused::Line);
    }
    own.line("]".to_owned(), WhenRefused::Table);
    backends
}

/// A section of a service, and what is left of the object that it is made of.
type Part = Option<(Section, Fields)>;

fn tracking(fields: &mut Fields) -> Part {
    let mut policy = fields.object("connection_tracking_policy")?;
    let mut section = Section::new("[backend_service.connection_tracking_policy]");
    let line = WhenRefused::Line;
    section.text("tracking_mode", policy.scalar("tracking_mode"), WhenRefused::Table);
    let persistence = "connection_persistence_on_unhealthy_backends";
    section.text(persistence, policy.scalar(persistence), line.clone());
    section.bare("idle_timeout_sec", policy.scalar("idle_timeout_sec"), line);
    Some((section, policy))
}

fn draining(fields: &mut Fields) -> Part {
    // Terraform's has no table around it.
    let alone = fields.scalar("connection_draining_timeout_sec");
    let mut draining = fields.object("connection_draining").or(alone.as_ref().map(|_| Fields::default()))?;
    let mut section = Section::new("[backend_service.connection_draining]");
    let timeout = draining.scalar("draining_timeout_sec").or(alone);
    section.bare("draining_timeout_sec", timeout, WhenRefused::Line);
    Some((section, draining))
}

fn failover(fields: &mut Fields) -> Part {
    let mut policy = fields.object("failover_policy")?;
    let mut section = Section::new("[backend_service.failover_policy]");
    for key in ["failover_ratio", "drop_traffic_if_unhealthy", "disable_connection_drain_on_failover"] {
        section.bare(key, policy.scalar(key), WhenRefused::Line);
    }
    Some((section, policy))
}

/// Subsets; without a size, which Google Cloud has for proxies and service meshes alone, the parser refuses the table, and
/// says how to choose one.
fn subsetting(fields: &mut Fields) -> Part {
    let mut subsetting = fields.object("subsetting")?;
    let mut section = Section::new("[backend_service.subsetting]");
    let policy = subsetting.scalar("policy").filter(|policy| policy != "NONE");
    section.text("policy", policy, WhenRefused::Line);
    section.bare("subset_size", subsetting.scalar("subset_size"), WhenRefused::Line);
    Some((section, subsetting))
}
