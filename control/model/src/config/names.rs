//! Names: those of one kind of table are unique, and a reference finds the table that it names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::report::Report;
use super::written::field::{Field, closest, elements};
use super::written::file::{
    AnnouncementFile, BackendGroupFile, BackendServiceFile, ConfigFile, EndpointFile, ForwardingRuleFile,
    HealthCheckFile, PortFile, RouteFile,
};
use super::written::value::Name;

/// A table of the file that has a name.
pub(super) trait Named {
    /// Word for such a table in prose.
    const NOUN: &'static str;

    /// Name of the table.
    fn name(&self) -> &Field<Name>;
}

macro_rules! named {
    ($($file:ty, $noun:literal;)*) => {$(
        impl Named for $file {
            const NOUN: &'static str = $noun;

            fn name(&self) -> &Field<Name> {
                &self.name
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
    AnnouncementFile, "announcement";
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
            let Some(name) = table.get().map(T::name) else { continue };
            let Some(Name(text)) = name.get() else { continue };
            match indices.entry(text.as_str()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(i);
                }
                Entry::Occupied(first) => {
                    let message = format!("two {}s are named `{text}`", T::NOUN);
                    let first =
                        tables[*first.get()].get().map(|first| (first.name().span(), "the first".to_owned()));
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
        self.tables.iter().filter_map(|table| Some((table.get()?.name().get()?.0.as_str(), table.get()?)))
    }
}

/// Tables that other tables of the file may refer to, found by name.
pub(super) struct Scope<'f> {
    pub(super) file: &'f ConfigFile,
    pub(super) rules: Names<'f, ForwardingRuleFile>,
    pub(super) services: Names<'f, BackendServiceFile>,
    pub(super) groups: Names<'f, BackendGroupFile>,
    pub(super) health_checks: Names<'f, HealthCheckFile>,
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
        }
    }
}
