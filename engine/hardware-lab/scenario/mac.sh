# a MAC address of the appliance's own on a virtual function, and a host that refuses it

client_finds() {
  answers "http://$vip/" 1
  is "$(ip -n client -j neighbor show $vip dev eth0 | jq -r '.[0].lladdr')" "$1"
}

make_vfs 1
ip link set "$pf" vf 0 trust on spoofchk off
claim "vfio-pci takes the function" give "$(vf 0)" || return
claim "huge pages are reserved" huge_pages 256 || return
address='[network]
mac_address = "02:00:00:00:00:77"'
configure "$(vf 0)" 1 "" "$address"
if claim "the appliance starts, and 4 backends are healthy" starts; then
  claim "the client finds the configured address" client_finds 02:00:00:00:00:77
  serves
fi
stops

# The host gives the function an address and trusts it with no other.
ip link set "$pf" vf 0 mac 02:00:00:00:00:02 trust off spoofchk on
note "the function may have 02:00:00:00:00:02 alone"
guideway run --config $config > $log 2>&1 &
appliance=$!
claim "the refusal names the address" within 30 log_says '02:00:00:00:00:77'
# The appliance goes on where the driver does not hear of the refusal, as igb's; before it listens, a signal would just kill it.
serves_or_is_gone() { is_not "$(ask status .pid)" "" || gone; }
claim "the appliance has started, or ended by itself" within 30 serves_or_is_gone
if gone; then appliance=; fi
stops

configure "$(vf 0)" 1
claim "the appliance starts with the host's address, and 4 backends are healthy" starts || return
claim "the port has the host's address" is "$(ask status '.ports[0].mac')" 02:00:00:00:00:02
claim "12 connections by IPv4 are answered" answers "http://$vip/" 12
