# a vmxnet3 NIC, whose receive queues are a power of two: two workers, then three
# cpus: 4

# QEMU's model offers RSS and puts every packet into the first queue, so that spread is not claimed.
claim "vfio-pci takes the function" give $vmxnet3 || return
claim "huge pages are reserved" huge_pages 256 || return
configure $vmxnet3 "1, 2"
claim "the appliance starts with 2 workers, and 4 backends are healthy" starts || return
claim "the port has 2 queues" queues_are 2
serves
stops

configure $vmxnet3 "1, 2, 3"
claim "the appliance starts with 3 workers, and 4 backends are healthy" starts || return
claim "the port has 2 queues" queues_are 2
serves
