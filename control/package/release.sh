#!/usr/bin/env bash
# Makes a release of the working tree in target/release-VERSION: the Debian package, a tarball, a bill of materials, checksums.
#   control/package/release.sh [--no-profile]
# The binaries, for every processor and for x86-64-v3, are optimised by a profile of the appliance's own runs, which takes a
# third build of each; --no-profile leaves it out. It needs what control/package/build.sh needs, root or CAP_NET_RAW for the
# profile, `cargo install cargo-cyclonedx`, and `rustup component add llvm-tools`.
set -euo pipefail
cd "$(dirname "$0")/../.."
profiled=yes
case ${1-} in
  "") ;;
  --no-profile) profiled=no ;;
  *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac

version=$(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "guideway"))')
host=$(rustc -vV | sed -n 's/^host: //p')
name=guideway-$version-$host
out=target/release-$version
work=target/release-work
rm -rf "$out" "$work"
mkdir -p "$out" "$work"

# Builds the appliance with flags of the compiler, into a target directory of its own.
build() {
  local folder=$1
  shift
  RUSTFLAGS="$*" cargo build --release --locked -p guideway --features dpdk --target-dir "$work/$folder" >&2
  echo "$work/$folder/release/guideway"
}

# A profile of what a release spends its time with: captures replayed, and ten seconds of the poll loop on a capture without end.
profile() {
  local binary=$1 capture base events
  export LLVM_PROFILE_FILE=$2/%p-%m.profraw GUIDEWAY_CPU=x86-64
  for capture in pcap-fixtures/captures/*/*.in.pcap; do
    base=${capture%.in.pcap}
    events=()
    [ ! -e "$base.events.toml" ] || events=(--events "$base.events.toml")
    "$binary" replay --config "$base.toml" --pcap "$capture" "${events[@]}" > /dev/null
  done
  sed -e 's|^device = .*|device = "net_pcap0,rx_pcap=pcap-fixtures/demo.in.pcap,tx_pcap=/dev/null,infinite_rx=1"|' \
    -e "s|^socket = .*|socket = \"$PWD/$work/admin.sock\"|" -e 's/^worker_cores = .*/worker_cores = [1]\nno_huge = true/' \
    -e 's/^\[network\]/&\ngateway_mac_address = "02:00:00:00:00:fe"/' -e '/^\[metrics\]/,/^listen/d' \
    -e '/^\[\[announcement\]\]/,$d' control/default.toml > "$work/profile.toml"
  "$binary" run --config "$work/profile.toml" 2> "$work/profile.log" &
  local pid=$!
  sleep 10
  "$binary" stats --socket "$work/admin.sock" > "$work/profile.stats"
  "$binary" stop --socket "$work/admin.sock" > /dev/null
  wait "$pid"
}

flags_of() { [ "$1" = v3 ] && echo "-C target-cpu=x86-64-v3" || true; }
binaries=()
for level in baseline v3; do
  flags=$(flags_of $level)
  if [ $profiled = yes ]; then
    raw=$PWD/$work/profile-$level
    mkdir -p "$raw"
    binary=$(build "instrumented-$level" "$flags -C profile-generate=$raw")
    profile "$binary" "$raw"
    "$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" merge --output "$raw.profdata" "$raw"
    flags="$flags -C profile-use=$PWD/$work/profile-$level.profdata"
  fi
  binaries+=("$(build "$level" "$flags")")
done

control/package/build.sh "${binaries[@]}"
cp target/debian/guideway_*.deb "$out/"

tree=$work/$name
mkdir -p "$tree/bin" "$tree/doc"
strip -o "$tree/bin/guideway" "${binaries[0]}"
strip -o "$tree/bin/guideway-x86-64-v3" "${binaries[1]}"
cp -r target/package/man control/package/guideway.service control/package/guideway.target \
  control/package/60-guideway.rules control/package/monitoring "$tree/"
mkdir "$tree/completions"
cp target/package/guideway.{bash,zsh,fish} "$tree/completions/"
cp -r README.md CHANGELOG.md LICENSE docs control/default.toml "$tree/doc/"
# The same files make the same tarball: names in order, times of the commit, no owners.
tar --create --sort=name --mtime="@$(git log -1 --format=%ct)" --owner=0 --group=0 --numeric-owner \
  --directory "$work" "$name" | gzip --no-name > "$out/$name.tar.gz"

cargo cyclonedx --manifest-path control/Cargo.toml --features dpdk --format json --override-filename "$name" --quiet
mv "control/$name.json" "$out/$name.cdx.json"
rm -f control/model/"$name".json dataplane/"$name".json engine/"$name".json bench/"$name".json \
  pcap-fixtures/"$name".json engine/dpdk-sys/"$name".json

(cd "$out" && sha256sum -- * > SHA256SUMS)
ls -l "$out"
