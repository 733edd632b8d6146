# a physical function (igb) with three queues, spread over three workers by its RSS
# cpus: 4

spread_is_even() { is "$(ask stats "([.workers[].offered] | max * length < 3 * add)")" true; }

claim "vfio-pci takes the function" give $igb || return
claim "huge pages are reserved" huge_pages 256 || return
configure $igb "1, 2, 3"
claim "the appliance starts, and 4 backends are healthy" starts || return
claim "the port has 3 queues" queues_are 3
claim "the port spreads by RSS" is "$(ask status '.ports[0].rss')" true
serves
claim "64 connections are answered" answers "http://$vip/" 64
claim "every worker has packets" workers_without_packets 0
claim "no worker has more than three times an even part" spread_is_even
claim "the link is up" link_is true
