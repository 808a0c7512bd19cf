#!/usr/bin/env bash
# npm-ci.sh FOLDER WHO NODE ELSE: installs in FOLDER what its package-lock.json pins, with this version of
# Node or a newer one, and leaves node_modules/.complete there. Quick when it is there already. Without Node, or
# without a registry in reach, it says WHO lacks what and what becomes of that (ELSE), and is no error.
set -euo pipefail
cd "$1"
who=$2 oldest=$3 otherwise=$4

skipped() {
  echo "$who: $1; $otherwise" >&2
  exit 0
}

command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || skipped "node and npm are not installed"
major=$(node --print 'process.versions.node.split(".")[0]')
((major >= oldest)) || skipped "node $major is too old, $oldest or newer is needed"
if [[ node_modules/.complete -nt package-lock.json ]]; then
  exit 0
fi
echo "$who: installing what is needed with npm" >&2
timeout 180 npm ci --silent --fetch-retries 2 --fetch-timeout 20000 || {
  rm -rf node_modules
  skipped "npm could not install it"
}
touch node_modules/.complete
