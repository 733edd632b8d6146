#!/bin/sh
# Fuzzes on the stable toolchain. `.ci/fuzz.sh [SECONDS [TARGET...]]` fuzzes each target for SECONDS (60 by default), as many at
# once as there are processors, from the kept inputs and the captures, configurations and exports in the repository. Exits with 1
# upon a crash, whose input is then in fuzz-artifacts/; control/fuzz/crashes/README.md says how it becomes a test.
# `.ci/fuzz.sh --minimize [TARGET...]` chooses anew which inputs are kept in control/fuzz/corpus/, out of all that were found.
# With FUZZ_ASAN=0, and where the toolchain has no runtime for it, without AddressSanitizer.
set -eu
cd "$(dirname "$0")/.."

# Kept of a target: so many inputs, of so many bytes each and together; control/fuzz/tests/kept_inputs.rs holds the sizes.
max_inputs=150
max_input_bytes=4096
max_target_bytes=131072

minimize=
seconds=60
case ${1-} in
    --minimize) minimize=1 && shift ;;
    [0-9]*) seconds=$1 && shift ;;
esac
targets=${*:-$(sed -n 's/^ *Target { name: "\([a-z_0-9]*\)".*/\1/p' control/fuzz/src/targets.rs)}

host=$(rustc -vV | sed -n 's/^host: //p')
# Flags that cargo-fuzz would pass on nightly: coverage counters that libFuzzer reads.
FUZZ_FLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
 -Cllvm-args=-sanitizer-coverage-trace-compares"
# Stable toolchains have the sanitizer's runtime, and take its flag when they are told that they may.
asan=$(rustc --print sysroot)/lib/rustlib/$host/lib/librustc-stable_rt.asan.a
if [ "${FUZZ_ASAN:-1}" != 0 ] && [ -e "$asan" ]; then
    FUZZ_FLAGS="$FUZZ_FLAGS -Zsanitizer=address"
    RUSTFLAGS="--cfg fuzzing --cfg asan"
else
    echo "without AddressSanitizer"
    RUSTFLAGS="--cfg fuzzing"
fi
# Flags of another way would go before these.
unset CARGO_ENCODED_RUSTFLAGS
export FUZZ_FLAGS RUSTFLAGS
export RUSTC_WORKSPACE_WRAPPER="$PWD/.ci/fuzz-rustc.sh"
cargo build --profile fuzz --locked -p guideway-fuzz --features libfuzzer --bin fuzz \
    --target "$host" --target-dir target/fuzz
fuzzer=target/fuzz/$host/fuzz/fuzz

# Inputs of the repository, copied as libFuzzer takes folders.
seeds=target/fuzz-seeds
rm -rf "$seeds"
mkdir -p fuzz-artifacts "$seeds"
for target in $targets; do mkdir -p "$seeds/$target" "target/fuzz-corpus/$target" "control/fuzz/corpus/$target"; done
seed() {
    [ ! -d "$seeds/$1" ] || while read -r file; do cp "$file" "$seeds/$1/$(echo "$file" | tr / -)"; done
}
for target in pipeline capture; do
    find pcap-fixtures engine/tests \( -name '*.pcap' -o -name '*.pcapng' \) -size -64k | seed $target
done
find control pcap-fixtures -name '*.toml' ! -name Cargo.toml ! -path '*/target/*' ! -path 'control/fuzz/*' | seed config
find control/tests/import \( -name '*.json' -o -name '*.yaml' \) -size -16k | seed text

# Limits of one run of a target.
limits="-max_len=16384 -timeout=20 -rss_limit_mb=3072"

if [ -n "$minimize" ]; then
    for target in $targets; do
        kept=control/fuzz/corpus/$target chosen=target/fuzz-chosen/$target
        rm -rf "$chosen"
        mkdir -p "$chosen"
        cp -r "$seeds/$target/." "$chosen"
        # Small inputs first: each stays if it reaches what no seed and no smaller one does.
        FUZZ_TARGET=$target "$fuzzer" $limits -merge=1 "$chosen" "$kept" "target/fuzz-corpus/$target" \
            >"target/fuzz-$target.log" 2>&1 || { tail -n 20 "target/fuzz-$target.log" && exit 1; }
        (cd "$seeds/$target" && find . -type f) | (cd "$chosen" && xargs -r -d '\n' rm -f)
        rm -rf "$kept"
        mkdir -p "$kept"
        number=0 bytes=0
        for input in $(find "$chosen" -type f -size -$((max_input_bytes + 1))c -printf '%s %f\n' | sort -n | cut -d' ' -f2); do
            number=$((number + 1)) bytes=$((bytes + $(stat -c %s "$chosen/$input")))
            if [ $number -gt $max_inputs ] || [ $bytes -gt $max_target_bytes ]; then break; fi
            cp "$chosen/$input" "$kept/"
        done
        echo "$target: $(find "$kept" -type f | wc -l) of $(find "$chosen" -type f | wc -l) inputs are kept"
    done
    exit
fi

export fuzzer limits seconds seeds
failed=0
echo "$targets" | xargs -n 1 -P "$(nproc)" sh -c '
    crashes=control/fuzz/crashes/$0
    FUZZ_TARGET=$0 "$fuzzer" $limits -max_total_time="$seconds" -artifact_prefix="fuzz-artifacts/$0-" -print_final_stats=1 \
        "target/fuzz-corpus/$0" "control/fuzz/corpus/$0" "$seeds/$0" $([ ! -d "$crashes" ] || echo "$crashes") \
        >"target/fuzz-$0.log" 2>&1' || failed=1
for target in $targets; do
    echo "fuzzed $target for $seconds s"
    grep -E 'panicked|ERROR|Test unit written|number_of_executed_units|new_units_added' "target/fuzz-$target.log" || true
done
exit $failed
