#!/usr/bin/env bash
# Tries `guideway-bench rfc2544` on one machine: an appliance in one network namespace, the tester in another, two veth
# pairs between them, and net_af_packet at all four ends. Needs root, and two cores: the tester has 0, the appliance 1.
#
#   cargo build --release -p guideway -p guideway-bench --features guideway/dpdk,guideway-bench/dpdk
#   bench/rfc2544_veth.sh --frame-len 64,512 --max-rate 200000
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-target/release}
scratch=$(mktemp -d)
device=rfc2544-device tester=rfc2544-tester

end() {
  kill "${appliance-}" 2>/dev/null && wait "$appliance" || true
  ip netns del $device 2>/dev/null || true
  ip netns del $tester 2>/dev/null || true
  rm -rf "$scratch"
}
trap end EXIT

ip netns add $device
ip netns add $tester
for side in outside inside; do
  ip link add $side netns $device type veth peer name $side netns $tester
  for namespace in $device $tester; do
    ip netns exec $namespace sysctl -qw "net.ipv6.conf.$side.disable_ipv6=1"
    # No offloads: frames are to come as they were sent.
    ip netns exec $namespace ethtool -K $side tx off tso off gso off gro off >/dev/null
    ip -n $namespace link set $side up
  done
done

# net_af_packet takes packets of 1500 bytes: frames of 1518 bytes do not fit their tunnels here.
sed -e 's|net_null0|net_af_packet0,iface=outside|' -e 's|net_null1|net_af_packet1,iface=inside|' \
  -e 's|^mtu = 1600|mtu = 1500|' -e 's|^max_entries = .*|max_entries = 1_000_000|' \
  bench/src/rfc2544/device.toml >"$scratch/device.toml"
cat >>"$scratch/device.toml" <<END

[engine]
no_huge = true
memory_mib = 256
control_core = 0
worker_cores = [1]

[admin]
socket = "$scratch/admin.sock"
END

ip netns exec $device "$bin/guideway" run --config "$scratch/device.toml" >"$scratch/log" 2>&1 &
appliance=$!
for _ in $(seq 100); do
  "$bin/guideway" status --socket "$scratch/admin.sock" >/dev/null 2>&1 && break
  kill -0 $appliance || { cat "$scratch/log" >&2; exit 1; }
  sleep 0.2
done
ip netns exec $tester "$bin/guideway-bench" rfc2544 --port net_af_packet0,iface=outside --port net_af_packet1,iface=inside \
  --no-huge 128 --cores 0 "$@"
"$bin/guideway" drops --socket "$scratch/admin.sock"
