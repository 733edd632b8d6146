# systemd boots a backend with the files of docs/backends.md: devices, addresses, settings, and the way through each tunnel
# boots: networkd-gue
# limit: 900

vip=203.0.113.10
vip6=2001:db8:2::a
unit=/etc/systemd/system/guideway-gue.service
. ./document.sh

# Peer of the backend, which is this guest itself: appliance, router and client. The kernel's own tunnels stand for the
# appliance's.
peer() { ip -n peer "$@"; }
make_peer() {
  ip netns add peer
  ip netns exec peer sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
  ip link add eth0 type veth peer name eth0 netns peer
  peer link set lo up
  peer link set eth0 up
  peer address add 192.0.2.1/24 dev eth0
  peer address add 192.0.2.254/24 dev eth0
  peer address add 2001:db8:1::1/64 dev eth0 nodad
  peer address add 2001:db8:1::fe/64 dev eth0 nodad
  peer address add 198.51.100.7/32 dev lo
  peer address add 2001:db8:3::7/128 dev lo nodad
}

# Gives the peer a way to the VIPs: words of `ip link add` for a device, and the families that it takes.
way() {
  local device=$1 families=$2
  shift 2
  ip netns exec peer modprobe -a fou ipip sit ip_gre ip6_tunnel
  peer link add "$device" type "$@" && peer link set "$device" up || return
  case $families in *4*) peer route add $vip dev "$device" src 198.51.100.7 || return ;; esac
  case $families in *6*) peer route add $vip6 dev "$device" src 2001:db8:3::7 ;; esac
}
no_way() {
  local device
  for device in to4 to6 to; do peer link delete "$device" 2> /dev/null || :; done
}

# The VIPs of both families answer by the tunnel, to a client that the backend reaches by its router.
answers_pings() {
  ip netns exec peer ping -q -c 3 -i 0.3 -W $((2 * patience)) $vip &&
    ip netns exec peer ping -q -c 3 -i 0.3 -W $((2 * patience)) $vip6
}

# An address is on a device, in the output of `ip`.
has() { ip -oneline address show dev "$1" | grep -qF " $2" || { ip -oneline address show dev "$1"; return 1; }; }
has_all() {
  has eth0 192.0.2.11/24 && has eth0 2001:db8:1::b/64 && routes_are_short || return
  case $1 in
    networkd-l2) has lo $vip/32 && has lo $vip6/128 ;;
    networkd-ipip | networkd-gue) has gw4 $vip/32 && has gw6 $vip6/128 ;;
    *) has gw $vip/32 && has gw $vip6/128 ;;
  esac
}
routes_are_short() {
  ip route show default | grep -q 'via 192.0.2.254 .*advmss 1388' &&
    ip -6 route show default | grep -q 'via 2001:db8:1::fe .*advmss 1388' || { ip route; ip -6 route; return 1; }
}
settings() { is "$(sysctl -n net.ipv4.conf.all.{arp_ignore,arp_announce,rp_filter} | xargs)" "1 2 2"; }
gue_port() { ip fou show | grep '^port 6080 gue' || { ip fou show; return 1; }; }
configured() { networkctl list --no-legend --no-pager | awk -v device="$1" '$2 == device { print; found = $5 == "configured" } END { exit !found }'; }
nothing_left() { ! ip -oneline address | grep -F -e " $vip/" -e " $vip6/" && ! gue_port > /dev/null; }

# The devices of a scene, by their names.
devices() {
  case $1 in
    networkd-l2) echo lo ;;
    networkd-ipip | networkd-gue) echo gw4 gw6 ;;
    *) echo gw ;;
  esac
}

# The peer's way to a backend of this scene.
way_to() {
  case $1 in
    networkd-l2) peer route add $vip via 192.0.2.11 src 198.51.100.7 && peer route add $vip6 via 2001:db8:1::b src 2001:db8:3::7 ;;
    networkd-ipip)
      way to4 4 ipip local 192.0.2.1 remote 192.0.2.11 && way to6 6 sit local 192.0.2.1 remote 192.0.2.11
      ;;
    networkd-gue)
      way to4 4 ipip local 192.0.2.1 remote 192.0.2.11 encap gue encap-sport auto encap-dport 6080 &&
        way to6 6 sit local 192.0.2.1 remote 192.0.2.11 encap gue encap-sport auto encap-dport 6080
      ;;
    networkd-gre) way to 46 gre local 192.0.2.1 remote 192.0.2.11 ;;
    networkd-ipip6) way to 46 ip6tnl mode any local 2001:db8:1::1 remote 2001:db8:1::b ;;
  esac
}

# Claims of a scene whose files networkd has.
holds() {
  local scene=$1 device
  claim "$scene: addresses and routes are there" within 60 has_all "$scene"
  for device in eth0 $(devices "$scene"); do claim "$scene: networkd has configured $device" within 60 configured "$device"; done
  if [ "$scene" = networkd-gue ]; then claim "the GUE port is open" within 15 gue_port; fi
  claim "ARP and the filter are set" settings
  claim "the peer has a way" way_to "$scene"
  claim "$scene: both VIPs answer through it" within 20 answers_pings
}

# Takes the files away, as the document says.
undo() {
  local device
  if [ -e $unit ]; then systemctl disable --now guideway-gue.service; fi
  # shellcheck disable=SC2086
  rm $files
  networkctl reload
  for device in gw4 gw6 gw; do ip link delete "$device" 2> /dev/null || :; done
  no_way
}

claim "systemd is the first process" is "$(cat /proc/1/comm)" systemd || return
claim "networkd runs" within 60 systemctl -q is-active systemd-networkd || return
claim "the module fou is loaded" grep -q '^fou ' /proc/modules
claim "a peer is there" make_peer || return
holds networkd-gue
claim "networkd-gue: the commands can be repeated" bash -euxc "$(commands networkd-gue)"
claim "both VIPs answer still" within 20 answers_pings
files=$(cat /run/files)

for scene in networkd-ipip networkd-ipip6 networkd-gre networkd-l2; do
  claim "the files are gone" undo
  claim "no VIP is left, and no port" within 10 nothing_left
  files=$(write_files $scene)
  claim "$scene: networkd takes the files" bash -euxc "$(commands $scene)"
  holds $scene
done
if [ "$failures" != 0 ]; then journalctl --no-pager --output cat --unit systemd-networkd | tail -n 60; fi
