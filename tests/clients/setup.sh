#!/usr/bin/env bash
# Installs what the test of the generated TypeScript client runs, as package-lock.json pins it. Quick when
# it is there. Without Node, or without a registry in reach, it says so and the test is skipped.
set -euo pipefail
cd "$(dirname "$0")/typescript"

skipped() {
  echo "clients: $1; the test of the TypeScript client will be SKIPPED" >&2
  exit 0
}

if [[ node_modules/.complete -nt package-lock.json ]]; then
  exit 0
fi
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || skipped "node and npm are not installed"
major=$(node --print 'process.versions.node.split(".")[0]')
((major >= 20)) || skipped "node $major is too old, 20 or newer is needed"
echo "clients: installing the TypeScript client's tools with npm" >&2
timeout 120 npm ci --silent --fetch-retries 1 --fetch-timeout 20000 || {
  rm -rf node_modules
  skipped "npm could not install them"
}
touch node_modules/.complete
