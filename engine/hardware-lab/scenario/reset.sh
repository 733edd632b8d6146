# a physical function that goes down and up, or gets another MTU, and with it resets its virtual functions

make_vfs 1
ip link set "$pf" vf 0 mac 02:00:00:00:00:02 trust on spoofchk off
claim "vfio-pci takes the function" give "$(vf 0)" || return
claim "huge pages are reserved" huge_pages 256 || return
configure "$(vf 0)" 1
claim "the appliance starts, and 4 backends are healthy" starts || return
serves

survives() {
  claim "the reset is told" within 30 event 'reset'
  note "events of the port: $(ask events '[.events[] | select(.kind | test("^(port|link)_")) | .kind] | join(", ")')"
  claim "4 backends are healthy again" within 60 healthy 4
  claim "the link is up" link_is true
  claim "the function keeps its MAC address" is "$(ask status '.ports[0].mac')" 02:00:00:00:00:02
  claim "12 connections by IPv4 are answered" answers "http://$vip/" 12
  claim "8 connections by IPv6 are answered" answers "http://[$vip6]/" 8
}
note "the physical function goes down and up"
ip link set "$pf" down
claim "the backends are found unhealthy" within 30 healthy 0
ip link set "$pf" up
survives
note "the physical function's MTU changes"
ip link set "$pf" mtu 1600
sleep 10
survives
