# a virtual function of an SR-IOV NIC, by vfio-pci behind an IOMMU: traffic, a failed backend, a reload
# cpus: 3

# Starts with a device that there is not.
refused_function() {
  configure "$1" "1, 2"
  refuses "there is no PCI device $1"
}
# Starts a second appliance on the device of the one that runs.
refused_as_busy() {
  sed 's|^\[\[announcement\]\]|[admin]\nsocket = "/run/second.sock"\n\n[metrics]\nlisten = "127.0.0.1:9478"\n\n&|' $config > /tmp/second.toml
  timeout $((60 * patience)) guideway run --config /tmp/second.toml > /tmp/second.log 2>&1
  local status=$?
  cat /tmp/second.log
  is $status 1 && grep -qi busy /tmp/second.log
}

make_vfs 2
claim "the NIC has 2 virtual functions" test -e "/sys/bus/pci/devices/$(vf 1)"
claim "the IOMMU has a group for a function" test -e "/sys/bus/pci/devices/$(vf 0)/iommu_group"
ip link set "$pf" vf 0 mac 02:00:00:00:00:02 trust on spoofchk off

configure "$(vf 0)" "1, 2"
claim "the lack of huge pages is said" refuses "no huge page is free"
claim "huge pages are reserved" huge_pages 256 || return
claim "a missing function is named" refused_function 0000:02:1f.7
configure "$(vf 0)" "1, 2"
claim "a function without DPDK's driver is named with the remedy" \
  refuses "$(vf 0) is bound to no driver: "
claim "vfio-pci takes the function" give "$(vf 0)" || return

claim "the appliance starts, and 4 backends are healthy" starts || return
claim "the port has the function's MAC address" is "$(ask status '.ports[0].mac')" 02:00:00:00:00:02
serves
claim "both workers have packets" workers_without_packets 0

claim "another appliance on the function is refused for the true cause" refused_as_busy

note "web2 fails"
silence web2
claim "web2 is found unhealthy" within 30 healthy_of web 1
claim "web1 answers alone" answered_by web1 "http://$vip/" 8
serve web2
claim "web2 is healthy again" within 30 healthy 4
claim "both answer again" is "$(pages "http://$vip/" 24 | sort -u | tr '\n' ' ')" "web1 web2 "

note "a reload, while a download goes on"
downloads "http://$vip/big" --limit-rate 60k &
download=$!
sleep 1
sed -i 's/^ports = \[80\]/ports = [80, 8080]/' $config
claim "the reload is taken" guideway reload
claim "the new port is served" answers "http://$vip:8080/" 6
claim "the download arrives whole" wait $download
claim "the IOMMU saw no wrong access" is "$(dmesg | grep -c 'DMAR.*Request device')" 0
