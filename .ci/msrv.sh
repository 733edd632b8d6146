#!/bin/sh
# Checks that the Rust version is the same wherever it is stated, and that all targets compile with it, where it is
# installed.
set -eu
cd "$(dirname "$0")/.."

stated=$(
    find . -name target -prune -o -name Cargo.toml -exec grep -Ho '^rust-version = "[0-9.]*' {} +
    grep -Ho '^FROM rust:[0-9.]*' docker/Dockerfile || true
    grep -Ho '\[Rust\](https://rustup.rs) [0-9.]*' README.md || true
)
version=$(echo "$stated" | sed 's/.*[^0-9.]//' | sort -u)
if [ "$(echo "$version" | wc -l)" -ne 1 ]; then
    echo "error: the Rust version is not the same everywhere:" >&2
    echo "$stated" >&2
    exit 1
fi
echo "Rust $version is stated in $(echo "$stated" | wc -l) places"

toolchain=
case $(rustc --version) in
    "rustc $version "* | "rustc $version."[0-9]" "*) ;;
    *)
        for name in $(rustup toolchain list --quiet 2>/dev/null); do
            case $name in
                "$version"-* | "$version".*) toolchain=$name ;;
            esac
        done
        if [ -z "$toolchain" ]; then
            echo "SKIPPED: nothing was compiled with Rust $version, as it is not installed; $(rustc --version) is"
            exit 0
        fi
        ;;
esac
if [ -n "$toolchain" ]; then
    cargo "+$toolchain" check --locked --workspace --all-targets
else
    # Clippy compiles by the same Rust, and step `lints` has what it compiles.
    cargo clippy --locked --workspace --all-targets -- -D warnings
fi
