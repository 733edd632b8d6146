//! `guideway import`: the configuration of another load balancer, as a configuration of this one.

use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use clap::{Args as Arguments, Subcommand, ValueEnum};
use guideway::offline::import::{ExportFile, Imported, Options, import};
use guideway_dataplane::delivery::DeliveryMode;
use guideway_model::config::MAX_FILE_BYTES;

use super::visible::visible;
use super::{Exit, Output};

#[derive(Arguments)]
pub(super) struct Args {
    #[command(subcommand)]
    from: From,
}

#[derive(Subcommand)]
enum From {
    /// Turns an export of Google Cloud's passthrough load balancers into a configuration.
    Gcloud(GcloudArgs),
}

#[derive(Arguments)]
struct GcloudArgs {
    /// Files of the export, JSON or YAML: backend services, forwarding rules, health checks, groups with their endpoints,
    /// routes, instances; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// File for the configuration; without it, or with `-`, standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Delivery of packets to the endpoints of every group.
    #[arg(long, value_enum, default_value_t = Delivery::L2)]
    delivery: Delivery,
    /// IPv4 address of the appliance, source of tunnels over IPv4.
    #[arg(long, value_name = "ADDRESS")]
    ipv4_address: Option<Ipv4Addr>,
    /// IPv6 address of the appliance, source of tunnels over IPv6.
    #[arg(long, value_name = "ADDRESS")]
    ipv6_address: Option<Ipv6Addr>,
    /// Form of the remarks and the sum on standard error.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// Delivery of packets to endpoints.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Delivery {
    /// On the link.
    L2,
    /// In IP alone.
    Ipip,
    /// In GRE.
    Gre,
    /// In generic UDP encapsulation.
    Gue,
}

pub(super) fn run(args: &Args) -> Exit {
    let From::Gcloud(args) = &args.from;
    if args.delivery != Delivery::L2 && args.ipv4_address.is_none() && args.ipv6_address.is_none() {
        complain!("error: a tunnel needs a source: --ipv4-address, --ipv6-address or both");
        return Exit::Usage;
    }
    let files: Result<Vec<_>, _> = args.files.iter().map(|path| export_file(path)).collect();
    let files = match files {
        Ok(files) => files,
        Err(exit) => return exit,
    };
    let options = Options {
        delivery: args.delivery.mode(),
        ipv4_address: args.ipv4_address,
        ipv6_address: args.ipv6_address,
    };
    let imported = match import(&files, &options) {
        Ok(imported) => imported,
        Err(error) => {
            complain!("error: {error}");
            return Exit::Failure;
        }
    };
    let exit = match args.out.as_deref().filter(|path| *path != Path::new("-")) {
        None => super::print(&imported.text),
        Some(path) => match std::fs::write(path, &imported.text) {
            Ok(()) => Exit::Success,
            Err(error) => {
                complain!("error: cannot write {}: {error}", path.display());
                Exit::Failure
            }
        },
    };
    if exit == Exit::Success {
        match args.output {
            Output::Table => complain_text!("{}", visible(&summary(&imported))),
            Output::Json => complain!("{}", counts(&imported)),
        }
    }
    exit
}

impl Delivery {
    fn mode(self) -> DeliveryMode {
        match self {
            Self::L2 => DeliveryMode::L2,
            Self::Ipip => DeliveryMode::Ipip,
            Self::Gre => DeliveryMode::Gre,
            // The port that the configuration has by default.
            Self::Gue => DeliveryMode::Gue { dst_port: 6_080 },
        }
    }
}

/// Reads a file of the export, within the limit on a configuration's size, or prints an error to standard error.
fn export_file(path: &Path) -> Result<ExportFile, Exit> {
    let is_standard_input = path == Path::new("-");
    let text = if is_standard_input { standard_input() } else { guideway::config_file::read_text(path) };
    let name = if is_standard_input { "standard input".into() } else { path.to_string_lossy() };
    match text {
        Ok(text) if text.len() > MAX_FILE_BYTES => {
            complain!("error: cannot read {name}: more than {MAX_FILE_BYTES} bytes, which are the most");
            Err(Exit::Usage)
        }
        Ok(text) => Ok(ExportFile { name: name.into_owned(), text }),
        Err(error) => {
            complain!("error: cannot read {name}: {error}");
            Err(Exit::Usage)
        }
    }
}

fn standard_input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().lock().take(MAX_FILE_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Sums up an import: its remarks, a line each, and a line of numbers.
fn summary(imported: &Imported) -> String {
    let mut summary: String = imported.remarks.iter().map(|remark| format!("remark: {remark}\n")).collect();
    let tables = imported.tables.iter().filter(|(_, _, all)| *all > 0);
    let tables = tables.map(|(noun, kept, all)| format!("{kept} of {all} {noun}{}", plural(*all)));
    let remarks = imported.remarks.len();
    summary += &format!(
        "imported {}; {remarks} remark{}, and {} field{} without effect left out\n",
        tables.collect::<Vec<_>>().join(", "),
        plural(remarks),
        imported.idle_fields,
        plural(imported.idle_fields),
    );
    summary
}

/// Sums up an import for programs.
fn counts(imported: &Imported) -> serde_json::Value {
    let tables = imported.tables.iter().filter(|(_, _, all)| *all > 0);
    let table =
        |(noun, kept, all): &_| serde_json::json!({ "resource": noun, "imported": kept, "found": all });
    serde_json::json!({
        "tables": tables.map(table).collect::<Vec<_>>(),
        "remarks": imported.remarks.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "idle_fields": imported.idle_fields,
    })
}

fn plural(number: usize) -> &'static str {
    if number == 1 { "" } else { "s" }
}
