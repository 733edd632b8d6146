#!/usr/bin/env bash
# Inside a container of Debian 12: installs /guideway.deb, runs the appliance as the package does, and removes it again.
set -euo pipefail
fail() { echo "package: $*"; exit 1; }
within() {
  local seconds=$1
  shift
  for _ in $(seq $((seconds * 5))); do
    if "$@" > /dev/null 2>&1; then return; fi
    sleep 0.2
  done
  "$@"
}

has_systemd=no
for _ in $(seq 100); do
  state=$(systemctl is-system-running 2> /dev/null || true)
  case $state in running | degraded) has_systemd=yes; break ;; starting | initializing) sleep 0.2 ;; *) break ;; esac
done

apt-get update -q > /dev/null
apt-get install -qy /guideway.deb > /install.log 2>&1 || { tail -n 20 /install.log; fail "it cannot be installed"; }
[ "$(stat -c '%U:%G %a' /etc/guideway/guideway.toml)" = "root:guideway 640" ] || fail "the configuration is readable by others"
# The installed configuration is for the operator to write, and `check` says so.
if guideway check > /check.log 2>&1; then fail "a configuration without anything is taken for right"; fi
grep -q 'neither a port nor a forwarding rule' /check.log || { cat /check.log; fail "it is refused for another reason"; }
for page in guideway guideway-run guideway-backend-drain; do
  # The list, as slim images leave the pages themselves out.
  dpkg -L guideway | grep -x "/usr/share/man/man8/$page.8.gz" > /dev/null || fail "there is no manual page $page(8)"
done
bash -n /usr/share/bash-completion/completions/guideway

# A bridge with the appliance, a client and a web server, each at a virtual wire of its own.
if ! mount -o remount,rw /proc/sys 2> /dev/null; then fail "the container's /proc/sys cannot be written to"; fi
ip link add bridge type bridge
ip link set bridge up
# A host in a namespace: its name, its address.
attach() {
  ip netns add "$1"
  ip link add "$1-wire" type veth peer name eth0 netns "$1"
  ip link set "$1-wire" master bridge up
  ip -n "$1" link set lo up
  ip -n "$1" link set eth0 up
  ip -n "$1" address add "$2" dev eth0
  # Frames between namespaces carry no checksums otherwise.
  ip netns exec "$1" ethtool -K eth0 tx off > /dev/null
}
attach client 192.0.2.50/24
attach web 192.0.2.11/24
ip -n client route add 203.0.113.10 via 192.0.2.1
ip netns exec web sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
ip -n web address add 203.0.113.10/32 dev lo
mkdir /www
echo 'the web server' > /www/index.html
ip netns exec web busybox httpd -h /www
ip link add wire-bridge type veth peer name wire
ip link set wire-bridge master bridge up
ip link set wire up

cat > /etc/guideway/guideway.toml <<'TOML'
[engine]
no_huge = true
mbufs = 4096
worker_cores = [0]
control_core = 1

[[port]]
name = "lan"
device = "net_af_packet0,iface=wire"
ip_addresses = ["192.0.2.1/24"]

[conntrack]
max_entries = 16_384

[[forwarding_rule]]
name = "web"
load_balancing_scheme = "EXTERNAL"
ip_address = "203.0.113.10"
ip_protocol = "TCP"
ports = [80]
backend_service = "web"

[[backend_service]]
name = "web"
load_balancing_scheme = "EXTERNAL"
protocol = "TCP"
health_checks = ["web"]
backends = [{ group = "web" }]

[[backend_group]]
name = "web"
delivery = "l2"
endpoints = [{ name = "web-1", ip_address = "192.0.2.11" }]

[[health_check]]
name = "web"
type = "TCP"
port = 80
TOML

if [ $has_systemd = yes ]; then
  systemctl start guideway || { journalctl --no-pager -u guideway | tail -n 20; fail "it does not start"; }
  pid=$(systemctl show --property MainPID --value guideway)
