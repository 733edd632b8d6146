# The network around the appliance: a bridge on the kernel's NIC `trunk`, and on the bridge a client and two web servers,
# each a namespace, that reach the appliance by the wire alone. Servers have the VIPs, for IPv4 and IPv6, on loopback.

vip=10.0.0.100
vip6=fd00:1::100

# A namespace on a bridge: name, bridge, addresses.
node() {
  local name=$1 bridge=$2 address
  shift 2
  ip netns add "$name"
  ip link add "$name" type veth peer name eth0 netns "$name"
  ip link set "$name" master "$bridge" up
  ip -n "$name" link set lo up
  for address in "$@"; do ip -n "$name" address add "$address" dev eth0 $(nodad "$address"); done
  ip -n "$name" link set eth0 up
  ip netns exec "$name" ethtool -K eth0 tx off gro off > /dev/null
}
nodad() { case $1 in *:*) echo nodad ;; esac }

# A namespace that serves its name and 300,000 bytes, and counts what is sent to it, on ports 80 and 8080 of the VIPs.
web_server() {
  local name=$1 port
  node "$@"
  ip netns exec "$name" sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2
  ip -n "$name" address add "$vip/32" dev lo
  ip -n "$name" address add "$vip6/128" dev lo nodad
  mkdir -p "/tmp/$name/cgi-bin"
  echo "$name" > "/tmp/$name/index.html"
  head -c 300000 /dev/zero > "/tmp/$name/big"
  printf '#!/bin/sh\necho\nwc -c\n' > "/tmp/$name/cgi-bin/count"
  chmod +x "/tmp/$name/cgi-bin/count"
  serve "$name"
}
serve() {
  local port
  for port in 80 8080; do ip netns exec "$1" busybox httpd -p "[::]:$port" -h "/tmp/$1"; done
}
# Stops a server's programs: its namespace answers with resets.
silence() { ip netns pids "$1" | xargs -r kill; }

bridge() {
  ip link add "$1" type bridge
  ip link set "$1" mtu 9000 up
  ip link set "$2" master "$1" up
}

network() {
  local device
  device=$(basename "$(dirname "$(grep -l 52:54:00:00:01:00 /sys/class/net/*/address)")")
  ip link set "$device" name trunk
  ip link set trunk mtu 9000 up
  bridge lan trunk
  node client lan 10.0.0.10/24 fd00:1::10/64
  web_server web1 lan 10.0.0.21/24 fd00:1::21/64
  web_server web2 lan 10.0.0.22/24 fd00:1::22/64
}
