//! Names: those of one kind of table are unique, and a reference finds the table that it names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::report::{Report, Span};
use super::written::field::{Field, closest, elements};
use super::written::file::{
    AccessListFile, AnnouncementFile, BackendGroupFile, BackendServiceFile, ConfigFile, EndpointFile,
    ForwardingRuleFile, HealthCheckFile, NetworkFile, PortFile, RouteFile,
};
use super::written::one_or_more::tables;
use super::written::value::Name;

/// A table of the file that has a name.
pub(super) trait Named {
    /// Word for such a table in prose.
    const NOUN: &'static str;

    /// Name of the table; none where it may be left out, and is.
    fn name(&self) -> Option<&Field<Name>>;
}

macro_rules! named {
    ($($file:ty, $noun:literal;)*) => {$(
        impl Named for $file {
            const NOUN: &'static str = $noun;

            fn name(&self) -> Option<&Field<Name>> {
                Some(&self.name)
            }
        }
    )*};
}

named! {
    ForwardingRuleFile, "forwarding rule";
    BackendServiceFile, "backend service";
    BackendGroupFile, "backend group";
    EndpointFile, "endpoint";
    HealthCheckFile, "health check";
    PortFile, "port";
    RouteFile, "route";
    AccessListFile, "access list";
    AnnouncementFile, "announcement";
}

impl Named for NetworkFile {
    const NOUN: &'static str = "network";

    fn name(&self) -> Option<&Field<Name>> {
        self.name.as_ref()
    }
}

/// Tables of one kind, found by name.
pub(super) struct Names<'f, T> {
    tables: &'f [Field<T>],
    indices: HashMap<&'f str, usize>,
}

impl<'f, T: Named> Names<'f, T> {
    /// Finds the names, and reports those that occur twice.
    pub(super) fn new(tables: &'f [Field<T>], report: &mut Report) -> Self {
        let mut indices = HashMap::new();
        for (i, table) in tables.iter().enumerate() {
            let Some(name) = table.get().and_then(T::name) else { continue };
            let Some(Name(text)) = name.get() else { continue };
            match indices.entry(text.as_str()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(i);
                }
                Entry::Occupied(first) => {
                    let message = format!("two {}s are named `{text}`", T::NOUN);
                    let first = tables[*first.get()].get().and_then(T::name);
                    let first = first.map(|first| (first.span(), "the first".to_owned()));
                    report.error_beside(name.span(), message, "rename one of them", first);
                }
            }
        }
        Self { tables, indices }
    }

    /// Finds the table of this name: its index, and the table as it is written.
    pub(super) fn find(&self, name: &Field<Name>) -> Option<(usize, &'f T)> {
        let index = *self.indices.get(name.get()?.0.as_str())?;
        Some((index, self.tables[index].get()?))
    }

    /// Finds the index of the table of this name, or reports that there is none.
    pub(super) fn resolve(&self, name: &Field<Name>, report: &mut Report) -> Option<usize> {
        let Name(text) = name.get()?;
        let index = self.indices.get(text.as_str()).copied();
        if index.is_none() {
            // Likeness to every other name takes long, and a full report shows no more of it.
            let likely = || closest(text, self.iter().map(|(known, _)| known));
            let help = match (!report.is_full()).then(likely).flatten() {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("add a {} of this name", T::NOUN),
            };
            report.error(name.span(), format!("no {} is named `{text}`", T::NOUN), help);
        }
        index
    }

    /// Tables with their names; those without a valid name are left out.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'f str, &'f T)> {
        self.tables.iter().filter_map(|table| Some((table.get()?.name()?.get()?.0.as_str(), table.get()?)))
    }
}

/// Tables that other tables of the file may refer to, found by name.
pub(super) struct Scope<'f> {
    pub(super) file: &'f ConfigFile,
    pub(super) rules: Names<'f, ForwardingRuleFile>,
    pub(super) services: Names<'f, BackendServiceFile>,
    pub(super) groups: Names<'f, BackendGroupFile>,
    pub(super) health_checks: Names<'f, HealthCheckFile>,
    pub(super) access_lists: Names<'f, AccessListFile>,
    pub(super) ports: Names<'f, PortFile>,
    pub(super) networks: NetworkNames<'f>,
}

