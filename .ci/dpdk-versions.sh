#!/usr/bin/env bash
# Compiles the engine, its tests and examples with the headers of each DPDK that Guideway names: 22.11 (Debian 12), 23.11
# (Ubuntu 24.04) and 24.11 (Debian 13). One is installed; the others' packages are unpacked under target/, as there can be
# but one libdpdk on a machine. Nothing is linked there: their libraries need their own distribution's C library. A folder
# $DPDK_TREES/VERSION with an unpacked libdpdk-dev goes before any download.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never
work=$PWD/target/dpdk-versions
mkdir -p "$work"

# Mirrors that this machine has Debian's packages from: not its security updates, nor what others publish for Debian. Sources
# whose lists were never fetched do not say whose they are, and come last.
mirrors() {
  {
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian'
    apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
      sed -n 's/^ *\(http[^ ]*\)$/\1/p' | grep -v security
  } | awk '!seen[$0]++'
}

# Unpacks libdpdk-dev of a suite of Debian's, from the first mirror that has it.
from_suite() {
  local mirror
  [ -e "$keyring" ] || return 1
  for mirror in $(mirrors); do
    if from_mirror "$mirror" "$1" "$2"; then return; fi
  done
  return 1
}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

from_mirror() {
  local mirror=$1 suite=$2 tree=$3 state=$work/apt-$2
  rm -rf "$state"
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$state/sources.list"
  local apt=(apt-get -q=2 -o Dir::State="$state" -o Dir::State::status=/dev/null -o Dir::Cache="$state/cache"
    -o Dir::Etc::sourcelist="$state/sources.list" -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=root)
  "${apt[@]}" update && (cd "$state" && "${apt[@]}" download libdpdk-dev) || return 1
  unpack "$state"/libdpdk-dev_*.deb "$tree"
}

# Unpacks a package into a folder that is there whole or not at all, whatever interrupts this.
unpack() {
  rm -rf "$2.new" "$2"
  dpkg-deb -x "$1" "$2.new" && mv "$2.new" "$2"
}

# Unpacks one package of Ubuntu's, which is named with its digest; its mirror is the one that debootstrap knows.
from_ubuntu() {
  local path=$1 digest=$2 tree=$3 mirror
  mirror=$(sed -n 's/.*default_mirror \(http.*archive[^ ]*\)$/\1/p' /usr/share/debootstrap/scripts/jammy | head -1)
  [ -n "$mirror" ] || return 1
  /usr/lib/apt/apt-helper -o APT::Sandbox::User=root -o Acquire::Retries=1 \
    download-file "$mirror/$path" "$work/ubuntu.deb" "SHA256:$digest" >/dev/null || return 1
  unpack "$work/ubuntu.deb" "$tree"
}

# Brings the headers of a version into a folder.
bring() {
  case $1 in
    22.11) from_suite bookworm "$2" ;;
    23.11) from_ubuntu pool/universe/d/dpdk/libdpdk-dev_23.11-1build3_amd64.deb \
      696ad57b1ad733e311b655f6c981be9657b75899a2980f15c4b6573a81f18d2e "$2" ;;
    24.11) from_suite trixie "$2" ;;
  esac
}

# Builds with what pkg-config finds have a target directory of their own: cargo does not see that headers have changed.
compile() {
  local version=$1
  echo "DPDK $(pkg-config --modversion libdpdk):"
  CARGO_TARGET_DIR=$work/cargo-$version cargo clippy -q -p guideway-engine --features dpdk --all-targets -- -D warnings
}

missing=()
for version in 22.11 23.11 24.11; do
  case $(pkg-config --modversion libdpdk 2>/dev/null) in
    "$version".*)
      echo "DPDK $version is installed: step \`dpdk\` compiles and tests with it"
      continue
      ;;
  esac
  tree=${DPDK_TREES:+$DPDK_TREES/$version}
  if [ -z "$tree" ] || [ ! -d "$tree" ]; then
    tree=$work/libdpdk-$version
    [ -d "$tree" ] || bring "$version" "$tree" || {
      missing+=("$version")
      continue
    }
  fi
  (
    export PKG_CONFIG_SYSROOT_DIR=$tree
    PKG_CONFIG_PATH=$(echo "$tree"/usr/lib/*/pkgconfig)
    export PKG_CONFIG_PATH
    compile "$version"
  )
done
for version in "${missing[@]}"; do
  echo "SKIPPED: libdpdk-dev $version could not be got; nothing was compiled with it"
done
