#!/bin/sh
# A network on one machine for the tutorial: a client, the appliance and two web servers, each a network namespace, on one
# switch. `namespaces.sh up` makes it and starts the appliance; `namespaces.sh down` removes all of it.
set -eu
state=/run/guideway-tutorial
here=$(cd "$(dirname "$0")" && pwd)

# Makes a host on the switch: name, IPv4 address, IPv6 address.
host() {
  ip netns add "gw-$1"
  ip -n gw-switch link add "$1" type veth peer name eth0 netns "gw-$1"
  ip -n gw-switch link set "$1" master switch up
  # Between namespaces nobody computes checksums unless told to, and a load balancer repairs none.
  ip netns exec gw-switch ethtool -K "$1" tx off gro off > /dev/null
  ip netns exec "gw-$1" ethtool -K eth0 tx off gro off > /dev/null
  ip -n "gw-$1" link set lo up
  ip -n "gw-$1" link set eth0 up
  [ -z "${2-}" ] || ip -n "gw-$1" address add "$2" dev eth0
  [ -z "${3-}" ] || ip -n "gw-$1" address add "$3" dev eth0 nodad
}

# Makes a web server that has the VIPs, tells nobody, and answers with its name: docs/backends.md, delivery `l2`.
web_server() {
  host "$1" "$2" "$3"
  ip netns exec "gw-$1" sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
  ip -n "gw-$1" address add 203.0.113.10/32 dev lo
  ip -n "gw-$1" address add 2001:db8:2::a/128 dev lo nodad
  mkdir -p "$state/$1"
  echo "$1" > "$state/$1/index.html"
  ip netns exec "gw-$1" python3 -m http.server --bind :: --directory "$state/$1" 80 > "$state/$1.log" 2>&1 &
  echo $! > "$state/$1.pid"
}

up() {
  [ ! -e "$state" ] || { echo "it is up already: $0 down" >&2; exit 1; }
  mkdir -p "$state"
  ip netns add gw-switch
  ip -n gw-switch link add switch type bridge
  ip -n gw-switch link set switch up
  host client 192.0.2.100/24 2001:db8:1::64/64
  # The appliance answers for its own addresses by itself: its kernel has none.
  host appliance
  ip netns exec gw-appliance sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.ip_forward=0
  web_server web-1 192.0.2.11/24 2001:db8:1::b/64
  web_server web-2 192.0.2.12/24 2001:db8:1::c/64
  # The client's router would know these from BGP.
  ip -n gw-client route add 203.0.113.10 via 192.0.2.1
  ip -n gw-client route add 2001:db8:2::a via 2001:db8:1::1
  cp "$here/guideway.toml" "$state/guideway.toml"
  ip netns exec gw-appliance guideway run --config "$state/guideway.toml" > "$state/guideway.log" 2>&1 &
  echo $! > "$state/guideway.pid"
  for _ in $(seq 300); do
    [ "$(guideway backend list 2> /dev/null | grep -c ' healthy ')" != 4 ] || return 0
    kill -0 "$(cat "$state/guideway.pid")" 2> /dev/null || break
    sleep 0.2
  done
  echo "the appliance does not serve:" >&2
  tail -n 20 "$state/guideway.log" >&2
  exit 1
}

down() {
  for file in "$state"/*.pid; do
    [ ! -e "$file" ] || kill "$(cat "$file")" 2> /dev/null || :
  done
  for name in client appliance web-1 web-2 switch; do
    [ ! -e "/run/netns/gw-$name" ] || ip netns delete "gw-$name"
  done
  rm -rf "$state"
}

case ${1-} in
  up) up ;;
  down) down ;;
  *) echo "usage: $0 up|down" >&2; exit 2 ;;
esac
