#!/usr/bin/env bash
# Decides captures under capsule; fails unless each decision and each frame sent is `guideway replay`'s.
# Needs Debian's libdpdk-dev, pkg-config, gcc, clang and libclang-dev; no root, no huge pages.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
export RUNTIME_DIRECTORY=$work # DPDK makes a directory in it

cargo build -q -p guideway
cargo build -q --manifest-path engine/capsule/Cargo.toml --target-dir target/capsule

captures=0
compare() {
  local config=$1 pcap=$2
  target/debug/guideway replay --config "$config" --pcap "$pcap" \
    --decisions "$work/replay.jsonl" --out "$work/replay.pcap" >"$work/log"
  if ! target/capsule/debug/guideway-capsule --config "$config" --pcap "$pcap" \
    --decisions "$work/capsule.jsonl" --out "$work/capsule.pcap" 2>"$work/log"; then
    cat "$work/log" >&2
    echo "error: $pcap: capsule does not decide it" >&2
    exit 1
  fi
  if ! diff "$work/replay.jsonl" "$work/capsule.jsonl" || ! cmp "$work/replay.pcap" "$work/capsule.pcap"; then
    echo "error: $pcap: capsule decides otherwise than replay" >&2
    exit 1
  fi
  cat "$work/capsule.jsonl" >>"$work/all.jsonl"
  captures=$((captures + 1))
}

compare control/default.toml pcap-fixtures/demo.in.pcap
for pcap in pcap-fixtures/captures/*/*.in.pcap; do
  name=${pcap%.in.pcap}
  case $name in
    */what-fits-no-outer-header-is-refused) continue ;; # frames that are longer than capsule's mbufs
    *-leaves-in-fragments) continue ;; # the poll loop cuts them, and capsule has its own
    */path-mtu-of-*) continue ;; # the forwarding state learns path MTUs from passed frames, which nobody reads here
  esac
  # Capsule's run has one configuration, and its backends' state does not change.
  [ -e "$name.events.toml" ] || compare "$name.toml" "$pcap"
done

frames=$(wc -l <"$work/all.jsonl")
forwarded=$(grep -c '"verdict":"forward"' "$work/all.jsonl")
if [ "$captures" -lt 2 ] || [ "$forwarded" -eq 0 ]; then
  echo "error: nothing was compared" >&2
  exit 1
fi
echo "capsule decides as replay does: $captures captures, $frames frames, $forwarded of them forwarded"
