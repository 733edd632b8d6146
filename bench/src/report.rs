//! Makes one page with the figures of all measurements, for people who were not there.

mod data;
mod figures;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use guideway_report::page::{DataTable, Figure, Layout, Page};

use data::{Data, Environment, Origin};

/// Writes one HTML page with figures: throughput, latency, balance, disruption, drops
///
/// The measurements are made now, each in a process of its own, or taken from earlier outputs. The page needs
/// nothing but itself: no scripts, no fonts, no network.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File that the page is written to
    #[arg(short, long, default_value = "report.html")]
    output: PathBuf,
    /// Measures for seconds instead of minutes: a check that all of it works, not of its speed
    #[arg(long)]
    quick: bool,
    /// Compares conntrack tables too, which takes some minutes
    #[arg(long)]
    conntrack: bool,
    /// Files of JSON that pipeline, table, replay and conntrack printed, shown instead of new measurements
    #[arg(long, value_name = "FILE", value_delimiter = ',', conflicts_with_all = ["quick", "conntrack"])]
    from: Vec<PathBuf>,
}

/// Measures, or reads earlier measurements, and writes the page.
pub(crate) fn run(args: &Args) -> ExitCode {
    let written = args.data().and_then(|data| {
        let html = page_of(&data).html();
        fs::write(&args.output, html).map_err(|error| format!("{}: {error}", args.output.display()))
    });
    match written {
        Ok(()) => {
            eprintln!("written: {}", args.output.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Args {
    fn data(&self) -> Result<Data, String> {
        let mut data = Data::default();
        for path in &self.from {
            let printed = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            data.take(path.display().to_string(), &printed)?;
        }
        if self.from.is_empty() {
            for command in self.commands() {
                let name = format!("guideway-bench {}", command.join(" "));
                eprintln!("running: {name}");
                data.take(name, &printed(&command)?)?;
            }
        }
        Ok(data)
    }

    fn commands(&self) -> Vec<Vec<&'static str>> {
        let mut pipeline = vec!["pipeline", "--output", "json"];
        let mut table = vec!["table", "--json"];
        let mut replay = vec!["replay", "--output", "json"];
        let mut conntrack = vec!["conntrack", "--output", "json"];
        if self.quick {
            pipeline.push("--quick");
            table.extend(["--builds", "1"]);
            replay.extend(["--seconds", "0.5", "--flows", "5000"]);
            conntrack.push("--quick");
        }
        let mut commands = vec![pipeline, table, replay];
        if self.conntrack {
            commands.push(conntrack);
        }
        commands
    }
}

/// Runs a subcommand in a process of its own, which no other measurement has left memory in, and returns its output.
fn printed(arguments: &[&str]) -> Result<String, String> {
    let program = env::current_exe().map_err(|error| format!("this program has no file: {error}"))?;
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{arguments:?} does not run: {error}"))?;
    if !output.status.success() {
        return Err(format!("{arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{arguments:?}: {error}"))
}

fn page_of(data: &Data) -> Page {
    let all = || data.origins.iter().flat_map(|origin| &origin.environment.warnings);
    let mut warnings: Vec<String> = Vec::new();
    for Origin { name, environment } in &data.origins {
        for warning in &environment.warnings {
            // What holds for all measurements needs to be said once.
            let of_all = data.origins.len() > 1
                && all().filter(|other| *other == warning).count() == data.origins.len();
            let said = if of_all { warning.clone() } else { format!("{name}: {warning}") };
            if !warnings.contains(&said) {
                warnings.push(said);
            }
        }
    }
    let environment = Figure {
        id: "environment",
        title: "Environment",
        reading: String::new(),
        chart: String::new(),
        findings: Vec::new(),
        tables: vec![machines(&data.origins), runs(&data.origins)],
    };
    Page {
        title: "Guideway: measurements".to_owned(),
        lead: Vec::new(),
        highlights: figures::highlights(data),
        notes_of: "Read these figures with care:",
        notes: warnings,
        figures: figures::all(data).into_iter().chain([environment]).collect(),
    }
}

/// Makes the table of machines and builds that were measured, as a rule one of each.
fn machines(origins: &[Origin]) -> DataTable {
    let mut distinct: Vec<&Environment> = Vec::new();
    for Origin { environment, .. } in origins {
        let known =
            |other: &&Environment| other.machine == environment.machine && other.build == environment.build;
        if !distinct.iter().any(known) {
            distinct.push(environment);
        }
    }
    let mut rows = Vec::new();
    for Environment { machine, build, .. } in distinct {
        let or_none = |words: String| if words.is_empty() { "none".to_owned() } else { words };
        let profile = if build.optimized { "optimised" } else { "not optimised" };
        let lines = [
            ("processor", machine.cpu.clone()),
            ("cores", machine.cores.to_string()),
            ("features", or_none(machine.features.join(", "))),
            ("caches", or_none(machine.caches.join(", "))),
            ("kernel", machine.kernel.clone()),
            ("transparent huge pages", machine.transparent_huge_pages.clone()),
            ("free pages of hugetlbfs", or_none(machine.free_huge_pages.join(", "))),
            ("build", format!("{}, {profile}", build.rustc)),
            ("features taken for granted", or_none(build.target_features.join(", "))),
        ];
        rows.extend(lines.into_iter().map(|(what, value)| vec![what.to_owned(), value]));
    }
    DataTable {
        caption: "Machine and build".to_owned(),
        header: vec!["what", "value"],
        rows,
        numbers: 0..0,
        layout: Layout::Plain,
    }
}

/// Makes the table of the measurements, with their commands and the other load on the machine.
fn runs(origins: &[Origin]) -> DataTable {
    let percent =
        |share: Option<f64>| share.map_or_else(|| "unknown".to_owned(), |share| format!("{share:.1} %"));
    let row = |Origin { name, environment }: &Origin| {
        vec![
            name.clone(),
            format!("{:.1}", environment.seconds),
            format!("{:.2}", environment.load_before),
            percent(environment.others_percent),
            percent(environment.stolen_percent),
        ]
    };
    DataTable {
        caption: "Measurements, and who else had the processors meanwhile".to_owned(),
        header: vec!["measurement", "seconds", "load before", "others", "stolen"],
        rows: origins.iter().map(row).collect(),
        numbers: 1..5,
        layout: Layout::Plain,
    }
}
