#!/usr/bin/env bash
# Measures dpdk_rate beside dpdk-testpmd on virtual devices: processor time per packet, bursts of 32, no huge pages.
# Needs root, two cores, and Debian's dpdk-dev. Usage: engine/examples/dpdk_rate.sh [SECONDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-3}
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
cargo build -q --release -p guideway-engine --features dpdk --example dpdk_rate
rate=target/release/examples/dpdk_rate
sink=net_null1,no-rx=1

nanos() { cut -d' ' -f1 "/proc/$1/task/$2/schedstat"; }

# Counts what the polling thread sends while it is on a processor.
testpmd() {
  mkfifo "$work/commands"
  exec 9<>"$work/commands"
  dpdk-testpmd --no-huge --no-shconf --no-telemetry -m 512 --no-pci -l 0,1 --vdev "$1" --vdev "$sink" -- -i \
    --forward-mode=io --burst=32 --total-num-mbufs=65535 --rxd=1024 --txd=1024 --no-flush-rx \
    <"$work/commands" >"$work/log" 2>&1 &
  local pid=$! task="" before after packets
  sleep 3
  echo start >&9
  for path in /proc/$pid/task/*; do
    case $(<"$path/comm") in *worker-1) task=${path##*/} ;; esac
  done
  sleep 1
  echo "clear port stats all" >&9
  before=$(nanos $pid "$task")
  sleep "$seconds"
  after=$(nanos $pid "$task")
  echo "show port stats 1" >&9
  sleep 0.5
  printf 'stop\nquit\n' >&9
  wait $pid
  exec 9>&-
  rm "$work/commands"
  packets=$(grep -am1 -o 'TX-packets: [0-9]*' "$work/log" | grep -o '[0-9]*$')
  awk -v packets="$packets" -v nanos=$((after - before)) \
    'BEGIN { printf "testpmd: %d packets, %.1f ns each\n", packets, nanos / packets }'
}

echo "== net_null, 64 bytes"
testpmd net_null0,size=64
"$rate" io "$seconds" net_null0,size=64 "$sink"
for flows in 1 10000; do
  echo "== net_pcap, $flows flows"
  "$rate" capture "$flows" "$work/$flows.pcap"
  source=net_pcap0,rx_pcap=$work/$flows.pcap,infinite_rx=1
  testpmd "$source"
  "$rate" io "$seconds" "$source" "$sink"
  "$rate" pipeline "$seconds" "$source" "$sink"
done
