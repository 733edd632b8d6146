# a VLAN that the PF puts a virtual function into, and tagged frames on a physical function

# Puts the client and the servers into a VLAN of the trunk.
move_to_vlan() {
  local name
  ip link add trunk.$1 link trunk type vlan id "$1"
  bridge lan$1 trunk.$1
  for name in client web1 web2; do ip link set $name master lan$1; done
}

make_vfs 1
ip link set "$pf" vf 0 trust on spoofchk off vlan 100
claim "vfio-pci takes the function" give "$(vf 0)" || return
claim "huge pages are reserved" huge_pages 256 || return
move_to_vlan 100
configure "$(vf 0)" 1
claim "the appliance starts in VLAN 100, and 4 backends are healthy" starts || return
serves
for name in client web1 web2; do ip link set $name master lan; done
claim "outside of the VLAN no backend is healthy" within 30 healthy 0
for name in client web1 web2; do ip link set $name master lan100; done
claim "4 backends are healthy again" within 30 healthy 4
stops

# Tagged frames of clients go to the backends with their tag. The appliance answers untagged ARP alone, so that the
# client is told its MAC address.
note "tagged frames on the physical function"
for name in client web1 web2; do ip link set $name master lan; done
echo 0 > /sys/bus/pci/devices/$igb/sriov_numvfs
claim "vfio-pci takes the function" give $igb || return
configure $igb 1
claim "the appliance starts, and 4 backends are healthy" starts || return
host=10
for name in client web1 web2; do
  ip -n $name link add vlan300 link eth0 type vlan id 300
  ip -n $name address add 10.30.0.$host/24 dev vlan300
  ip -n $name link set vlan300 up
  host=$((host + 10))
done
mac=$(ask status '.ports[0].mac')
ip -n client neighbor replace $vip lladdr "$mac" dev vlan300 nud permanent
ip -n client route add $vip dev vlan300
claim "12 tagged connections are answered" answers "http://$vip/" 12
claim "300,000 bytes arrive tagged" downloads "http://$vip/big"
claim "no packet was lost" nothing_is_lost
