# Traffic of the client's, through the VIPs.

# Fetches the page of a VIP so many times, each by a connection of its own, and prints who answered.
pages() {
  local url=$1 count=$2
  for _ in $(seq "$count"); do
    ip netns exec "${3:-client}" curl -s -m $((5 * patience)) "$url" || echo "error $?"
  done
}
# Every connection is answered, by so many servers.
answers() {
  local said
  said=$(pages "$@" | sort | uniq -c)
  echo "$said"
  is "$(echo "$said" | awk '$2 ~ /^web/ { all += $1 } END { print all + 0 }')" "$2"
}
answered_by() {
  local server=$1 said
  shift
  said=$(pages "$@" | sort | uniq -c)
  echo "$said"
  is "$(echo "$said" | awk '{ print $1, $2 }')" "$2 $server"
}
downloads() {
  is "$(ip netns exec client curl -s -m $((30 * patience)) -o /dev/null -w '%{size_download}' "$@")" 300000
}
uploads() {
  is "$(head -c "$2" /dev/zero | ip netns exec client curl -s -m $((30 * patience)) --data-binary @- -H 'Expect:' "$1/cgi-bin/count")" "$2"
}

# Both VIPs answer every time, and long answers arrive whole.
serves() {
  claim "12 connections by IPv4 are answered" answers "http://$vip/" 12
  claim "8 connections by IPv6 are answered" answers "http://[$vip6]/" 8
  claim "300,000 bytes arrive by IPv4" downloads "http://$vip/big"
  claim "300,000 bytes arrive by IPv6" downloads "http://[$vip6]/big"
  claim "no packet was lost" nothing_is_lost
}
