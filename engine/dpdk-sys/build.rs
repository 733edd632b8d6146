//! Binds the libdpdk that pkg-config finds: bindings for what is exported, a C shim for what is inline.
//!
//! Nothing is built where libdpdk is missing: the error says what to install.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, exit};

const MISSING_DPDK: &str = "install Debian's libdpdk-dev and pkg-config (22.11 or newer: \
     `apt-get install libdpdk-dev pkg-config`), or build without the feature `dpdk`";
const MISSING_CLANG: &str = "install `clang` and `libclang-dev`; where several versions are installed, name the one \
     that is to read DPDK's headers: `LIBCLANG_PATH=/usr/lib/llvm-14/lib`";

fn main() {
    for path in ["build.rs", "src/shim.h", "src/shim.c"] {
        println!("cargo::rerun-if-changed={path}");
    }
    for variable in ["PKG_CONFIG_PATH", "LIBCLANG_PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let cflags = pkg_config("--cflags");

    // Before the libraries: a linker resolves the shim's symbols from what comes after it.
    let mut shim = cc::Build::new();
    shim.file("src/shim.c").flags(&cflags).flag("-Wno-deprecated-declarations").warnings(false);
    if let Err(error) = shim.try_compile("guideway_dpdk_shim") {
        fail(&format!("the C shim does not compile: {error}"), MISSING_DPDK);
    }
    for flag in pkg_config("--libs") {
        if let Some(library) = flag.strip_prefix("-l") {
            println!("cargo::rustc-link-lib={library}");
        } else if let Some(path) = flag.strip_prefix("-L") {
            println!("cargo::rustc-link-search=native={path}");
        }
    }
    bind(&cflags);
}

/// Asks pkg-config for its flags for libdpdk.
fn pkg_config(what: &str) -> Vec<String> {
    match Command::new("pkg-config").args([what, "libdpdk >= 22.11"]).output() {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
        }
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            fail(said.lines().next().unwrap_or_default().trim_end_matches('.'), MISSING_DPDK)
        }
        Err(error) => fail(&format!("pkg-config does not run: {error}"), MISSING_DPDK),
    }
}

fn bind(cflags: &[String]) {
    let builder = bindgen::Builder::default()
        .header("src/shim.h")
        .clang_args(cflags)
        .use_core()
        .generate_comments(false)
        .layout_tests(false)
        .prepend_enum_name(false)
        .derive_default(true)
        // Versions of DPDK name its fields alike and keep them in different unions: `mbuf.rs` has their offsets.
        .opaque_type("rte_mbuf")
        .allowlist_type("guideway_mbuf_offset")
        .constified_enum("guideway_mbuf_offset")
        .allowlist_function(
            "rte_(eal_(init|cleanup|hotplug_remove)|dev_(probe|event_callback_register)|strerror\
             |thread_(un)?register|pktmbuf_pool_create|mempool_avail_count\
             |eth_dev_(get_port_by_name|info_get|configure|start|stop|close|socket_id|adjust_nb_rx_tx_desc|get_mtu|reset|callback_register\
                 |default_mac_addr_set|mac_addr_add|set_mc_addr_list|(get|set)_vlan_offload|vlan_filter|rss_(hash_conf_get|reta_(query|update)))\
             |hash_(create|free|add_key_data|lookup_bulk_data)\
             |eth_((rx|tx)_queue_setup|macaddr_get|promiscuous_enable|allmulticast_(en|dis)able|stats_get|xstats_get(_names)?|rx_queue_info_get))",
        )
        .allowlist_function("guideway_.*")
        .allowlist_var("guideway_.*|RTE_(HASH_EXTRA_FLAGS_RW_CONCURRENCY_LF|PKTMBUF_HEADROOM|VER_YEAR|VER_MONTH|MAX_ETHPORTS|ETH_MQ_RX_RSS|ETH_VLAN_FILTER_OFFLOAD)");
    let generated = match catch_unwind(AssertUnwindSafe(|| builder.generate())) {
        Ok(Ok(bindings)) => bindings,
        Ok(Err(error)) => fail(&format!("DPDK's headers cannot be read: {error}"), MISSING_CLANG),
        // bindgen panics where it finds no libclang, and has said so.
        Err(_) => fail("bindgen finds no libclang", MISSING_CLANG),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    if let Err(error) = generated.write_to_file(&out) {
        fail(&format!("{} cannot be written: {error}", out.display()), "make room");
    }
}

fn fail(what: &str, remedy: &str) -> ! {
    println!("cargo::error={what}: {remedy}");
    exit(1)
}
