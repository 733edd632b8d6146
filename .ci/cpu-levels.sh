#!/bin/sh
# Builds for several levels of the processor, with and without optimization, and compares decisions byte for byte:
# appliances of one fleet need not be of one build. A level that this processor lacks is skipped.
set -eu
cd "$(dirname "$0")/.."
folder=target/cpu-levels
mkdir -p "$folder"
[ "$(uname -m)" = x86_64 ] || { echo "cpu-levels: skipped, this is no x86-64"; exit 0; }

has() {
    for flag in "$@"; do
        grep -qw -m1 "$flag" /proc/cpuinfo || return 1
    done
}

# The first of each is what the others are compared with.
first=
decide() {
    name=$1 profile=$2 target=$3 features=$4 flags=${5-}
    echo "cpu-levels: $name"
    if [ -n "$flags" ]; then
        # Without link-time optimization: in half the time, and one more way to make the same code.
        RUSTFLAGS=$flags CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
        export RUSTFLAGS CARGO_PROFILE_RELEASE_LTO CARGO_PROFILE_RELEASE_CODEGEN_UNITS
    fi
    CARGO_TARGET_DIR=$target cargo test --quiet ${profile:+"$profile"} -p guideway-dataplane --test frozen \
        >"$folder/$name.log" 2>&1 || { cat "$folder/$name.log"; exit 1; }
    CARGO_TARGET_DIR=$target cargo run --quiet ${profile:+"$profile"} -p guideway ${features:+--features "$features"} \
        --bin guideway -- replay --demo --workers 2 \
        --decisions "$folder/$name.jsonl" --out "$folder/$name.pcap" --output json >"$folder/$name.json"
    first=${first:-$name}
    for kind in jsonl pcap json; do
        cmp "$folder/$first.$kind" "$folder/$name.$kind"
    done
}

# Builds without flags are those of the tests and of the image, for the lowest level, x86-64.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS
decide debug "" "${CARGO_TARGET_DIR:-target}" ""
decide release --release "${CARGO_TARGET_DIR:-target}" dpdk
if has avx2 bmi1 bmi2 fma f16c movbe abm aes; then
    decide x86-64-v3 --release "$folder/x86-64-v3" "" "-C target-cpu=x86-64-v3 -C target-feature=+aes"
else
    echo "cpu-levels: x86-64-v3 with AES skipped, this processor lacks one of them"
fi
echo "cpu-levels: $(wc -l <"$folder/$first.jsonl") decisions are the same at every level"
