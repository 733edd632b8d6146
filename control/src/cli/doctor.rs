//! `guideway doctor`: what is wrong with this machine and its configuration, and which command mends it?

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args as Arguments;
use guideway::doctor::backend::{self, NotLooked};
use guideway::doctor::diagnose;
use guideway::doctor::facts::Facts;
use guideway::doctor::finding::Diagnosis;
use guideway::doctor::report::{self, Inputs, MAX_LOG_BYTES};
use guideway::doctor::text::text;
use guideway_model::config::Sources;

use super::config_choice::{parsed, try_read};
use super::{Exit, Output};

#[derive(Arguments)]
pub(super) struct Args {
    /// Configuration file that the machine is looked at for; `-` is standard input.
    #[arg(long, value_name = "FILE", default_value = super::config_choice::DEFAULT_CONFIG)]
    config: PathBuf,
    /// Admin socket of the running appliance, if it is not that of the configuration.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Probes a backend by hand instead, through each rule, and tells where it fails: `NAME`, or `SERVICE/NAME`.
    #[arg(long, value_name = "NAME", conflicts_with = "report")]
    backend: Option<String>,
    /// Writes a report of this machine for the project's matrix of devices; `-` is standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    report: Option<PathBuf>,
    /// Replaces addresses in the report by numbers.
    #[arg(long, requires = "report")]
    mask: bool,
    /// Log of the appliance's start for the report, its last 500 lines; without it, the journal's of the unit `guideway`.
    #[arg(long, value_name = "FILE", requires = "report")]
    log: Option<PathBuf>,
    /// Form of the result.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Texts of the configuration, or why they cannot be read, and the name that findings call it by.
struct Read {
    name: String,
    sources: io::Result<Sources>,
}

pub(super) fn run(args: &Args, color: bool) -> Exit {
    let (name, sources) = try_read(&args.config);
    let read = Read { name: name.into_owned(), sources };
    let look = Facts::look(&read.name, read.sources.as_ref(), args.socket.as_deref());
    let facts = match super::wait_for(look) {
        Ok(facts) => facts,
        Err(exit) => return exit,
    };
    let diagnosis = match &args.backend {
        None => diagnose(&facts),
        Some(name) => match diagnose_backend(&facts, name, &read, args.output, color) {
            Ok(diagnosis) => diagnosis,
            Err(exit) => return exit,
        },
    };
    if let Some(path) = &args.report {
        return report(args, path, read.sources, &facts, &diagnosis);
    }
    let printed = match args.output {
        Output::Table => super::print(&text(&diagnosis)),
        Output::Json => super::print_json(&diagnosis),
    };
    match printed {
        Exit::Success if diagnosis.faults > 0 => Exit::Faults,
        exit => exit,
    }
}

/// Probes the backends of a name by hand.
fn diagnose_backend(
    facts: &Facts,
    name: &str,
    read: &Read,
    output: Output,
    color: bool,
) -> Result<Diagnosis, Exit> {
    // A running appliance knows the backends; without one, the configuration alone does.
    match &read.sources {
        _ if facts.config.is_some() => {}
        Err(error) if facts.status.is_some() => {
            complain!("warning: cannot read {}, and so no health check: {error}", read.name);
        }
        Ok(_) if facts.status.is_some() => {
            complain!("warning: {} is wrong, and so no health check is known from it", read.name);
        }
        Err(error) => {
            complain!("error: cannot read {}: {error}; `--config FILE` names another", read.name);
            return Err(Exit::Usage);
        }
        Ok(sources) => parsed(sources, color).map(drop)?,
    }
    match super::wait_for(backend::look(facts, name))? {
        Ok(evidence) => Ok(Diagnosis::new(facts, evidence.iter().map(backend::verdict).collect())),
        Err(NotLooked::Appliance(error)) => Err(super::appliance::failed(&error, output)),
        Err(NotLooked::Unknown(names)) => {
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            complain!("error: no backend is named `{name}`; there are: {known}");
            Err(Exit::Failure)
        }
    }
}

/// Version of DPDK that the program was built with.
#[cfg(feature = "dpdk")]
fn dpdk() -> String {
    format!("built with {}", guideway_engine::driver::dpdk::version())
}

/// Version of DPDK that the program was built with: none.
#[cfg(not(feature = "dpdk"))]
fn dpdk() -> String {
    "built without it".to_owned()
}

/// Writes a report of the machine into a new file.
fn report(
    args: &Args,
    path: &Path,
    config: io::Result<Sources>,
    facts: &Facts,
    diagnosis: &Diagnosis,
) -> Exit {
    let said = |error: io::Error| error.to_string();
    let answers = match super::wait_for(report::answers(facts)) {
        Ok(answers) => answers,
        Err(exit) => return exit,
    };
    let log = match &args.log {
        Some(log) => report::read_log(log, MAX_LOG_BYTES).map_err(said),
        None => report::run("journalctl", &["-u", "guideway", "-b", "-n", "500", "--no-pager", "-o", "cat"]),
    };
    let inputs = Inputs { diagnosis, config: config.map_err(said), answers, log, dpdk: dpdk() };
    let text = report::write(Path::new("/"), report::run, &inputs, args.mask);
    if path == Path::new("-") {
        return super::print(&text);
    }
    // The last report may not have been sent yet: a file that exists is kept.
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    match file.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => super::print(&format!("{}: look through it before you send it\n", path.display())),
        Err(error) => {
            complain!("error: cannot write {}: {error}", path.display());
            Exit::Failure
        }
    }
}
