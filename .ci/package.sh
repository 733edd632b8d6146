#!/usr/bin/env bash
# Makes the Debian package around target/release/guideway, has lintian look at it, and installs, starts, reloads, stops and
# removes it in a container of Debian 12, under systemd where that boots there.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/docker-daemon.sh
version="cargo-deb 3.8.0"

if [ "$(cargo deb --version 2>/dev/null || true)" != "$version" ]; then
  # Not optimized: that takes minutes, and the package a second or two either way.
  cargo install --quiet --locked --debug --config profile.dev.debug=false "${version/ /@}"
fi

# The same binary stands for both levels, as only the package is tried here; `cpu-levels` has the second one.
control/package/build.sh target/release/guideway target/release/guideway > /dev/null
package=$(echo target/debian/guideway_*.deb)
lintian --fail-on error,warning --tag-display-limit 0 --info "$package"
man --warnings --local-file target/package/man/guideway.8 > /dev/null

container=""
finish() {
  [ -z "$container" ] || docker rm --force "$container" > /dev/null
  stop_docker
}
trap finish EXIT
if ! have_docker; then
  echo "SKIPPED: the package was not installed, as $why_no_docker"
  exit 0
fi

docker build --quiet --tag guideway-package-test - > /dev/null <<'DOCKERFILE'
FROM debian:bookworm-slim
RUN apt-get update \
  && apt-get install --yes --no-install-recommends busybox curl dbus ethtool iproute2 procps systemd systemd-sysv \
  && rm -rf /var/lib/apt/lists/* /etc/dpkg/dpkg.cfg.d/docker
DOCKERFILE
# The capabilities that systemd and the appliance need; not `--privileged`, which asks for more than some hosts have.
container=$(docker run --detach --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add IPC_LOCK --cap-add SYS_NICE \
  --security-opt seccomp=unconfined --cgroupns private --volume /sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd \
  --tmpfs /run --tmpfs /run/lock --env container=docker guideway-package-test /sbin/init)
sleep 3
if [ "$(docker inspect --format '{{.State.Running}}' "$container")" != true ]; then
  docker rm --force "$container" > /dev/null
  container=$(docker run --detach --cap-add NET_ADMIN --cap-add IPC_LOCK --cap-add SYS_NICE guideway-package-test \
    sleep infinity)
fi
docker cp "$package" "$container:/guideway.deb"
docker cp .ci/package-inside.sh "$container:/try.sh"
docker exec "$container" bash /try.sh
