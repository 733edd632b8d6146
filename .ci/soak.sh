#!/bin/sh
# Runs the chaos of the live tests in rounds with new seeds, as root: `.ci/soak.sh MINUTES`, a night by default. Each round is a line;
# the first fault ends it with the seed that repeats it (`GUIDEWAY_CHAOS_SEED`). docs/failure-modes.md says what is done.
set -eu
cd "$(dirname "$0")/.."
export GUIDEWAY_SOAK_MINUTES="${1:-480}"
exec cargo test -p guideway --features fault-injection --test live -- --test-threads=1 --nocapture chaos::chaos
