# two networks in VLANs of a virtual function, with the same VIPs, backends' addresses and clients, under reloads

# A network in a VLAN: a client and two servers, whose addresses are those of every other network.
vlan_network() {
  ip link add "trunk.$2" link trunk type vlan id "$2"
  bridge "$1" "trunk.$2"
  node "$1-client" "$1" 10.0.0.10/24 fd00:1::10/64
  web_server "$1-web1" "$1" 10.0.0.21/24 fd00:1::21/64
  web_server "$1-web2" "$1" 10.0.0.22/24 fd00:1::22/64
}

# Fetches a page so many times from a client port on, and prints each answer.
from_ports() {
  local network=$1 url=$2 port=$3 count=$4
  for port in $(seq "$port" $((port + count - 1))); do
    ip netns exec "$network-client" curl -s -m $((5 * patience)) --local-port "$port" "$url" || echo "error $?"
  done
}
# Every answer is one of the network's own servers'.
own_servers_answer() {
  local said
  said=$(from_ports "$@" | sort | uniq -c)
  echo "$said"
  is "$(echo "$said" | awk -v own="^$1-web[12]$" '$2 ~ own { all += $1 } END { print all + 0 }')" "$4"
}
# The same of both networks at once, by the same ports of the same client address.
both_answer() {
  local blue green
  own_servers_answer blue "$@" > /tmp/blue & blue=$!
  own_servers_answer green "$@" > /tmp/green & green=$!
  wait $blue
  blue=$?
  wait $green
  green=$?
  cat /tmp/blue /tmp/green
  [ $blue = 0 ] && [ $green = 0 ]
}
# A service's connections are in the conntrack table, so many at least.
tracks() {
  local entries
  entries=$(ask conntrack list --service "$1" '.matching')
  echo "$entries entries"
  [ "$entries" -ge "$2" ]
}
only_untagged_frames_are_lost() {
  local drops
  drops=$(guideway drops | grep -E ' packets?$') || return 1
  grep -q '^no_network ' <<< "$drops" && ! grep -v '^no_network ' <<< "$drops"
}
reloads() {
  local ports
  for ports in '80, 8080' '80' '80, 8080'; do
    sed -i "s/^ports = .*/ports = [$ports]/" $config
    guideway reload || return 1
    sleep 2
  done
}

make_vfs 1
ip link set "$pf" vf 0 trust on spoofchk off
claim "vfio-pci takes the function" give "$(vf 0)" || return
claim "huge pages are reserved" huge_pages 256 || return
vlan_network blue 100
vlan_network green 200
engine 1
# A program cannot be told of a VIP that two networks have.
sed -i '/^\[\[announcement\]\]/,/^$/d' $config
cat >> $config << TOML
[[port]]
name = "lan"
device = "$(vf 0)"
TOML
for network in blue green; do
  case $network in blue) vlan=100 ;; green) vlan=200 ;; esac
  cat >> $config << TOML

[[network]]
name = "$network"
port = "lan"
vlan = $vlan
ip_addresses = ["10.0.0.2/24", "fd00:1::2/64"]
TOML
  service $network $vip 10.0.0.21 10.0.0.22 "network = \"$network\""
  service $network-six $vip6 fd00:1::21 fd00:1::22 "network = \"$network\""
done

claim "the appliance starts, and 8 backends are healthy" starts 8 || return
claim "each network's servers answer its client by IPv4" both_answer "http://$vip/" 41000 12
claim "each network's servers answer its client by IPv6" both_answer "http://[$vip6]/" 42000 8
claim "blue has conntrack entries of its own" tracks blue 12
claim "green has conntrack entries of its own" tracks green 12
claim "nothing is answered outside of the VLANs" is "$(pages "http://$vip/" 2 | sort | uniq -c | awk '{ print $1, $2 }')" "2 error"

note "reloads, while both networks fetch pages"
reloads > /tmp/reloads 2>&1 &
reloading=$!
claim "no connection is lost or strays under reloads" both_answer "http://$vip/" 43000 24
claim "the reloads are taken" wait $reloading
claim "the new port is served in both" both_answer "http://$vip:8080/" 44000 6

note "green-web1 fails"
silence green-web1
claim "it is found unhealthy" within 30 healthy_of green 1
claim "green goes on with its other server, blue with both" both_answer "http://$vip/" 45000 12
claim "blue's backends are healthy" healthy_of blue 2
claim "nothing was lost but untagged frames, which are of no network" only_untagged_frames_are_lost
