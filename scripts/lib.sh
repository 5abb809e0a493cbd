# shellcheck shell=bash disable=SC2034 # the lists are read by those who source this
# What scripts/run and scripts/test share: the package lists, installing, building. Source it; bash.

# What it takes to build and to run.
BUILD_PACKAGES=(
        fuse3 cmake ninja-build pkg-config gcc g++
        libfuse3-dev libtorrent-rasterbar-dev libcivetweb-dev libcjson-dev
        libcurl4-openssl-dev libsqlite3-dev libexpat1-dev libutf8proc-dev
        libseccomp-dev uthash-dev
)

# What the tests take besides: real peers, trackers, players and proxies, the fuzzer, and the checks
# of the sources.
TEST_PACKAGES=(
        aria2 btrfs-progs busybox cadaver caddy chromium clang clang-format clang-tidy
        cppcheck curl e2fsprogs exfat-fuse exfatprogs ffmpeg haproxy inotify-tools iproute2
        libclang-rt-14-dev libcmocka-dev llvm-14 mandoc mpv nginx-light opentracker procps
        python3 python3-djangorestframework-spectacular python3-jsonschema
        python3-libtorrent python3-prometheus-client python3-pyflakes python3-pytest rclone
        rsync shellcheck transmission-daemon util-linux vlc-bin vlc-plugin-base wget
)

say() {
        printf '%s: %s\n' "${0##*/}" "$*" >&2
}

die() {
        say "$*"
        exit 1
}

# Runs a command quietly: its output goes to the log named first, and is shown only when it fails.
logged() {
        local log=$1
        shift
        if ! "$@" >>"$log" 2>&1; then
                tail -n 60 "$log" >&2
                die "failed: $* (the whole log: $log)"
        fi
}

# Runs a command as root.
as_root() {
        if [ "$(id -u)" -eq 0 ]; then
                "$@"
        else
                sudo -n true 2>/dev/null || [ -t 0 ] ||
                        die "packages are missing; run this as root or with sudo: $*"
                sudo "$@"
        fi
}

# Prints those of the packages that are not installed.
missing_packages() {
        local package
        for package in "$@"; do
                dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
                        grep -qx installed || printf '%s\n' "$package"
        done
}

apt_install() {
        as_root env DEBIAN_FRONTEND=noninteractive \
                apt-get -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 \
                install -y --no-install-recommends "$@"
}

# Forbids packages to start their services (Debian policy, invoke-rc.d), unless the machine has a
# rule of its own. allow_services takes the rule away again.
policy=/usr/sbin/policy-rc.d
policy_is_ours=no

forbid_services() {
        if [ ! -e "$policy" ]; then
                policy_is_ours=yes
                # shellcheck disable=SC2016 # nothing to expand
                as_root sh -c 'printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$policy"
        fi
}

allow_services() {
        if [ "$policy_is_ours" = yes ]; then
                as_root rm -f "$policy"
                policy_is_ours=no
        fi
}

# install_packages LOG PACKAGE...: installs what is missing. No service is started by it. The lists
# are fetched only when apt cannot do without.
install_packages() {
        local log=$1
        shift
        local -a missing
        read -r -d '' -a missing <<<"$(missing_packages "$@")" || true
        if [ ${#missing[@]} -eq 0 ]; then
                return
        fi
        command -v apt-get >/dev/null ||
                die "this needs Debian 12 (apt-get); elsewhere install: ${missing[*]}"
        say "installing ${missing[*]}"
        trap allow_services EXIT
        forbid_services
        if ! apt_install "${missing[@]}" >>"$log" 2>&1; then
                logged "$log" as_root apt-get -o DPkg::Lock::Timeout=300 update
                logged "$log" apt_install "${missing[@]}"
        fi
        allow_services
        trap - EXIT
}

# build LOG TESTS [PRESET]: configures and builds; only what changed when it was built before.
# TESTS=OFF leaves out the unit tests, whose library only TEST_PACKAGES has.
build() {
        local log=$1 tests=$2 preset=${3:-release}
        logged "$log" cmake --preset "$preset" -DBUILD_TESTING="$tests"
        logged "$log" cmake --build --preset "$preset"
}

# Ends with a clear line when this user cannot mount.
need_fuse() {
        if [ ! -e /dev/fuse ]; then
                say "/dev/fuse is missing, so nothing can be mounted. On a machine of your own:"
                say "    sudo modprobe fuse"
                say "in a container: start it with --device /dev/fuse --cap-add SYS_ADMIN"
                exit 1
        fi
        if [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then
                die "$(id -un) may not open /dev/fuse; allow it with: sudo chmod 666 /dev/fuse"
        fi
}
