#!/usr/bin/env bash
# Installs what building and running Jitney needs beyond Rust: a linker, PostgreSQL's server binaries, and
# Node with npm for the web pages; with `tests` also Chromium, in which the tests try the pages. Says what it
# installs, changes nothing that is there, and is quick when all is. Jitney does without Node and Chromium
# where they cannot be had.
set -euo pipefail

has_postgres() {
  command -v postgres >/dev/null 2>&1 && command -v initdb >/dev/null 2>&1 && return 0
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || compgen -G '/usr/pgsql-*/bin/initdb' >/dev/null
}

has_browser() {
  command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1
}

missing=()
wanted=()
command -v cc >/dev/null 2>&1 || missing+=(build-essential)
command -v curl >/dev/null 2>&1 || missing+=(curl)
command -v setpriv >/dev/null 2>&1 || missing+=(util-linux)
has_postgres || missing+=(postgresql)
command -v node >/dev/null 2>&1 || wanted+=(nodejs)
command -v npm >/dev/null 2>&1 || wanted+=(npm)
if [[ ${1:-} == tests ]]; then
  has_browser || wanted+=(chromium)
fi

# What Jitney does without is installed where that goes without asking.
may_install() {
  command -v apt-get >/dev/null 2>&1 && { ((EUID == 0)) || sudo -n true 2>/dev/null; }
}
if ((${#wanted[@]})) && ! may_install; then
  echo "setup: without ${wanted[*]}; what needs them is left out" >&2
  wanted=()
fi

if ((${#missing[@]} + ${#wanted[@]})); then
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "setup: this machine lacks: ${missing[*]}. Install them with its package manager (PostgreSQL 14 or newer)." >&2
    exit 1
  fi
  sudo=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null 2>&1 || { echo "setup: run as root, or install by hand: ${missing[*]}" >&2; exit 1; }
    sudo=(sudo)
  fi
  echo "setup: installing ${missing[*]} ${wanted[*]} with apt-get" >&2
  export DEBIAN_FRONTEND=noninteractive
  "${sudo[@]}" apt-get update -qq
  for package in "${missing[@]}"; do
    if [[ $package == postgresql ]]; then
      # Only the binaries are wanted, not a server that the system starts on port 5432.
      "${sudo[@]}" apt-get install -qq -y --no-install-recommends postgresql-common >/dev/null
      "${sudo[@]}" sed -i -E "s/^#? ?create_main_cluster *=.*/create_main_cluster = false/" /etc/postgresql-common/createcluster.conf
    fi
    "${sudo[@]}" apt-get install -qq -y --no-install-recommends "$package" >/dev/null
  done
  for package in "${wanted[@]}"; do
    "${sudo[@]}" apt-get install -qq -y --no-install-recommends "$package" >/dev/null ||
      echo "setup: $package could not be installed; what needs it is left out" >&2
  done
fi

# Checks and tests the alerts. Only this program is wanted, not a Prometheus that the system starts; without it the test
# of the alerts is left out, or fails in CI.
if ! command -v promtool >/dev/null 2>&1 && command -v apt-get >/dev/null 2>&1; then
  if ((EUID == 0)); then
    echo "setup: fetching promtool with apt-get" >&2
    folder=$(mktemp -d)
    if (cd "$folder" && apt-get download -qq prometheus 2>/dev/null &&
      dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x -O ./usr/bin/promtool >promtool); then
      install -m 755 "$folder/promtool" /usr/local/bin/promtool
    else
      echo "setup: promtool was not found; the test of the alerts needs it" >&2
    fi
    rm -rf "$folder"
  else
    echo "setup: promtool is missing; the test of the alerts needs it (package prometheus)" >&2
  fi
fi

if ! command -v cargo >/dev/null 2>&1; then
  echo "setup: Rust is not installed; see https://rustup.rs (1.95 or newer)" >&2
  exit 1
fi
