# The program of the appliance's announcement: keeps what it is told.
echo "$* $(cut -d ' ' -f 1 /proc/uptime)" >> /tmp/announced
