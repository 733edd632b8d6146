#!/usr/bin/env bash
# Builds the image `guideway` from this checkout; with a path, around that binary instead of one that is built inside.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -eq 0 ]; then
  docker build --file docker/Dockerfile --tag guideway .
  exit
fi
binary=$(realpath "$1")
context=$(mktemp -d)
trap 'rm -r "$context"' EXIT
docker build --file docker/Dockerfile --target runtime --tag guideway-runtime "$context"
cp "$binary" "$context/guideway"
docker build --tag guideway --file - "$context" <<'DOCKERFILE'
FROM guideway-runtime
COPY guideway /usr/bin/guideway
DOCKERFILE
