# the cable of a virtual function's NIC is pulled and plugged in: events, and announcements that follow

# The withdrawal names the link, rather than the backends that are unhealthy in consequence.
withdrawn_for_the_link() { event "^route_withdrawn" | tee /dev/stderr | grep -qi link; }

make_vfs 1
ip link set "$pf" vf 0 trust on spoofchk off
claim "vfio-pci takes the function" give "$(vf 0)" || return
claim "huge pages are reserved" huge_pages 256 || return
configure "$(vf 0)" 1
claim "the appliance starts, and 4 backends are healthy" starts || return
claim "the link is up" link_is true
claim "the VIP is announced" within 10 announcement_is $vip announce
claim "12 connections by IPv4 are answered" answers "http://$vip/" 12

claim "QEMU pulls the cable" link igb down
claim "the link is down" within 15 link_is false
claim "an event tells of it" within 5 event '^link_(down|lost)'
claim "the log tells of it" log_says 'link.*(down|lost)'
claim "the IPv4 VIP's announcement is withdrawn" within 15 announcement_is $vip withdraw
claim "the IPv6 VIP's announcement is withdrawn" within 15 announcement_is $vip6 withdraw
claim "the link is the reason" withdrawn_for_the_link

claim "QEMU plugs the cable in" link igb up
claim "the link is up again" within 20 link_is true
claim "an event tells of it" within 5 event '^link_(up|restored)'
claim "4 backends are healthy again" within 30 healthy 4
claim "the IPv4 VIP is announced again" within 15 announcement_is $vip announce
claim "the IPv6 VIP is announced again" within 15 announcement_is $vip6 announce
claim "12 connections by IPv4 are answered again" answers "http://$vip/" 12
note "the announcement's program was told: $(paste -s -d ';' $announced)"
