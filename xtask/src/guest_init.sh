#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Owns the guest from boot to power-off: mounts, limits, one script, its status.
# Must never print on the output port anything but markers and the script's output.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root TERM=dumb LANG=C.UTF-8 BALLAST_GUEST=1
export RUST_BACKTRACE=1

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo '+cpu +cpuset' > /sys/fs/cgroup/cgroup.subtree_control
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr

ln -sf config "/boot/config-$(uname -r)"
hostname ballast
ip link set lo up
ulimit -c 0
ulimit -l unlimited
ulimit -n 1048576
ulimit -u unlimited

# Warnings stay in dmesg: a console write stops the CPU that makes it.
dmesg -n 1
# A broken kernel must end the run at once, not hang it.
echo 1 > /proc/sys/kernel/panic_on_oops
echo -1 > /proc/sys/kernel/panic

# The kernel log keeps the first port; the script has the second to itself.
exec < /dev/null > /dev/ttyS1 2>&1
stty -F /dev/ttyS1 raw -echo 115200

. /ballast/run
cd /root || exit
echo "@@ballast:$BALLAST_KEY:start"
/bin/sh /ballast/script
status=$?
echo "@@ballast:$BALLAST_KEY:exit=$status"
# The harness ends QEMU when it reads that line; without it, this does.
stty -F /dev/ttyS1 > /dev/null
poweroff -f
sleep 10
