#!/bin/sh
# A web server behind the appliance: it has the virtual IP address, tells nobody so, and answers clients directly.
set -eu
ip address add "$VIP/32" dev lo
# Between containers nobody computes checksums, as no wire could damage a packet. The probes of the appliance verify them.
ethtool -K eth0 tx off > /dev/null
echo "$(hostname)" > /var/www/html/index.html
exec nginx -g 'daemon off;'
