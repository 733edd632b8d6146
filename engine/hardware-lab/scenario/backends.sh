# docs/backends.md, every block of it: tunnels, networkd and a DaemonSet, by Debian's kernel
# limit: 3600
# tests: backends::

# Path at which the tests look for the appliance's binary.
binary=$(cat /share/guideway.path)
mkdir -p "$(dirname "$binary")"
ln -s /share/guideway "$binary"

# An emulated machine beside a busy one takes its time.
export GUIDEWAY_LAB_SLOWNESS=6

# A test that skips what it is for does not hold here.
plays() {
  /share/live --test-threads=1 --exact "$1" > /tmp/test 2>&1
  local status=$?
  grep -v '^   ' /tmp/test
  ! grep SKIPPED /tmp/test && [ "$status" = 0 ]
}

# A test is a claim.
for test in $(/share/live --list --format terse "$(cat /share/tests)" | sed -n 's/: test$//p'); do
  claim "$test" plays "$test" || { grep -v "^   " /tmp/test | cut -c 1-400 | sed -n '1,20p'; tail -n 100 /tmp/test | cut -c 1-400; }
done
