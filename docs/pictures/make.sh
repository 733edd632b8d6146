#!/bin/sh
# Makes the pictures of the status page anew, of the page that its test has as a snapshot, with Debian's chromium
# and pngquant.
# Pictures of `guideway top` are made by its tests: INSTA_UPDATE=always cargo test -p guideway --bin guideway pictures
set -eu
cd "$(dirname "$0")"
page=../../control/src/api/status_page
snapshot=$page/snapshots/guideway__api__status_page__document__tests__a_page_of_services_that_fail_and_serve.snap
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp $page/status.css $page/status.svg "$work"
# Lines above the page are the snapshot's own head.
sed '1,/^---$/{1!{/^---$/!d}}; 1d' $snapshot | sed '0,/^---$/d' | grep -v '<script' >"$work/index.html"
# A window of chromium is never as narrow as a phone; a frame in it is.
cat >"$work/phone.html" <<'HTML'
<!DOCTYPE html><style>body { margin: 0; background: #9aa3ad } iframe { display: block; width: 360px; height: 1160px;
margin: 20px auto; border: 10px solid #1b1f24; border-radius: 24px; background: #fff }</style><iframe src="index.html"></iframe>
HTML
picture() {
  chromium --headless=new --no-sandbox --disable-dev-shm-usage --disable-gpu --hide-scrollbars --user-data-dir="$work/profile" \
    --window-size="$3" --blink-settings=preferredColorScheme="$4" --screenshot="$work/$1.png" "file://$work/$2.html" 2>/dev/null
  pngquant --force --output "$1.png" 64 "$work/$1.png"
}
picture status-page index 1280,1010 1
picture status-page-dark index 1280,1010 0
picture status-page-phone phone 500,1220 1
