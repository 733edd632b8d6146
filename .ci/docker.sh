#!/usr/bin/env bash
# Builds the image around target/release/guideway and runs docker/smoke.sh, where a Docker daemon can be had.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/docker-daemon.sh
trap stop_docker EXIT
if ! have_docker; then
  echo "SKIPPED: the image was neither built nor run, as $why_no_docker"
  exit 0
fi

docker/build.sh target/release/guideway > /dev/null
docker run --rm guideway replay --demo > /dev/null
docker/smoke.sh
