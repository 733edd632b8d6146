#!/bin/sh
# Fuzzes each target for SECONDS (60 by default) on the stable toolchain, from the captures and configurations in the
# repository. Exits with 1 upon a crash, whose input is then in fuzz-artifacts/: a capture, a configuration, a text, or bytes
# that the target makes steps of.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}

# Flags that cargo-fuzz would pass on nightly: coverage counters that libFuzzer reads. No address sanitizer, which is
# unstable; the targets' own assertions, overflow checks and the bounds checks of safe code find the faults.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
 -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions -Coverflow-checks"
export RUSTFLAGS
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target, build scripts and procedural macros go without these flags.
cargo build --release --locked --manifest-path control/fuzz/Cargo.toml --target "$host" --target-dir target/fuzz

corpus=target/fuzz-corpus
targets="pipeline capture config host_stack probe_tcp probe text"
for target in $targets; do mkdir -p fuzz-artifacts "$corpus/$target"; done
find pcap-fixtures engine/tests \( -name '*.pcap' -o -name '*.pcapng' \) -size -64k |
    while read -r seed; do
        cp "$seed" "$corpus/pipeline/seed-$(basename "$seed")"
        cp "$seed" "$corpus/capture/seed-$(basename "$seed")"
    done
find control -name '*.toml' ! -name Cargo.toml ! -path '*/target/*' |
    while read -r seed; do cp "$seed" "$corpus/config/seed-$(basename "$seed")"; done
find control/tests/import -type f -size -16k |
    while read -r seed; do cp "$seed" "$corpus/text/seed-$(basename "$seed")"; done

failed=0
for target in $targets; do
    echo "fuzzing $target for $seconds s"
    "target/fuzz/$host/release/$target" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 \
        -artifact_prefix="fuzz-artifacts/$target-" -print_final_stats=1 "$corpus/$target" >"target/fuzz-$target.log" 2>&1 ||
        failed=1
    grep -E 'panicked|ERROR|Test unit written|number_of_executed_units|new_units_added' "target/fuzz-$target.log" || true
done
exit $failed
