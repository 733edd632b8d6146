#!/usr/bin/env bash
# Builds the image around target/release/guideway and runs docker/smoke.sh, where a Docker daemon can be had.
set -euo pipefail
cd "$(dirname "$0")/.."
# The classic builder is in every engine; the other is a plug-in that Debian's lacks.
export DOCKER_BUILDKIT=0

daemon=""
stop_daemon() { [ -z "$daemon" ] || kill "$daemon"; }
trap stop_daemon EXIT
if ! docker info > /dev/null 2>&1; then
  log=$(mktemp)
  dockerd > "$log" 2>&1 &
  daemon=$!
  for _ in $(seq 60); do
    if docker info > /dev/null 2>&1; then break; fi
    sleep 0.5
  done
  if ! docker info > /dev/null 2>&1; then
    echo "SKIPPED: the image was neither built nor run, as no Docker daemon can be started here:"
    tail -n 3 "$log"
    exit 0
  fi
fi

# Where no registry can be reached, Debian's own tools make what it would have given.
if ! docker image inspect debian:bookworm-slim > /dev/null 2>&1 \
  && ! timeout 60 docker pull --quiet debian:bookworm-slim > /dev/null 2>&1; then
  base=$(mktemp -d)
  debootstrap --variant=minbase bookworm "$base" > "$base.log" 2>&1 || { tail -n 5 "$base.log"; exit 1; }
  tar --create --directory "$base" . | docker import - debian:bookworm-slim > /dev/null
  rm -rf "$base"
fi
docker/build.sh target/release/guideway > /dev/null
docker run --rm guideway replay --demo > /dev/null
docker/smoke.sh
