# Prepares a checkout; sourced by tools/run, tools/test and .ci/run.
#
#   prepare [dev]    after it, $ROOT/.venv holds radiosync and what it needs (with "dev": its tests and checks too)
#
# Everything goes into $ROOT/.venv.  Outside the checkout nothing is written but system packages, and those only where
# this is allowed (as root, or where sudo asks for no password).  Words go to stderr: stdout may be a stream of music.
# A prepared checkout costs a few milliseconds, for a listener's start waits for it; two that prepare at once wait for each
# other.

ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
VENV=$ROOT/.venv

say() { printf 'radiosync: %s\n' "$*" >&2; }
die() { say "$*"; exit 2; }

# Print the first Python that is new enough.
find_python() {
    local python
    for python in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    return 1
}

# Install Debian packages if this user may.  Quiet unless it fails.
install_packages() {
    local as_root=() log
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    say "installing the system package(s) $*"
    # A fresh machine has no package lists yet, or old ones: fetch them when the first attempt fails.
    # The lock's timeout is for another package manager at work, usually the system's own updates.
    local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120)
    log=$("${apt[@]}" install --no-install-recommends "$@" 2>&1) ||
        log=$("${apt[@]}" update 2>&1 && "${apt[@]}" install --no-install-recommends "$@" 2>&1) ||
        { printf '%s\n' "$log" | tail -n 5 >&2; return 1; }
}

has_ensurepip() { "$1" -c 'import ensurepip, venv; ensurepip.version()' 2>/dev/null; }

has_portaudio() { "$VENV/bin/python" -I -c 'import sounddevice' 2>/dev/null; }

# Print what a prepared checkout was prepared from: another place, Python or list of dependencies is another preparation.
fingerprint() {
    printf '%s\n' "$ROOT"
    { [ -x "$VENV/bin/python" ] && readlink -f -- "$VENV/bin/python" && cksum <"$ROOT/pyproject.toml"; } 2>/dev/null
}

is_prepared() { # for run | dev
    [ -f "$VENV/.prepared-$1" ] && [ ! -e "$VENV/.incomplete" ] &&
        [ "$(fingerprint)" = "$(cat "$VENV/.prepared-$1" 2>/dev/null)" ]
}

# Make the virtual environment where there is none, or only what is left of one.
make_venv() {
    local python
    # Scripts in a virtual environment bear its path: one that was moved is of no use.
    if [ ! -e "$VENV/.incomplete" ] && "$VENV/bin/python" -I -m pip --version >/dev/null 2>&1 &&
        { [ ! -f "$VENV/.prepared-run" ] || [ "$(head -n 1 "$VENV/.prepared-run")" = "$ROOT" ]; }; then
        return
    fi
    python=$(find_python) || die "needs Python 3.11 or newer as python3; install it, or name it: PYTHON=/path/to/python3 $0"
    if ! has_ensurepip "$python"; then
        install_packages python3-venv && has_ensurepip "$python" ||
            die "$python can't make virtual environments; install the package python3-venv (apt-get install python3-venv)"
    fi
    rm -rf "$VENV" || die "can't replace $VENV; remove it by hand"
    mkdir -p "$VENV/tmp" && : >"$VENV/.incomplete" && TMPDIR=$VENV/tmp "$python" -m venv "$VENV" ||
        die "can't make the virtual environment $VENV"
}

install_python_packages() { # run | dev
    local what=$ROOT
    [ "$1" = dev ] && what=$ROOT[dev]
    mkdir -p "$VENV/tmp"
    # A user's pip may be set up to install outside of virtual environments; its temporary files stay in the checkout.
    # Twice --quiet: errors, but not warnings, which are about the machine (an unwritable cache) and not about us.
    (cd "$ROOT" && TMPDIR=$VENV/tmp PIP_USER=0 PIP_ROOT_USER_ACTION=ignore PYTHONPATH='' \
        "$VENV/bin/python" -m pip install --quiet --quiet --disable-pip-version-check --no-input --editable "$what") >&2 ||
        die "pip could not install the Python packages (reason above); run this again when that is mended"
    rm -rf "$VENV/tmp"
}

prepare_locked() { # run | dev
    is_prepared "$1" && return # by the one we waited for
    [ -w "$ROOT" ] && { [ ! -e "$VENV" ] || [ -w "$VENV" ]; } ||
        die "can't write to ${VENV}, which this has to prepare first; run it as the user the checkout belongs to"
    say "preparing $VENV (once; about a minute)"
    make_venv
    : >"$VENV/.incomplete"
    rm -f "$VENV"/.prepared-*
    install_python_packages "$1"
    if ! has_portaudio; then
        install_packages libportaudio2 && has_portaudio ||
            say "note: no PortAudio library, so no sound device (apt-get install libportaudio2); --output wav:FILE works without"
    fi
    # Of an editable installation pip compiles nothing, and the first start is somebody's too.
    "$VENV/bin/python" -I -m compileall -q "$ROOT/radiosync" >&2 || true
    "$VENV/bin/python" -I -c 'import radiosync' && fingerprint >"$VENV/.prepared-run" || die "$VENV does not work; remove it and run this again"
    if [ "$1" = dev ]; then cp "$VENV/.prepared-run" "$VENV/.prepared-dev"; fi
    rm -f "$VENV/.incomplete"
    # What root prepares in somebody's checkout is that somebody's, or they could never prepare it again.
    if [ "$(id -u)" = 0 ]; then chown -R --reference="$ROOT" "$VENV" 2>/dev/null || true; fi
}

prepare() { # [dev]
    local what=${1:-run} python
    is_prepared "$what" && return
    (
        umask 022 # or what root prepares could be of use to root alone
        exec 9<"$ROOT"
        if command -v flock >/dev/null; then
            flock 9
        elif python=$(find_python); then # macOS: a lock taken on our descriptor outlives the Python that took it
            "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
        fi
        prepare_locked "$what"
    ) || exit
}
