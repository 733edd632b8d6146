#!/bin/sh
# Checks the dependencies of every lock file against deny.toml: versions, licences, sources and, where the database of
# advisories can be had, advisories. Installs cargo-deny unless this version of it is there.
set -eu
cd "$(dirname "$0")/.."
version=0.20.2

if [ "$(cargo deny --version 2>/dev/null || true)" != "cargo-deny $version" ]; then
    # Not optimized: that takes minutes, and each check a second or two either way.
    cargo install --quiet --locked --debug --config profile.dev.debug=false "cargo-deny@$version"
fi

advisories=
if said=$(timeout 120 cargo deny --config deny.toml fetch db 2>&1); then
    advisories=advisories
fi

failed=0
for lock in $(find . -name target -prune -o -name Cargo.lock -print | sort); do
    manifest=${lock%lock}toml
    case $manifest in
        ./Cargo.toml) set -- $advisories bans licenses sources ;;
        # capsule 0.1.5 is of 2021 and has had no release since: its tree has many crates that the appliance has in newer
        # versions, and known advisories. Nothing of it is in the appliance.
        ./engine/capsule/*) set -- -A duplicate -A unmatched-skip -A unnecessary-skip bans licenses sources ;;
        # A smaller tree than deny.toml is written for.
        *) set -- -A unmatched-skip -A unnecessary-skip $advisories bans licenses sources ;;
    esac
    echo "dependencies of $manifest"
    # No tree has every licence that is allowed.
    cargo deny --locked --manifest-path "$manifest" --config deny.toml check -A license-not-encountered "$@" || failed=1
done
if [ -z "$advisories" ]; then
    echo "SKIPPED: advisories and withdrawn versions were not checked, as the database cannot be fetched here:"
    echo "$said"
fi
exit $failed
