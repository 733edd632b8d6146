# a virtio-net NIC with four queue pairs and RSS, of which three workers have one each
# cpus: 4

claim "vfio-pci takes the function" give $virtio || return
claim "huge pages are reserved" huge_pages 256 || return
configure $virtio "1, 2, 3"
claim "the appliance starts, and 4 backends are healthy" starts || return
claim "the port has 3 queues" queues_are 3
serves
claim "64 connections are answered" answers "http://$vip/" 64
claim "every worker has packets" workers_without_packets 0
claim "QEMU pulls the cable" link virtio down
claim "the link is down" within 15 link_is false
claim "QEMU plugs the cable in" link virtio up
claim "the link is up again" within 20 link_is true
claim "4 backends are healthy again" within 30 healthy 4
