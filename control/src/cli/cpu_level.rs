//! Levels of x86-64 processors: a release has a binary for all of them and one for x86-64-v3, and the first hands over to
//! the second where that can run.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Version of the program, with the level that it is built for unless it runs on all processors.
pub(super) const VERSION: &str = if cfg!(target_feature = "avx2") {
    concat!(env!("CARGO_PKG_VERSION"), " (x86-64-v3)")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Name of the binary for x86-64-v3, which lies beside this one.
const FASTER: &str = "guideway-x86-64-v3";

/// Environment variable that keeps to this binary, set to `x86-64`.
const LEVEL: &str = "GUIDEWAY_CPU";

/// Replaces this process by the binary for the processor's level, if there is one; its decisions are the same.
///
/// Returns where this binary is the one to run.
pub(super) fn hand_over() {
    if cfg!(target_feature = "avx2") || !has_v3() || env::var_os(LEVEL).is_some_and(|level| level == "x86-64")
    {
        return;
    }
    let Some(faster) = faster() else { return };
    let error = replace_by(&faster);
    complain!("warning: {}: {error}; going on with the binary for all processors", faster.display());
}

/// Path of the binary for x86-64-v3, if it is there and another than this one.
fn faster() -> Option<PathBuf> {
    let own = env::current_exe().ok()?;
    let path = own.with_file_name(FASTER);
    // A binary under that name which is for all processors would hand over to itself for ever.
    (path != own && path.is_file()).then_some(path)
}

/// Replaces this process, with its arguments and its environment; returns why it could not be.
fn replace_by(binary: &Path) -> io::Error {
    let mut arguments = env::args_os();
    let mut command = Command::new(binary);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).exec()
}

/// True if the processor and the system have all that x86-64-v3 asks for.
fn has_v3() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("movbe")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}