/// Networks, found by name; at least one, as a file without any has one all of whose keys are their defaults.
pub(super) struct NetworkNames<'f> {
    tables: &'f [Field<NetworkFile>],
    names: Names<'f, NetworkFile>,
    /// True if what is written in their stead is neither a table nor a list of them.
    is_wrong: bool,
}

/// Name of a sole network that is given none: that of Google Cloud's network that every project begins with.
pub(super) const DEFAULT_NETWORK: &str = "default";

impl<'f> NetworkNames<'f> {
    fn new(file: &'f ConfigFile, report: &mut Report) -> Self {
        let tables = tables(&file.network);
        let is_wrong = file.network.as_ref().is_some_and(|written| written.get().is_none());
        Self { tables, names: Names::new(tables, report), is_wrong }
    }

    /// Number of networks.
    pub(super) fn count(&self) -> usize {
        self.tables.len().max(1)
    }

    /// Network with this index as it is written; none where it is not, or is wrong.
    pub(super) fn table(&self, index: usize) -> Option<&'f NetworkFile> {
        self.tables.get(index)?.get()
    }

    /// Span of the network with this index; it must be written.
    pub(super) fn span(&self, index: usize) -> &'f Span {
        self.tables[index].span()
    }

    /// True unless what is written of the network with this index is no table.
    pub(super) fn is_readable(&self, index: usize) -> bool {
        !self.is_wrong && self.tables.get(index).is_none_or(|table| table.get().is_some())
    }

    /// Networks as they are written, each with its index; those that are wrong are left out.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &'f NetworkFile)> {
        self.tables.iter().enumerate().filter_map(|(index, table)| Some((index, table.get()?)))
    }

    /// Finds the index of the network of this name, or reports that there is none; of the first, where no name is written.
    pub(super) fn resolve(&self, name: &Option<Field<Name>>, report: &mut Report) -> Option<usize> {
        let Some(name) = name else { return Some(0) };
        if self.is_default(name) { Some(0) } else { self.names.resolve(name, report) }
    }

    /// Finds the index of the network of this name; of the first, where no name is written.
    pub(super) fn find(&self, name: &Option<Field<Name>>) -> Option<usize> {
        let Some(name) = name else { return Some(0) };
        if self.is_default(name) { Some(0) } else { self.names.find(name).map(|(index, _)| index) }
    }

    /// Name of the network with this index.
    pub(super) fn name(&self, index: usize) -> &'f str {
        let written = self.table(index).and_then(|table| table.name.as_ref()?.get());
        written.map_or(DEFAULT_NETWORK, |name| &name.0)
    }

    /// True if this is the name of the sole network, which is given none.
    fn is_default(&self, name: &Field<Name>) -> bool {
        let is_unnamed = || self.table(0).is_none_or(|table| table.name.is_none());
        self.count() == 1 && is_unnamed() && name.get().is_some_and(|name| name.0 == DEFAULT_NETWORK)
    }
}

impl<'f> Scope<'f> {
    /// Finds the names, and reports those that occur twice, even of routes and announcements, which nothing refers to.
    pub(super) fn new(file: &'f ConfigFile, report: &mut Report) -> Self {
        Names::new(elements(&file.route), report);
        Names::new(elements(&file.announcement), report);
        Self {
            file,
            rules: Names::new(elements(&file.forwarding_rule), report),
            services: Names::new(elements(&file.backend_service), report),
            groups: Names::new(elements(&file.backend_group), report),
            health_checks: Names::new(elements(&file.health_check), report),
            access_lists: Names::new(elements(&file.access_list), report),
            ports: Names::new(elements(&file.port), report),
            networks: NetworkNames::new(file, report),
        }
    }
}
