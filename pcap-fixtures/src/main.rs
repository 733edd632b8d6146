//! Writes all captures anew: `cargo run -p pcap-fixtures`.

use std::path::Path;
use std::{fs, io};

use pcap_fixtures::demo::demo;
use pcap_fixtures::fixture::Fixture;
use pcap_fixtures::readme;
use pcap_fixtures::scenarios::fixtures;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let captures = folder.join("captures");
    if captures.exists() {
        fs::remove_dir_all(&captures)?;
    }
    let fixtures = fixtures();
    for (path, bytes) in fixtures.iter().flat_map(Fixture::files) {
        let path = captures.join(path);
        if let Some(family) = path.parent() {
            fs::create_dir_all(family)?;
        }
        fs::write(path, bytes)?;
    }
    fs::write(folder.join("demo.in.pcap"), demo())?;
    let path = folder.join("README.md");
    let table = readme::with_table(&fs::read_to_string(&path)?, &fixtures);
    fs::write(path, table)
}
