//! Binds those parts of the libdpdk that pkg-config finds that capsule calls.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use bindgen::callbacks::{EnumVariantValue, ParseCallbacks};

const REMEDY: &str = "install Debian's libdpdk-dev, pkg-config, clang and libclang-dev; of several versions \
     of clang, name the one that is to read DPDK's headers: LIBCLANG_PATH=/usr/lib/llvm-14/lib";

/// Gives an enumeration's values the names that they had in DPDK 19.11.
#[derive(Debug)]
struct OldNames;

impl ParseCallbacks for OldNames {
    fn enum_variant_name(&self, _: Option<&str>, name: &str, _: EnumVariantValue) -> Option<String> {
        name.strip_prefix("RTE_").filter(|old| old.starts_with("ETH_MQ_")).map(str::to_owned)
    }
}

fn main() {
    for path in ["build.rs", "src/shim.h", "src/shim.c"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let cflags = pkg_config("--cflags");

    // Before the libraries: a linker resolves the shim's symbols from what comes after it.
    cc::Build::new().file("src/shim.c").flags(&cflags).warnings(false).compile("capsule_dpdk_shim");
    for flag in pkg_config("--libs") {
        if let Some(library) = flag.strip_prefix("-l") {
            println!("cargo::rustc-link-lib={library}");
        } else if let Some(path) = flag.strip_prefix("-L") {
            println!("cargo::rustc-link-search=native={path}");
        }
    }

    bindgen::Builder::default()
        .header("src/shim.h")
        .clang_args(&cflags)
        .parse_callbacks(Box::new(OldNames))
        .use_core()
        .generate_comments(false)
        .layout_tests(false)
        .derive_default(true)
        .constified_enum_module("rte_eth_rx_mq_mode")
        .allowlist_function(
            "rte_(eal_cleanup|strerror|socket_(count|id|id_by_idx)|pktmbuf_pool_create|mempool_free\
             |eth_dev_(get_port_by_name|info_get|configure|start|stop|close|socket_id|adjust_nb_rx_tx_desc)\
             |eth_((rx|tx)_queue_setup|macaddr_get|(promiscuous|allmulticast)_(en|dis)able))",
        )
        .allowlist_function("_rte_.*")
        .allowlist_type("rte_(cpuset_t|eth_rx_mq_mode)")
        .allowlist_var("RTE_MBUF_DEFAULT_BUF_SIZE|ETH_RSS_.*|DEV_TX_OFFLOAD_MBUF_FAST_FREE")
        .generate()
        .unwrap_or_else(|error| panic!("DPDK's headers cannot be read ({error}): {REMEDY}"))
        .write_to_file(PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs"))
        .expect("cargo's output directory can be written");
}

/// Asks pkg-config for its flags for libdpdk.
fn pkg_config(what: &str) -> Vec<String> {
    let output = Command::new("pkg-config").args([what, "libdpdk >= 22.11"]).output();
    let output = output.unwrap_or_else(|error| panic!("pkg-config does not run ({error}): {REMEDY}"));
    assert!(output.status.success(), "{}{REMEDY}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}
