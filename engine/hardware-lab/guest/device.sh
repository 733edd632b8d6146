# NICs of the guest, as an operator has them: their PCI addresses, virtual functions, drivers, and QEMU's hold on their links.

igb=0000:02:00.0
e1000e=0000:03:00.0
vmxnet3=0000:04:00.0
virtio=0000:05:00.0

# The kernel's interface of a PCI function.
interface() { ls "/sys/bus/pci/devices/$1/net" 2> /dev/null | head -n 1; }

# The PCI address of a virtual function of the igb NIC.
vf() { basename "$(readlink "/sys/bus/pci/devices/$igb/virtfn$1")"; }

# Makes virtual functions of the igb NIC, whose kernel's interface is $pf from then on.
make_vfs() {
  modprobe igb
  within 10 interface $igb > /dev/null
  pf=$(interface $igb)
  ip link set "$pf" up
  echo "$1" > "/sys/bus/pci/devices/$igb/sriov_numvfs"
}

# Gives PCI functions to DPDK.
give() {
  modprobe vfio-pci
  dpdk-devbind.py --bind=vfio-pci "$@"
  local function
  for function in "$@"; do driver_is "$function" vfio-pci || return 1; done
}
driver_is() { is "$(basename "$(readlink "/sys/bus/pci/devices/$1/driver")")" "$2"; }

# Reserves 2 MiB pages.
huge_pages() { sysctl -qw "vm.nr_hugepages=$1" && is "$(sysctl -n vm.nr_hugepages)" "$1"; }

# Asks QEMU's monitor, by the port that leads there, to pull a NIC's cable or to plug it in.
link() {
  local up answer
  case $2 in up) up=true ;; down) up=false ;; esac
  [ -n "${monitor-}" ] || { exec {monitor}<> /run/monitor; printf '{"execute": "qmp_capabilities"}\n' >&"$monitor"; }
  printf '{"execute": "set_link", "arguments": {"name": "%s", "up": %s}, "id": "link %s"}\n' "$1" $up "$2" >&"$monitor"
  while read -r -t 5 answer <&"$monitor"; do
    case $answer in *'"link '"$2"'"'*) echo "$answer" | grep -q '"return"'; return ;; esac
  done
  return 1
}
