# an e1000e NIC, of one queue, whose packets one worker hands to the other
# cpus: 3

claim "vfio-pci takes the function" give $e1000e || return
claim "huge pages are reserved" huge_pages 256 || return
configure $e1000e "1, 2"
claim "the appliance starts, and 4 backends are healthy" starts || return
claim "the port has 1 queue" queues_are 1
serves
claim "both workers have packets" workers_without_packets 0
claim "QEMU pulls the cable" link e1000e down
claim "the link is down" within 15 link_is false
claim "QEMU plugs the cable in" link e1000e up
claim "the link is up again" within 20 link_is true
claim "4 backends are healthy again" within 30 healthy 4
claim "12 connections by IPv4 are answered again" answers "http://$vip/" 12
