#!/usr/bin/env bash
# Makes a release of the working tree in target/release-VERSION: the Debian package, a tarball, a bill of materials
# (CycloneDX), the profile, and checksums of all.
#   control/package/release.sh [--profile FILE | --no-profile] [--no-sbom]
# The binaries, for every processor and for x86-64-v3, are optimised by a profile of the appliance's own runs, which takes a
# third build; --profile goes by the one of an earlier release instead, --no-profile by none. It needs what
# control/package/build.sh needs, root for the profile's run, `cargo install cargo-cyclonedx`, and `rustup component add
# llvm-tools`. The same commit, Rust, profile and folder make the same files.
set -euo pipefail
cd "$(dirname "$0")/../.."
usage() { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
refuse() { echo "release.sh: $*" >&2; exit 1; }

profile=own sbom=yes
while [ $# -gt 0 ]; do
  case $1 in
    --no-profile) profile="" ;;
    --profile) [ $# -ge 2 ] || usage; profile=$(realpath "$2"); shift ;;
    --no-sbom) sbom="" ;;
    *) usage ;;
  esac
  shift
done

# Missing tools are told before anything is built.
host=$(rustc -vV | sed -n 's/^host: //p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
missing=""
need() { "${@:2}" > /dev/null 2>&1 || missing+=$'\n'"  $1"; }
need "cargo-deb: cargo install --locked cargo-deb" cargo deb --version
need "strip: apt-get install binutils" strip --version
need "python3: apt-get install python3" python3 --version
need "libdpdk: apt-get install libdpdk-dev clang libclang-dev pkg-config" pkg-config --exists libdpdk
[ -z "$sbom" ] || need "cargo-cyclonedx: cargo install --locked cargo-cyclonedx, or --no-sbom" cargo cyclonedx --version
case $profile in
  "") ;;
  own)
    need "llvm-profdata: rustup component add llvm-tools, or --no-profile" test -x "$profdata"
    need "root, to run the appliance for its profile; or --no-profile" test "$(id -u)" = 0
    ;;
  *) need "$profile, the file that --profile names" test -r "$profile" ;;
esac
[ -z "$missing" ] || refuse "missing:$missing"

version=$(cargo metadata --no-deps --format-version 1 | python3 -c '
import json, sys
print(next(p["version"] for p in json.load(sys.stdin)["packages"] if p["name"] == "guideway"))')
name=guideway-$version-$host
out=target/release-$version
work=target/release-work
rm -rf "$out" "$work" target/debian
mkdir -p "$out" "$work"
[ -z "$(git status --porcelain)" ] || echo "release.sh: the working tree has changes that no commit has" >&2

# Times in what is made are those of the commit, and paths those of no machine.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
remap="--remap-path-prefix=$PWD=/guideway --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"

# Builds the appliance with flags of the compiler, into a target directory of its own.
build() {
  local folder=$1
  shift
  echo "release.sh: building $folder" >&2
  RUSTFLAGS="$remap $*" cargo build --release --locked -p guideway --features dpdk --target-dir "$work/$folder" >&2
  echo "$work/$folder/release/guideway"
}

# Writes a profile of what a release spends its time with: captures replayed, and ten seconds of the poll loop on a capture
# without end.
run_for_profile() {
  local binary=$1 capture base events pid
  # Runs add to one file of counters, in place of leaving one each.
  export LLVM_PROFILE_FILE=$2/%1m.profraw GUIDEWAY_CPU=x86-64
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
  pid=$!
  for _ in $(seq 60); do
    sleep 1
    if "$binary" status --socket "$work/admin.sock" > /dev/null 2>&1; then break; fi
    kill -0 "$pid" 2> /dev/null || { cat "$work/profile.log" >&2; refuse "the appliance has not started"; }
  done
  sleep 10
  "$binary" stats --socket "$work/admin.sock" > "$work/profile.stats"
  "$binary" stop --socket "$work/admin.sock" > /dev/null
  wait "$pid"
  unset LLVM_PROFILE_FILE GUIDEWAY_CPU
}

if [ "$profile" = own ]; then
  raw=$PWD/$work/profile
  mkdir -p "$raw"
  run_for_profile "$(build instrumented "-C profile-generate=$raw")" "$raw"
  "$profdata" merge --sparse --output "$out/$name.profdata" "$raw"
  rm -rf "$work/instrumented" "$raw"
elif [ -n "$profile" ]; then
  cp "$profile" "$out/$name.profdata"
fi

# The profile serves both levels: counts are of what the compiler makes of the source, before it knows the processor. The few
# functions that ask for it at compile time have other code there; their counts are discarded, with a warning.
flags=""
[ -z "$profile" ] || flags="-C profile-use=$PWD/$out/$name.profdata"
baseline=$(build baseline "$flags")
v3=$(build x86-64-v3 "$flags -C target-cpu=x86-64-v3")

control/package/build.sh "$baseline" "$v3"
cp target/debian/guideway_*.deb "$out/"

tree=$work/$name
mkdir -p "$tree/bin" "$tree/doc" "$tree/completions"
strip -o "$tree/bin/guideway" "$baseline"
strip -o "$tree/bin/guideway-x86-64-v3" "$v3"
cp -r target/package/man control/package/guideway.service control/package/guideway.target \
  control/package/60-guideway.rules control/package/monitoring "$tree/"
cp target/package/guideway.{bash,zsh,fish} "$tree/completions/"
cp -r README.md CHANGELOG.md LICENSE docs control/default.toml control/minimal.toml "$tree/doc/"
# The same files make the same tarball: names in order, times of the commit, no owners, no umask.
tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=go=rX,u+rw,a-s \
  --directory "$work" "$name" | gzip --no-name -9 > "$out/$name.tar.gz"

if [ -n "$sbom" ]; then
  # The crates that are in the binary; DPDK is Debian's, and a dependency of the package.
  cargo cyclonedx --manifest-path control/Cargo.toml --features dpdk --target "$host" --format json \
    --spec-version 1.5 --override-filename "$name" --quiet
  sed "s|path+file://$PWD/|path+file:///guideway/|g" "control/$name.json" > "$out/$name.cdx.json"
  # The tool writes a file for each crate of the workspace.
  git ls-files --others "*/$name.json" | xargs -r rm
else
  echo "release.sh: no bill of materials, as --no-sbom says" >&2
fi

(cd "$out" && sha256sum -- * > SHA256SUMS)
rm -rf "$work"
ls -l "$out"
