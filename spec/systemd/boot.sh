#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# boot.sh BUILD: what BUILD installs, under a real systemd with a real journal. As root.
#
# Boots the systemd of this machine as the first process of namespaces of its own, on a copy of the
# file system that is written to memory and goes with it. /sys and /proc/sys are read only, as in a container.
set -eu

build=$1
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)

# A cgroup of its own, which systemd takes for the root of all: nothing of it stays in ours.
cgroup=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)$(sed -n 's/^0:://p' /proc/self/cgroup)
cgroup=${cgroup%/}/decnet-spec-$$
mkdir "$cgroup"
trap 'find "$cgroup" -depth -type d -exec rmdir {} ";"; rm -rf "$scratch"' EXIT

cat >"$scratch/boot" <<'END'
set -e
mount -t tmpfs tmpfs "$SCRATCH/memory"
mkdir "$SCRATCH/memory/upper" "$SCRATCH/memory/work" "$SCRATCH/memory/root"
cd "$SCRATCH/memory/root"
mount -t overlay overlay \
  -o "lowerdir=/,upperdir=$SCRATCH/memory/upper,workdir=$SCRATCH/memory/work" .
cd "$SCRATCH/memory/root" # what is mounted now
cmake --install "$BUILD" --prefix "$PWD/usr" >/dev/null
mount -t proc proc proc
mount -o bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount --rbind /dev dev
mkdir -p out srv/app
mount --bind "$SCRATCH/out" out
cp "$HERE/workers.lua" srv/app/
cp "$HERE/checks.sh" .
cat >etc/systemd/system/checks.service <<'UNIT'
[Service]
Type=oneshot
ExecStart=/bin/sh /checks.sh
StandardOutput=file:/out/log
StandardError=inherit
UNIT
exec chroot . env -i container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=checks.service --log-target=journal --show-status=no
END

mkdir "$scratch/memory" "$scratch/out"
status=0
# shellcheck disable=SC2016 # the inner shell's
SCRATCH=$scratch BUILD=$build HERE=$here CGROUP=$cgroup timeout -s KILL 120 \
  sh -c 'echo $$ >"$CGROUP/cgroup.procs"; exec unshare -fpmCui --kill-child sh "$SCRATCH/boot"' \
  >"$scratch/boot.log" 2>&1 || status=$?
if ! [ -s "$scratch/out/log" ]; then
  cat "$scratch/boot.log"
  echo "boot.sh: systemd did not boot (status $status): that takes root, namespaces, an overlay, cgroup2" >&2
  exit 1
fi
cat "$scratch/out/log"
grep -q '^[1-9][0-9]* passed, 0 failed$' "$scratch/out/log"
