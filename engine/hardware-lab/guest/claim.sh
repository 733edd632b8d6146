# Claims of a scenario: a line each in the log, with the guest's seconds since its boot; one that fails shows what was said.

claims=0
failures=0
# Factor of every limit in seconds: the emulator's machine may have more to do.
patience=$(cat /share/patience)

uptime_sec() { cut -d ' ' -f 1 /proc/uptime; }
note() { printf '       %7s s  %s\n' "$(uptime_sec)" "$*"; }

# Holds if the command succeeds; its status is the command's, for what cannot go on without.
claim() {
  local text=$1
  shift
  claims=$((claims + 1))
  if "$@" > /tmp/said 2>&1; then
    printf 'ok     %7s s  %s\n' "$(uptime_sec)" "$text"
  else
    failures=$((failures + 1))
    printf 'FAILED %7s s  %s\n' "$(uptime_sec)" "$text"
    printf '         %s\n' "$*"
    tail -n 5 /tmp/said | sed 's/^/         said: /'
    if [ -s /tmp/guideway.log ]; then tail -n 3 /tmp/guideway.log | sed 's/^/         log:  /'; fi
    return 1
  fi
}

# Repeats a command until it succeeds, for so many seconds at most.
within() {
  local end=$((SECONDS + $1 * patience))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.5
  done
}

is() { [ "$1" = "$2" ] || { echo "$1, not $2"; return 1; }; }
is_not() { [ "$1" != "$2" ] || { echo "still $1"; return 1; }; }

verdict() {
  if [ "$failures" = 0 ] && [ "$claims" -gt 0 ]; then
    echo "verdict: passed, $claims claims"
  else
    echo "verdict: failed, $failures of $claims claims"
  fi
}
