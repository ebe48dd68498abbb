#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# Inside of boot.sh: the unit decnet-host@app.
unit=decnet-host@app.service
state=/var/lib/decnet/app
passed=0
failed=0

# check WHAT COMMAND...
check() {
  what=$1
  shift
  if "$@" >/tmp/check.log 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "failed: $what"
    cat /tmp/check.log
  fi
}

show() {
  systemctl show --value -p "$1" $unit
}

# is PROPERTY PATTERN: a shell pattern.
is() {
  value=$(show "$1")
  echo "$1 is '$value'"
  # shellcheck disable=SC2254 # it is a pattern
  case $value in $2) ;; *) return 1 ;; esac
}

# within SECONDS COMMAND...
within() {
  n=$(($1 * 10))
  shift
  until "$@"; do
    n=$((n - 1))
    [ $n -gt 0 ] || return 1
    sleep 0.1
  done
}

logged() {
  journalctl -q --no-pager -u $unit "$@" | grep .
}

has_traceback() {
  logged -o verbose DECNET_WORKER=flaky | grep DECNET_TRACEBACK=
}

# Of the monitor. Linux 6.12 knows of such turns, and tells those of SCHED_OTHER.
has_short_turns() {
  ! printf '6.12\n%s\n' "$(uname -r)" | sort -VC || ! grep -q '^se.slice' /proc/self/sched ||
    grep '^se.slice.* 100000$' /proc/"$(show MainPID)"/task/*/sched
}

# What systemd itself says of it.
told() {
  journalctl -q --no-pager UNIT=$unit -g "$1" | grep .
}

not() {
  ! "$@"
}

# Short times, so that they can be seen to pass.
mkdir -p /etc/systemd/system/decnet-host@.service.d
cat >/etc/systemd/system/decnet-host@.service.d/checks.conf <<'END'
[Service]
WatchdogSec=2s
TimeoutStopSec=2s
RestartSec=100ms
END
systemctl daemon-reload
systemctl start systemd-journald.socket systemd-journald.service

systemctl start --no-block $unit
check "it is not active before its workers are ready" within 10 is ActiveState activating
check "it says what it is doing" within 10 is StatusText "*/4 running*"
check "it becomes active" within 20 is ActiveState active
check "though a worker crashes" is StatusText "3/4 running, flaky retries in * s"
check "the control socket answers" curl -sf --unix-socket /run/decnet/app.sock http://host/livez
check "its monitor is let run at once" has_short_turns
check "as a user of its own" test "$(stat -c %U /run/decnet/app.sock)" = decnet

check "journal: a worker's lines" logged DECNET_WORKER=late DECNET_ANSWER=42 PRIORITY=4
check "journal: a crash, by priority" logged -p err DECNET_WORKER=flaky DECNET_RUN=1
check "journal: its traceback" has_traceback
check "journal: its readable text" logged -g "flaky: crashed: .*boom"
check "journal: what is printed" within 5 logged -g "^printed$"

check "it reloads" systemctl reload $unit
check "and has" within 5 logged -g "reloaded /srv/app/workers.lua: nothing changed"
check "and is active" within 5 is ActiveState active

sleep 5
check "its watchdog is fed" is NRestarts 0
pid=$(show MainPID)
touch $state/stick
check "a stuck loop is started again" within 15 is NRestarts 1
check "by the watchdog" within 5 told "Watchdog timeout"
check "and becomes active" within 20 is ActiveState active
check "as another process" not is MainPID "$pid"

touch $state/slow
check "a stop waits for cleanup longer than TimeoutStopSec" systemctl stop $unit
check "which is done" logged -g "thorough: cleaned up"
check "and not a failure" is Result success
check "the socket is gone" test ! -e /run/decnet/app.sock

echo "$passed passed, $failed failed"
systemctl poweroff --force --force