else
  echo "SKIPPED: systemd does not run here; the unit's command runs as its user, with its capabilities"
  install -d -o guideway -g guideway /run/guideway
  capabilities=+net_admin,+net_raw,+ipc_lock,+sys_nice
  setpriv --reuid guideway --regid guideway --init-groups --inh-caps "$capabilities" --ambient-caps "$capabilities" \
    --bounding-set "-all,$capabilities" --no-new-privs guideway run &
  pid=$!
fi
within 30 guideway status
within 30 sh -c "guideway backend list | grep -q ' healthy '"
[ "$(ip netns exec client curl --silent --max-time 5 http://203.0.113.10/)" = "the web server" ] ||
  fail "the client cannot reach the web server through the appliance"
[ "$(ps -o user= -p "$pid" 2> /dev/null || stat -c %U "/proc/$pid")" = guideway ] || fail "it does not run as guideway"

# A wrong file is refused by a reload, with the reason; a right one is taken.
cp /etc/guideway/guideway.toml /right.toml
echo 'nonsense = 1' >> /etc/guideway/guideway.toml
if [ $has_systemd = yes ]; then
  if systemctl reload guideway; then fail "a wrong file is reloaded"; fi
elif guideway reload; then
  fail "a wrong file is reloaded"
fi
cat /right.toml > /etc/guideway/guideway.toml
guideway reload

# The tutorial's first part, by the files that the package brings: each command ends with the status that it says.
tries=0
while IFS= read -r line; do
  case $line in
    '$ '*)
      command=${line#'$ '} expected=0
      # Blocks of commands that fail have the status in the next line.
      IFS= read -r next || next=
      case $next in '? '*) expected=${next#'? '} ;; esac
      status=0
      (cd /usr/share/doc/guideway/docs/tutorial.in && eval "$command") > /tutorial.log 2>&1 < /dev/null || status=$?
      [ "$status" = "$expected" ] || { cat /tutorial.log; fail "\`$command\` ends with $status, not $expected"; }
      tries=$((tries + 1))
      ;;
  esac
done < <(sed -n '/^```console/,/^```/p' /usr/share/doc/guideway/docs/tutorial.md)
[ "$tries" -ge 6 ] || fail "the tutorial has $tries commands"

if [ $has_systemd = yes ]; then
  systemd-analyze security --no-pager guideway | tail -n 1
  exposure=$(systemd-analyze security --no-pager guideway | sed -n 's/.*Overall exposure level for guideway.service: \([0-9.]*\).*/\1/p')
  awk -v exposure="$exposure" 'BEGIN { exit !(exposure != "" && exposure <= 3) }' || fail "an exposure level of $exposure"
  # Priorities: what the journal calls informational, and the refused reload as a warning or worse.
  journalctl --no-pager -u guideway -p info | grep forwarding > /dev/null || fail "the journal has no line at the start"
  # A process that hangs is started anew.
  mkdir -p /etc/systemd/system/guideway.service.d
  printf '[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n' > /etc/systemd/system/guideway.service.d/test.conf
  systemctl daemon-reload
  systemctl restart guideway
  pid=$(systemctl show --property MainPID --value guideway)
  sleep 5
  [ "$(systemctl show --property MainPID --value guideway)" = "$pid" ] || fail "it gives no signs of life"
  kill -STOP "$pid"
  is_another() { [ "$(systemctl show --property MainPID --value guideway)" != "$pid" ] && guideway status; }
  within 30 is_another
  systemctl stop guideway
  [ "$(systemctl show --property Result --value guideway)" = success ] || fail "it does not end in good order"
else
  guideway stop
  wait "$pid"
fi

apt-get remove -qy guideway > /remove.log 2>&1 || { tail -n 20 /remove.log; fail "it cannot be removed"; }
[ -e /etc/guideway/guideway.toml ] || fail "removing it takes the configuration along"
apt-get purge -qy guideway > /purge.log 2>&1 || { tail -n 20 /purge.log; fail "it cannot be purged"; }
for path in /etc/guideway/guideway.toml /var/lib/guideway /usr/bin/guideway /usr/share/man/man8/guideway.8.gz; do
  [ ! -e "$path" ] || fail "$path is left behind"
done
echo "package: installed, started, reloaded, stopped, removed (systemd: $has_systemd)"
