#!/usr/bin/env bash
# Makes the Debian package target/debian/guideway_*.deb of the working tree. With paths, of these binaries: the one for
# every processor, and the one for x86-64-v3; without, both are built.
#   control/package/build.sh [BINARY BINARY_V3]
# Needs cargo-deb (`cargo install cargo-deb`), and what a build with the feature `dpdk` needs.
set -euo pipefail
cd "$(dirname "$0")/../.."
made=target/package
rm -rf "$made"
mkdir -p "$made/man" target/release

if [ $# -eq 2 ]; then
  [ "$1" -ef target/release/guideway ] || cp "$1" target/release/guideway
  cp "$2" "$made/guideway-x86-64-v3"
else
  cargo build --release --locked -p guideway --features dpdk
  RUSTFLAGS="-C target-cpu=x86-64-v3" \
    cargo build --release --locked -p guideway --features dpdk --target-dir target/x86-64-v3
  cp target/x86-64-v3/release/guideway "$made/guideway-x86-64-v3"
fi
strip "$made/guideway-x86-64-v3"

guideway=target/release/guideway
export GUIDEWAY_CPU=x86-64
"$guideway" man --out "$made/man"
for shell in bash zsh fish; do
  "$guideway" completions "$shell" > "$made/guideway.$shell"
done
cargo deb --no-build --strip --quiet --package guideway
