#!/bin/sh
# A web server behind the appliance: it has the virtual IP address, tells nobody so, and answers clients directly.
set -eu
ip address add "$VIP/32" dev lo
echo "$(hostname)" > /var/www/html/index.html
exec nginx -g 'daemon off;'
