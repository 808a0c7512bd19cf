#!/usr/bin/env bash
# Installs what the tests of the web pages run, as package-lock.json pins it. Quick when it is there. Without
# Node, or without a registry in reach, it says so and the tests are skipped.
set -euo pipefail
cd "$(dirname "$0")"

skipped() {
  echo "web tests: $1; the tests of the pages will be SKIPPED" >&2
  exit 0
}

if [[ node_modules/.complete -nt package-lock.json ]]; then
  exit 0
fi
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || skipped "node and npm are not installed"
major=$(node --print 'process.versions.node.split(".")[0]')
((major >= 18)) || skipped "node $major is too old, 18 or newer is needed"
echo "web tests: installing the browser's driver with npm" >&2
timeout 120 npm ci --silent --fetch-retries 1 --fetch-timeout 20000 || {
  rm -rf node_modules
  skipped "npm could not install them"
}
touch node_modules/.complete
