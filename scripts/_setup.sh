# shellcheck shell=bash
# Sourced by the other scripts: the project's own environment, in .venv, made once and again
# whenever what decides its contents has changed. Needs bash, coreutils and Python 3.11 or later.

set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
stamp=$venv/jackline.stamp

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# 3.11 comes first because it is the version that the tests run on.
find_python() {
  local name
  for name in python3.11 python3.12 python3.13 python3; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  die "needs Python 3.11 or later; on Debian: apt-get install python3 python3-venv"
}

can_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# Debian packages by name; as anyone but root it only says what to type.
apt_install() {
  can_apt || die "needs $*; as root: apt-get update && apt-get install -y --no-install-recommends $*"
  say "installing $* with apt-get"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -q && apt-get install -y -q --no-install-recommends "$@"; } </dev/null >/dev/null \
    || die "apt-get could not install $*"
}

venv_works() {
  "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || return 1
  [ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

# Debian's python3 comes without ensurepip; a pip outside the environment can take its place.
make_venv() {
  local python
  python=$(find_python)
  say "making .venv with $("$python" --version)"
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if ! can_apt && "$python" -c 'import pip, venv' 2>/dev/null; then
      "$python" -m venv --clear --without-pip "$venv"
      return
    fi
    apt_install "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
  fi
  "$python" -m venv --clear "$venv"
}

pip_install() {
  local pip=("$venv/bin/python" -m pip)
  "${pip[@]}" --version >/dev/null 2>&1 || pip=("$(find_python)" -m pip --python "$venv/bin/python")
  "${pip[@]}" install -q --disable-pip-version-check --no-deps --require-hashes "$@"
}

install_uv() {
  local lock status=0
  lock=$(mktemp)
  sed -n '/^uv==/,/[^\\]$/p' "$root/requirements.lock" >"$lock"
  pip_install -r "$lock" || status=$?
  rm -f -- "$lock"
  return $status
}

# uv installs in seconds what takes pip most of a minute. pip fetches it, and is the second try: it
# knows settings (mirrors, proxies, certificates) that uv does not read.
install_locked() {
  local lock requirements=()
  for lock in "$@"; do requirements+=(-r "$root/$lock"); done
  [ -x "$venv/bin/uv" ] || install_uv || die "could not install uv"
  # uv leaves compiling to the first start, and where Python may write no bytecode to every start: half of
  # the time that any of our processes needs until it is ready.
  export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1} UV_COMPILE_BYTECODE=1
  if ! "$venv/bin/uv" pip sync -q --python "$venv/bin/python" --require-hashes "${@/#/$root/}"; then
    say "uv could not install the packages; trying with pip"
    pip_install "${requirements[@]}" || die "could not install the packages"
  fi
  "$venv/bin/uv" pip install -q --python "$venv/bin/python" --offline --no-deps --no-build-isolation -e "$root" \
    || die "could not install jackline itself"
  "$venv/bin/python" -m compileall -q "$root/src" || die "could not compile jackline"
}

# Where the environment is belongs to it: its programs name their interpreter by its full path.
digest() {
  { printf '%s\n' "$root"; cd -- "$root"; cat -- "$@" pyproject.toml scripts/_setup.sh; } | sha256sum | cut -d' ' -f1
}

holds() { [ -x "$venv/bin/jackline" ] && [ "$(cat -- "$stamp" 2>/dev/null)" = "$(digest "$@")" ]; }

# Make .venv hold exactly what the given lock files name, and Jackline itself.
environment() {
  local turn
  exec {turn}<"$root"
  if command -v flock >/dev/null; then flock "$turn"; fi
  if ! holds "$@"; then
    venv_works || make_venv
    say "installing the packages of $*"
    rm -f -- "$stamp"
    install_locked "$@"
    digest "$@" >"$stamp"
  fi
  exec {turn}<&-
}
