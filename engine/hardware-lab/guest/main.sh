# Runs the scenario with what scenarios say at hand, and gives the verdict: passed if every claim held.
PATH=/share:$PATH
cd /share/guest || exit
for part in claim device network appliance traffic; do . "./$part.sh"; done
note "the guest is up: $(uname -sr), $(nproc) processors, DPDK $(dpkg-query -W -f '${Version}' dpdk)"
guideway --version
modprobe -a virtio_net bridge veth 8021q
network
. /share/scenario.sh
stops
verdict
