#!/usr/bin/env bash
# Brings docker/compose.yaml up, fetches pages through the virtual IP address, kills a backend, and fetches again once its
# probes have noticed. It needs the image `guideway` (docker/build.sh), and takes everything down at the end.
set -euo pipefail
cd "$(dirname "$0")"

if docker compose version > /dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
compose+=(--project-name guideway-smoke)
trap '"${compose[@]}" logs guideway | tail -n 20; "${compose[@]}" down --timeout 1 --volumes' EXIT

guideway() { "${compose[@]}" exec -T guideway guideway "$@"; }

# Fetches thirty pages, each by a connection of its own, and prints who answered how often.
fetch() {
  for _ in $(seq 30); do
    "${compose[@]}" exec -T client curl --silent --show-error --fail --max-time 5 http://172.31.251.100/
  done | sort | uniq -c
}

"${compose[@]}" up --build --detach

# Waits until the service has so many healthy backends.
wait_for_healthy() {
  for _ in $(seq 100); do
    if guideway backend list 2> /dev/null | grep --count ' healthy ' | grep --quiet "^$1\$"; then return; fi
    sleep 0.3
  done
  guideway backend list
  echo "smoke: there are not $1 healthy backends"
  exit 1
}

wait_for_healthy 3
guideway status

echo "three backends:"
answers=$(fetch)
echo "$answers"
[ "$(wc -l <<< "$answers")" -eq 3 ]

echo "without web-2:"
"${compose[@]}" kill web-2
wait_for_healthy 2
guideway backend list
answers=$(fetch)
echo "$answers"
[ "$(wc -l <<< "$answers")" -eq 2 ]
if grep --quiet web-2 <<< "$answers"; then exit 1; fi
guideway stats
echo "smoke: passed"
