# jumbo frames of 9,000 bytes through a virtual function

make_vfs 1
ip link set "$pf" mtu 9000
ip link set "$pf" vf 0 trust on spoofchk off
for name in client web1 web2; do
  ip link set $name mtu 9000
  ip -n $name link set eth0 mtu 9000
done
claim "vfio-pci takes the function" give "$(vf 0)" || return
claim "huge pages are reserved" huge_pages 400 || return
configure "$(vf 0)" 1 "mtu = 9000" "[network]
mtu = 9000"
claim "the appliance starts, and 4 backends are healthy" starts || return
claim "the port's MTU is 9000" is "$(ask status '.ports[0].mtu')" 9000
# 20 + 8 and 40 + 8 bytes of headers.
claim "the appliance answers pings of 9,000 bytes by IPv4" \
  ip netns exec client ping -q -c 3 -W 5 -M do -s 8972 10.0.0.2
claim "the appliance answers pings of 9,000 bytes by IPv6" \
  ip netns exec client ping -q -c 3 -W 5 -M do -s 8952 fd00:1::2
serves
claim "2,000,000 bytes reach a server by IPv4" uploads "http://$vip" 2000000
claim "2,000,000 bytes reach a server by IPv6" uploads "http://[$vip6]" 2000000
claim "they came in jumbo frames" is "$(ask stats '[.rules[] | .bytes > 3000 * .packets] | any')" true
claim "no packet was lost" nothing_is_lost
