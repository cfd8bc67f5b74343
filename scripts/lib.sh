# lib.sh - for the scripts here: packages, counting results. Sourced by bash; the working directory is
# the repository's root afterwards.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build_packages="gcc libc6-dev binutils meson ninja-build pkgconf python3 libxxhash-dev liblz4-dev libzstd-dev
    libjson-c-dev libcsv-dev libedit-dev libjemalloc-dev libssl-dev"
test_packages="git python3-lz4 python3-zstandard python3-xxhash"

say() { printf '\n== %s\n' "$*"; }
# The same, with the time since the script began.
say_when() { say "$* ($((SECONDS / 60)):$(printf %02d $((SECONDS % 60))))"; }

is_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Installs what is missing of the packages named; asks nothing, touches nothing when all is there.
need_packages() {
    local missing="" package as_root=""
    for package in "$@"; do
        is_installed "$package" || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    if ! command -v apt-get >/dev/null; then
        echo "These Debian packages are missing, and there is no apt-get to install them:$missing" >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Missing packages; as root, run: apt-get install$missing" >&2
            return 1
        fi
        as_root="sudo"
    fi
    say "installing$missing"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q || return 1
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}

# build DIRECTORY OPTION... - configures (again, if the options changed) and compiles.
build() {
    local directory=$1
    shift
    if [ -f "$directory/build.ninja" ]; then
        meson configure "$directory" "$@" >/dev/null || return 1
    else
        meson setup "$directory" "$@" || return 1
    fi
    ninja -C "$directory" --quiet
}

passed=0 failed=0 failures=""
runner="" # a command that runs `meson test`, if any
failure_log=$(mktemp) # what failed tests printed, shown again at the end

# count NAME COMMAND... - runs it as one test.
count() {
    local name=$1
    shift
    say_when "$name"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        failures="$failures $name"
    fi
}

# count_tests NAME DIRECTORY ARGUMENT... - runs `meson test` and adds its results one by one.
count_tests() {
    local name=$1 directory=$2 good bad
    shift 2
    say_when "$name"
    rm -f "$directory/meson-logs/testlog.json"
    $runner meson test -C "$directory" --no-rebuild --print-errorlogs "$@" || true
    read -r good bad < <(python3 scripts/count-tests.py "$name" "$directory" "$failure_log")
    passed=$((passed + good))
    failed=$((failed + bad))
    [ "$bad" -eq 0 ] || failures="$failures $name"
}

# The last line that a script prints; its exit status says the same.
finish() {
    cat "$failure_log"
    rm -f "$failure_log"
    [ -z "$failures" ] || printf '\nfailed in:%s\n' "$failures"
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}
