# virtual functions that the host takes away while the appliance has one

# The appliance goes on without its port, or has ended by itself with a status of its own.
ended_in_order() {
  if runs; then return; fi
  wait $appliance
  local status=$?
  appliance=
  [ $status -lt 128 ] || { echo "status $status"; return 1; }
}

make_vfs 1
ip link set "$pf" vf 0 trust on spoofchk off
claim "vfio-pci takes the function" give "$(vf 0)" || return
claim "huge pages are reserved" huge_pages 256 || return
configure "$(vf 0)" 1
function=$(vf 0)
claim "the appliance starts, and 4 backends are healthy" starts || return
claim "12 connections by IPv4 are answered" answers "http://$vip/" 12
claim "the VIP is announced" within 10 announcement_is $vip announce

remove() { timeout $((60 * patience)) sh -c "echo 0 > /sys/bus/pci/devices/$igb/sriov_numvfs"; }
# A command that waits in the kernel cannot be ended: it is left behind.
remove &
removal=$!
removed() { ! kill -0 $removal 2> /dev/null; }
claim "the function's removal is told" within 30 log_says 'port lan: its device is gone'
claim "the VIP's announcement is withdrawn" within 30 announcement_is $vip withdraw
claim "the removal comes to its end" within 60 removed
claim "the function is gone" within 5 test ! -e "/sys/bus/pci/devices/$function"
claim "the appliance is not killed by a signal" ended_in_order
