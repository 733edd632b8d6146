#!/bin/sh
# A client. Between containers nobody computes checksums, as no wire could damage a packet; a load balancer is one.
set -eu
ethtool -K eth0 tx off > /dev/null
exec sleep infinity
