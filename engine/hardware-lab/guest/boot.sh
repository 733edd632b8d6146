# Boots the guest by systemd, with the files of a scene of docs/backends.md in place; the scenario is the last service.

. /share/guest/document.sh
write_files "$(cat /share/boots)" > /run/files
# Without a number of the machine, systemd would ask on the console who it is.
tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
mkdir -p /run/systemd/system/multi-user.target.wants
cat > /run/systemd/system/lab.service << UNIT
[Unit]
Description=Scenario of the hardware lab
After=dbus.service systemd-networkd.service

[Service]
Type=oneshot
Environment=PATH=$PATH HOME=$HOME TERM=$TERM
ExecStart=/bin/bash /share/guest/main.sh
ExecStopPost=/bin/sh -c 'sync; echo o > /proc/sysrq-trigger'
StandardOutput=file:$LOG
StandardError=inherit
UNIT
ln -s ../lab.service /run/systemd/system/multi-user.target.wants/
export SYSTEMD_OFFLINE=1
systemctl --quiet disable nginx
# shellcheck disable=SC2046
systemctl --quiet enable systemd-networkd $(sed -n 's|^/etc/systemd/system/||p' /run/files)
unset SYSTEMD_OFFLINE
exec /lib/systemd/systemd --unit=multi-user.target
