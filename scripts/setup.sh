#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Installs what building and the guest need, on Debian 12 or later and Ubuntu 24.04 or later.
# Must never ask a question, nor touch the network when nothing is missing.
set -eu

# QEMU before 8.1 runs changed kernel code from a stale copy; guests then die of "Oops: int3".
QEMU_MIN=8.1
RUST_MIN=1.91
CLANGS="22 21 20 19 18"
PACKAGES="gcc libc6-dev make pkg-config libelf-dev zlib1g-dev binutils qemu-system-x86
	busybox-static stress-ng rt-tests zstd debian-archive-keyring ca-certificates"

# Only some distributions have it; the benchmark does without.
OPTIONAL_PACKAGES="linux-perf"

say() { printf '%-8s %s\n' "$1" "$2"; }
die() { printf 'setup: %s\n' "$1" >&2; exit 1; }
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
# True when version $1 is at least $2.
at_least() { dpkg --compare-versions "$1" ge "$2"; }

as_root() {
	if [ "$(id -u)" = 0 ]; then
		DEBIAN_FRONTEND=noninteractive "$@"
	elif command -v sudo >/dev/null; then
		sudo -n true 2>/dev/null || sudo -v || die "packages are missing and sudo refuses: run it as root"
		sudo env DEBIAN_FRONTEND=noninteractive "$@"
	else
		die "packages are missing and this is not root: run it as root, or install sudo"
	fi
}

install() {
	as_root apt-get install --yes --quiet=2 --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null
}

updated=no
update() {
	[ $updated = yes ] && return
	say update "package lists"
	as_root apt-get update --quiet=2 </dev/null
	updated=yes
}

# The packages of one clang version; the BPF build needs all three.
clang_packages() { echo "clang-$1 libclang1-$1 clang-format-$1"; }

all_installed() {
	for package in "$@"; do
		installed "$package" || return 1
	done
}

setup_clang() {
	for version in $CLANGS; do
		# shellcheck disable=SC2046 # a list of words is meant
		if all_installed $(clang_packages "$version"); then
			say ok "clang-$version"
			return
		fi
	done
	update
	for version in $CLANGS; do
		if apt-cache show "clang-$version" >/dev/null 2>&1; then
			say install "clang-$version"
			# shellcheck disable=SC2046
			install $(clang_packages "$version")
			return
		fi
	done
	die "no clang between 18 and 22 in this system's packages: use Debian 12 or Ubuntu 24.04, or later"
}

qemu_version() { qemu-system-x86_64 --version | sed -n 's/^QEMU emulator version \([0-9.]*\).*/\1/p'; }

# Debian 12 has a new enough QEMU in its backports. They are added for this one command only.
qemu_from_backports() {
	mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
		grep -v '^#' | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 || true)
	work=$(mktemp -d)
	chmod 755 "$work"
	mkdir "$work/none"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} bookworm-backports main" >"$work/backports.list"
	cat "$work/backports.list" >"$work/all.list"
	[ ! -f /etc/apt/sources.list ] || cat /etc/apt/sources.list >>"$work/all.list"
	update
	as_root apt-get update --quiet=2 -o Dir::Etc::sourcelist="$work/backports.list" \
		-o Dir::Etc::sourceparts="$work/none" -o APT::Get::List-Cleanup=0 </dev/null &&
		install -o Dir::Etc::sourcelist="$work/all.list" -t bookworm-backports qemu-system-x86
	status=$?
	rm -rf "$work"
	return $status
}

setup_qemu() {
	version=$(qemu_version)
	if at_least "$version" $QEMU_MIN; then
		say ok "qemu $version"
		return
	fi
	if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release; then
		say install "qemu from bookworm-backports (here: $version, wanted: $QEMU_MIN)"
		if qemu_from_backports && at_least "$(qemu_version)" $QEMU_MIN; then
			return
		fi
	fi
	say warning "qemu $version is older than $QEMU_MIN: guests may die of \"Oops: int3\""
}

setup_packages() {
	missing=
	for package in $PACKAGES; do
		if installed "$package"; then
			say ok "$package"
		else
			missing="$missing $package"
		fi
	done
	[ -n "$missing" ] || return 0
	update
	say install "$missing"
	# shellcheck disable=SC2086
	install $missing
}

setup_optional_packages() {
	for package in $OPTIONAL_PACKAGES; do
		if installed "$package"; then
			say ok "$package"
		elif apt-cache show "$package" >/dev/null 2>&1; then
			update
			say install "$package"
			install "$package" || say warning "$package was not installed: its benchmarks are left out"
		else
			say note "this system has no $package: its benchmarks are left out"
		fi
	done
}

check_rust() {
	command -v cargo >/dev/null && command -v rustc >/dev/null ||
		die "no Rust: install rustup from https://rustup.rs, then run this again"
	version=$(rustc --version | cut -d ' ' -f 2)
	if ! at_least "$version" $RUST_MIN; then
		command -v rustup >/dev/null ||
			die "Rust $version is older than $RUST_MIN: install rustup from https://rustup.rs, then run this again"
		die "Rust $version is older than $RUST_MIN: run rustup update stable"
	fi
	say ok "rust $version"
}

[ "$(uname -m)" = x86_64 ] || die "the guest is an x86-64 machine: this is $(uname -m)"
command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
	die "this needs apt-get: use Debian 12 or Ubuntu 24.04, or later"
check_rust
setup_packages
setup_optional_packages
setup_clang
setup_qemu
