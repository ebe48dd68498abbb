#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-or-later
# Do the packages work? The rock, in a tree of its own; the one for Debian where nothing else is: apt
# installs it into a new root of the Debian it was built on, where it is used and removed. Root only.
#
#   packaging/check.sh FILE.deb
set -eu

deb=$1
source=$(cd "$(dirname "$0")/.." && pwd)
version=$(dpkg-deb -f "$deb" Version)
work=$(mktemp -d)
root=$work/root

# The root's processes are in a namespace of their own: they and its mounts end with it.
inside() {
  unshare --mount --pid --fork --mount-proc="$root/proc" chroot "$root" \
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

as_nobody() {
  inside setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

finish() {
  status=$?
  rm -rf --one-file-system "$work"
  [ $status = 0 ] || echo "packaging/check.sh: failed" >&2
}
trap finish EXIT

say() {
  echo "== $*"
}

fail() {
  echo "packaging/check.sh: $*" >&2
  exit 1
}

say "lintian"
lintian --allow-root --fail-on error "$deb"

say "the rock"
(cd "$source" && luarocks --lua-version 5.4 make --tree "$work/rocks" packaging/*.rockspec) \
  >"$work/rock.log" 2>&1 || { tail "$work/rock.log"; fail "luarocks cannot make it"; }
rm -rf "$source/build.luarocks"
(eval "$(luarocks --lua-version 5.4 --tree "$work/rocks" path)"
  cd "$work" && lua5.4 "$source/packaging/embedded.lua") | grep -qx 'embedded 42' \
  || fail "lua5.4 cannot use the rock"

say "nothing in it knows where it was built"
dpkg-deb -x "$deb" "$work/content"
if grep -rlF "$source/" "$work/content"; then
  fail "these files name the source tree"
fi

say "a new root"
debootstrap --variant=minbase "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$root" \
  >"$work/debootstrap.log" || { tail "$work/debootstrap.log"; fail "no new root"; }
cp "$deb" "$root/decnet-host.deb"

say "apt finds all that it needs"
inside apt-get install -y --no-install-recommends /decnet-host.deb >"$work/apt.log" 2>&1 \
  || { tail "$work/apt.log"; fail "it cannot be installed"; }

say "it runs"
mkdir -m 1777 "$root/spec"
cat >"$root/spec/workers.lua" <<'END'
local decnet = require "decnet"
decnet.worker("once", function() print("worked", decnet.offload(function() return 6 * 7 end)) end)
if arg[1] then
  decnet.worker("steady", function() decnet.park() end)
end
END
cat >"$root/spec/ask.lua" <<'END'
local uv = require "luv"
local client, answer = uv.new_pipe(false), {}
client:connect("/spec/socket", function(err)
  assert(not err, err)
  client:write "GET /v1/workers HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
  client:read_start(function(_, data)
    answer[#answer + 1] = data
    if not data then
      client:close()
    end
  end)
end)
uv.run()
print((table.concat(answer):match '"name":"steady","state":"(%w+)"'))
END
cat >"$root/spec/all" <<'END'
#!/bin/sh
set -e
cd /spec
decnet-host --version
decnet-host doctor | sed '1d;/^ok /d'
decnet-host check /usr/share/doc/decnet-host/examples/workers.lua >&2
decnet-host --no-control workers.lua
decnet-host --socket /spec/socket --keep-alive workers.lua steady >/dev/null 2>log & host=$!
for i in 1 2 3 4 5 6 7 8 9 10; do [ -e socket ] || sleep 1; done
decnet-host lua ask.lua
if [ -e /usr/libexec/decnet-host/decnet-ctl ]; then
  decnet-host status --socket /spec/socket >&2
fi
kill $host
wait $host
END
as_nobody sh /spec/all >"$work/said" 2>"$work/log" || { cat "$work/log"; fail "it does not run"; }
printf 'decnet-host %s\nworked\t42\nrunning\n' "${version%-*}" | diff - "$work/said" \
  || fail "it does not say what it should"

say "it is a module for lua5.4"
inside apt-get install -y --no-install-recommends lua5.4 >"$work/apt.log" 2>&1
cp "$source/packaging/embedded.lua" "$root/spec/"
as_nobody lua5.4 /spec/embedded.lua | grep -qx 'embedded 42' || fail "lua5.4 cannot use it"

say "it leaves nothing behind"
inside apt-get purge -y decnet-host >"$work/apt.log" 2>&1
(cd "$work/content" && find . ! -type d) | while read -r file; do
  [ ! -e "$root/$file" ] || fail "$file is still there"
done
[ ! -e "$root/usr/share/decnet-host" ] || fail "its directories are still there"
say "ok"
