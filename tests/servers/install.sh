#!/bin/sh
# Installs what the tests (or, with the word `bench`, the benchmarks) need beyond Python packages, where that is possible:
# root on Debian or Ubuntu. Elsewhere what needs a missing one is skipped, with a reason, and counted.
set -eu
missing=""
command -v docker-registry >/dev/null 2>&1 || missing="$missing docker-registry"
command -v skopeo >/dev/null 2>&1 || missing="$missing skopeo"
command -v buildah >/dev/null 2>&1 || missing="$missing buildah"
command -v cc >/dev/null 2>&1 || missing="$missing gcc libc6-dev"
if [ "${1:-tests}" = bench ]; then
  what="benchmarks"
  command -v openssl >/dev/null 2>&1 || missing="$missing openssl"
  [ -e /usr/include/openssl/ssl.h ] || missing="$missing libssl-dev"
else
  what="tests"
  command -v tinyproxy >/dev/null 2>&1 || missing="$missing tinyproxy"
  command -v prometheus >/dev/null 2>&1 || missing="$missing prometheus"
  command -v radosgw >/dev/null 2>&1 || missing="$missing radosgw"
  command -v ceph-mon >/dev/null 2>&1 || missing="$missing ceph-mon"
  command -v ceph-mgr >/dev/null 2>&1 || missing="$missing ceph-mgr"
  command -v ceph-osd >/dev/null 2>&1 || missing="$missing ceph-osd"
  command -v chromium >/dev/null 2>&1 || missing="$missing chromium"
  [ -e /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc ] || missing="$missing fonts-noto-cjk"
  command -v podman >/dev/null 2>&1 || missing="$missing podman"
  command -v runc >/dev/null 2>&1 || missing="$missing runc"
  command -v debootstrap >/dev/null 2>&1 || missing="$missing debootstrap"
  command -v systemd-nspawn >/dev/null 2>&1 || missing="$missing systemd-container"
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
  echo "not installed:$missing; $what that need them will be skipped" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# A list of words:
# shellcheck disable=SC2086
apt-get -qq -y --no-install-recommends install $missing >/dev/null
