#!/usr/bin/env bash
# Builds the image `guideway` from this checkout: the binary with this machine's Rust, then docker/Dockerfile around it.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --bin guideway
context=$(mktemp -d)
trap 'rm -r "$context"' EXIT
cp target/release/guideway docker/Dockerfile "$context"
docker build --tag guideway "$context"
