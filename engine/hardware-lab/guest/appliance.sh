# The appliance: its configuration, its start and end, and what it says of itself.

appliance=
config=/tmp/guideway.toml
log=/tmp/guideway.log
announced=/tmp/announced

# Writes the configuration of one network: device, workers' cores, further lines of the port and further tables.
configure() {
  engine "$2"
  cat >> $config << TOML
${4-}

[[port]]
name = "lan"
device = "$1"
ip_addresses = ["10.0.0.2/24", "fd00:1::2/64"]
${3-}
TOML
  service web $vip 10.0.0.21 10.0.0.22
  service web-six $vip6 fd00:1::21 fd00:1::22
}

# Begins a configuration: workers' cores.
engine() {
  cat > $config << TOML
[engine]
control_core = 0
worker_cores = [$1]

[conntrack]
max_entries = 100_000

[[announcement]]
name = "log"
command = ["/bin/sh", "/share/guest/announce.sh"]

TOML
}

# Adds a service of two web servers to the configuration: name, VIP, their addresses, and a line that names its network.
service() {
  cat >> $config << TOML

[[forwarding_rule]]
name = "$1"
ip_address = "$2"
ports = [80]
backend_service = "$1"
${5-}

[[backend_service]]
name = "$1"
health_checks = ["$1"]
backends = [{ group = "$1" }]
${5-}

[[backend_group]]
name = "$1"
endpoints = [{ name = "$1-1", ip_address = "$3" }, { name = "$1-2", ip_address = "$4" }]
${5-}

[[health_check]]
name = "$1"
type = "HTTP"
check_interval_sec = 2
timeout_sec = 2
TOML
}

# Starts the appliance, and waits until so many backends are healthy (4), for so many seconds at most (60).
starts() {
  : > $announced
  guideway run --config $config > $log 2>&1 &
  appliance=$!
  within "${2:-60}" healthy_or_gone "${1:-4}"
  if gone; then
    appliance=
    return 1
  fi
  healthy "${1:-4}"
}
healthy_or_gone() { healthy "$1" || gone; }

# Runs the appliance to its end, which is a refusal that says so.
refuses() {
  guideway run --config $config > $log 2>&1
  is $? 1 && grep -qF -- "$1" $log
}

# Stops the appliance, if it runs.
stops() {
  [ -n "$appliance" ] || return
  note "the appliance stops: $(summary)"
  claim "the appliance stops with status 0" stop
  appliance=
}
stop() {
  kill -TERM $appliance
  within 20 gone || { kill -KILL $appliance; echo "killed"; return 1; }
  wait $appliance
  is $? 0
}
gone() { ! kill -0 $appliance 2> /dev/null; }
runs() { kill -0 $appliance; }

# Prints a verb's answer, by a filter of jq's, the last word.
ask() { timeout $((10 * patience)) guideway "${@:1:$#-1}" --output json 2> /dev/null | jq -r "${@: -1}"; }
healthy() { is "$(ask status '[.services[].healthy] | add')" "$1"; }
healthy_of() { is "$(ask status ".services[] | select(.name == \"$1\").healthy")" "$2"; }
link_is() { is "$(ask status '.ports[0].link_up')" "$1"; }
queues_are() { is "$(ask status '.ports[0].queues')" "$1"; }
workers_without_packets() { is "$(ask stats '[.workers[] | select(.offered == 0)] | length')" "$1"; }
nothing_is_lost() { guideway drops | grep -qx 'no packet was lost' || { guideway drops; return 1; }; }
# The latest event of a kind, a regular expression.
event() { timeout $((10 * patience)) guideway events --output json | jq -e --arg kind "$1" '[.events[] | select(.kind | test($kind))] | last'; }
log_says() { grep -qE -- "$1" $log; }
# The last that the announcement's program was told of a VIP.
announcement_is() { is "$(grep " $1 " $announced | tail -n 1 | cut -d ' ' -f 1)" "$2"; }

# Ports with their queues, and each worker's part of the packets.
summary() {
  ask status '[.ports[] | "\(.name): \(.driver), MTU \(.mtu), \(.queues) queues, RSS \(.rss)"] | join("; ")'
  ask stats '"packets of the workers: " + ([.workers[].offered | tostring] | join(", "))'
}
