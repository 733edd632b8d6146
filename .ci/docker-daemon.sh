# To be sourced: `have_docker` makes sure of a Docker daemon and of the image debian:bookworm-slim; it fails where neither can be
# had, with the reason in `why_no_docker`. A daemon that it has started ends with the script.
export DOCKER_BUILDKIT=0      # the classic builder is in every engine; the other is a plug-in that Debian's lacks
docker_daemon=""
why_no_docker=""
# Until it has ended, no other daemon starts.
stop_docker() { [ -z "$docker_daemon" ] || { kill "$docker_daemon" 2> /dev/null && wait "$docker_daemon"; } || true; }

have_docker() {
  if ! docker info > /dev/null 2>&1; then
    local log
    log=$(mktemp)
    dockerd > "$log" 2>&1 &
    docker_daemon=$!
    for _ in $(seq 60); do
      if docker info > /dev/null 2>&1; then break; fi
      sleep 0.5
    done
    if ! docker info > /dev/null 2>&1; then
      why_no_docker="no Docker daemon can be started here: $(tail -n 3 "$log")"
      return 1
    fi
  fi
  # Debian's own tools make the image that a registry would give, if none can be reached.
  if ! docker image inspect debian:bookworm-slim > /dev/null 2>&1 \
    && ! timeout 60 docker pull --quiet debian:bookworm-slim > /dev/null 2>&1; then
    local base
    base=$(mktemp -d)
    if ! debootstrap --variant=minbase bookworm "$base" > "$base.log" 2>&1; then
      why_no_docker="there is no image of Debian: $(tail -n 5 "$base.log")"
      return 1
    fi
    tar --create --directory "$base" . | docker import - debian:bookworm-slim > /dev/null
    rm -rf "$base"
  fi
}
