#!/bin/sh
# Counts instructions per packet under callgrind and compares with bench/instructions.toml; --update rewrites
# that file. Exits with 1 where a case needs more than its tolerance allows.
set -eu
cd "$(dirname "$0")/.."
# Another processor's instructions would be other counts.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
cargo build --release --quiet --locked -p guideway-bench --no-default-features
exec "${CARGO_TARGET_DIR:-target}/release/guideway-bench" instructions --baseline bench/instructions.toml "$@"
