# a virtual function without an IOMMU: refused with the remedy, and driven by vfio's unsafe mode
# iommu: off

make_vfs 1
ip link set "$pf" vf 0 trust on spoofchk off
claim "there is no IOMMU" is "$(ls /sys/kernel/iommu_groups | wc -l)" 0
claim "huge pages are reserved" huge_pages 256 || return
configure "$(vf 0)" 1

modprobe -r vfio-pci 2> /dev/null
dpdk-devbind.py --bind=vfio-pci "$(vf 0)"
claim "without vfio-pci the appliance names modprobe" refuses "modprobe vfio-pci"

modprobe vfio-pci
dpdk-devbind.py --bind=vfio-pci "$(vf 0)"
note "dpdk-devbind.py ended with status $?"
claim "vfio-pci does not take the function" test ! -e "/sys/bus/pci/devices/$(vf 0)/driver"
claim "the appliance names the IOMMU" refuses "IOMMU"

echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode
claim "vfio-pci takes the function in the unsafe mode" give "$(vf 0)" || return
claim "the appliance starts, and 4 backends are healthy" starts || return
claim "12 connections by IPv4 are answered" answers "http://$vip/" 12
claim "300,000 bytes arrive by IPv4" downloads "http://$vip/big"
