#!/bin/sh
# Makes a fresh Linux machine with systemd a worker (or finder) of dth. EC2 runs it once, as user data, with these lines before it:
#
#   ARTEFACT=s3://my-bucket/dth-0.1.0-linux-arm64.tar.gz   # the image's file system (make image-root): s3://, https:// or a path
#   SHA256=...                                             # its digest
#   ROLE=worker                                            # worker, finder or complete-multipart
#   SETTINGS='DTH_QUEUE=https://...                        # every setting, one a line
#   DTH_TABLE=photos
#   DTH_JOB_ID=photos'
#
# Nothing but the artefact is downloaded, and nothing of it is used before its digest is checked.
set -eu

: "${ARTEFACT:?where the artefact is}" "${SHA256:?the SHA-256 digest of the artefact}" "${SETTINGS:?settings of dth}"
: "${ROLE:=worker}"

fail() {
  echo "dth: $*" >&2
  exit 1
}

fetch() {
  case "$ARTEFACT" in
    s3://*) aws s3 cp --only-show-errors "$ARTEFACT" "$1" ;;
    https://* | http://*) curl -fsSL --connect-timeout 10 -o "$1" "$ARTEFACT" ;;
    /*) cp "$ARTEFACT" "$1" ;;
    *) fail "$ARTEFACT is no s3://, https:// or path" ;;
  esac
}

case "$ROLE" in
  worker | finder) unit="dth-$ROLE.service" ;;
  complete-multipart) unit="dth-$ROLE.timer" ;;
  *) fail "no role is called $ROLE: worker, finder or complete-multipart" ;;
esac

# BBR, as Data Transfer Hub had it: cubic, the usual congestion control, takes each lost packet for congestion and slows down,
# and links between continents lose packets all the time. BBR goes by the bandwidth and round-trip time that it measures.
cat >/etc/sysctl.d/90-dth.conf <<'EOF'
net.core.default_qdisc = fq
net.ipv4.tcp_congestion_control = bbr
EOF
modprobe -q tcp_bbr 2>/dev/null || true
sysctl -q -p /etc/sysctl.d/90-dth.conf 2>/dev/null || echo "dth: this machine has no BBR: long links that lose packets will be slow" >&2

# The artefact. A download that fails is tried again; a wrong digest is not.
umask 022
mkdir -p /opt/dth
file=/opt/dth/artefact
tries=0
until fetch "$file"; do
  tries=$((tries + 1))
  [ "$tries" -lt 10 ] || fail "$ARTEFACT cannot be fetched"
  sleep $((tries * 2))
done
echo "$SHA256  $file" | sha256sum -c --status || fail "$ARTEFACT does not have the digest $SHA256: nothing was installed"
rm -rf /opt/dth/root.new
mkdir /opt/dth/root.new
tar -xf "$file" -C /opt/dth/root.new --exclude='./dev/*' --exclude='dev/*'
touch /opt/dth/root.new/etc/resolv.conf /opt/dth/root.new/etc/hosts # the host's are mounted on them
rm -rf /opt/dth/root "$file"
mv /opt/dth/root.new /opt/dth/root

# Settings name credentials, they don't hold them; still, they are nobody else's business.
mkdir -p /etc/dth
(umask 077 && printf '%s\n' "$SETTINGS" >/etc/dth/settings.env)

units=/opt/dth/root/usr/share/dth/systemd
cp "$units"/*.service "$units"/*.timer /etc/systemd/system/
for one in "$units"/*.service; do
  drop=/etc/systemd/system/$(basename "$one").d
  mkdir -p "$drop"
  cp "$units/dth-root.conf" "$drop/root.conf"
done
systemctl daemon-reload
systemctl enable -q "$unit"
systemctl start --no-block "$unit"
