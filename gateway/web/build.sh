#!/usr/bin/env bash
# Builds the web pages, with the tools that package-lock.json pins. Quick when nothing has changed. Without
# Node, or without a registry in reach, it says so: the program is then built without its pages.
set -euo pipefail
cd "$(dirname "$0")"

skipped() {
  echo "web: $1; the program will have no web pages" >&2
  exit 0
}

inputs() {
  # The sums change with the content, the list with the files.
  find src build.mjs package.json package-lock.json tsconfig.json -type f -print0 | sort -z | xargs -0 cksum | cksum
}

before=$(cat node_modules/.pages-inputs 2>/dev/null || true)
now=$(inputs)
if [[ $before == "$now" && -f dist/index.html ]]; then
  exit 0
fi
command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1 || skipped "node and npm are not installed"
major=$(node --print 'process.versions.node.split(".")[0]')
((major >= 18)) || skipped "node $major is too old, 18 or newer is needed"
if [[ ! node_modules/.complete -nt package-lock.json ]]; then
  echo "web: installing the pages' tools with npm" >&2
  timeout 180 npm ci --silent --fetch-retries 2 --fetch-timeout 20000 || {
    rm -rf node_modules
    skipped "npm could not install them"
  }
  touch node_modules/.complete
fi
echo "web: building the pages" >&2
npm run --silent build
echo "$now" >node_modules/.pages-inputs
