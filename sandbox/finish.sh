#!/bin/sh
# Turns a root file system with the packages of packages-default or packages-slim into a sandbox image.
# Runs as root inside a throwaway container without a network, or from the Dockerfile; may be run twice.
set -eu
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C.UTF-8 HOME=/root
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset PYTHONDONTWRITEBYTECODE || true

if [ -s /var/lib/dpkg/status ] && grep -q '^Status: install ok unpacked' /var/lib/dpkg/status; then
    # Maintainer scripts ask for users and groups before base-passwd had its turn.
    [ -e /etc/passwd ] || cp /usr/share/base-passwd/passwd.master /etc/passwd
    [ -e /etc/group ] || cp /usr/share/base-passwd/group.master /etc/group
    dpkg --force-unsafe-io --force-confold --force-depends --configure base-passwd base-files libc6 >/dev/null 2>&1
    dpkg --force-unsafe-io --force-confold --configure -a >/tmp/configure.log 2>&1 || {
        tail -n 5 /tmp/configure.log >&2
        exit 1
    }
    rm -f /tmp/configure.log
fi

[ -e /etc/passwd ] || echo 'root:x:0:0:root:/root:/bin/sh' >/etc/passwd
[ -e /etc/group ] || echo 'root:x:0:' >/etc/group
shell=/bin/sh
[ ! -e /bin/bash ] || shell=/bin/bash
if ! grep -q '^agent:' /etc/passwd; then
    echo "agent:x:1000:1000:agent:/home/agent:$shell" >>/etc/passwd
    echo 'agent:x:1000:' >>/etc/group
fi
[ ! -e /etc/shadow ] || grep -q '^agent:' /etc/shadow || echo 'agent:!:19000:0:99999:7:::' >>/etc/shadow
mkdir -p /home/agent /workspace /opt
chown 1000:1000 /home/agent /workspace

# Setup installs into this venv while an image is built; at run time it is read-only and the supervisor lays a
# writable one over it. Without pip in it (Debian's works inside a venv) it is made in no time.
if [ ! -d /opt/venv ] && python3 -c 'import venv, ensurepip' 2>/dev/null; then
    python3 -m venv --system-site-packages --without-pip /opt/venv
    for name in pip pytest; do
        python3 -c "import $name" 2>/dev/null || continue
        main="from $name.__main__ import main" # pip
        [ $name = pip ] && main='from pip._internal.cli.main import main'
        [ $name = pytest ] && main='from pytest import console_main as main'
        printf '#!/opt/venv/bin/python3\nimport sys\n%s\nsys.exit(main())\n' "$main" >/opt/venv/bin/$name
        chmod 755 /opt/venv/bin/$name
    done
    [ ! -e /opt/venv/bin/pip ] || ln -sf pip /opt/venv/bin/pip3
    chown -R 1000:1000 /opt/venv
fi

# Without its cache the loader tries a dozen folders for each library of each program.
! command -v ldconfig >/dev/null || ldconfig

# The root is read-only at run time, so bytecode is made now.
python3 -I -m compileall -q -j 0 "$(python3 -I -c 'import os; print(os.path.dirname(os.__file__))')" || true

rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/log/*.log /var/log/apt/*
