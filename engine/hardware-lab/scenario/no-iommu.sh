# a machine without an IOMMU: a virtual function is refused with the remedy, a physical one is driven by uio_pci_generic
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

# Debian's kernel lacks vfio's mode without an IOMMU. A physical function has a legacy interrupt, which is what
# uio_pci_generic needs.
modprobe uio_pci_generic
dpdk-devbind.py --bind=uio_pci_generic $e1000e
claim "uio_pci_generic takes a physical function" driver_is $e1000e uio_pci_generic || return
configure $e1000e 1
claim "the appliance starts, and 4 backends are healthy" starts || return
serves
