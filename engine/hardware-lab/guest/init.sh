#!/bin/sh
# The guest's first process: mounts what is missing, runs the scenario, and switches the machine off.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm /dev/hugepages
mount -t hugetlbfs huge /dev/hugepages
for folder in /run /tmp /dev/shm; do mount -t tmpfs tmpfs "$folder"; done
hostname guest
ip link set lo up
modprobe -a virtio_console 9pnet_virtio
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,ro share /share
port() { for path in /sys/class/virtio-ports/*; do [ "$(cat "$path/name")" = "$1" ] && echo "/dev/${path##*/}"; done; }
ln -s "$(port monitor)" /run/monitor
# A scenario may be for a guest that systemd boots.
if [ -e /share/boots ]; then LOG=$(port log) exec bash /share/guest/boot.sh; fi
bash /share/guest/main.sh > "$(port log)" 2>&1
sync
echo o > /proc/sysrq-trigger
sleep 10
