#!/usr/bin/env bash
# Builds the web pages, with the tools that package-lock.json pins. Quick when nothing has changed. Without
# Node, or without a registry in reach, it says so: the program is then built without its pages.
set -euo pipefail
cd "$(dirname "$0")"

inputs() {
  # The sums change with the content, the list with the files.
  find src build.mjs package.json package-lock.json tsconfig.json -type f -print0 | sort -z | xargs -0 cksum | cksum
}

before=$(cat node_modules/.pages-inputs 2>/dev/null || true)
now=$(inputs)
if [[ $before == "$now" && -f dist/index.html ]]; then
  exit 0
fi
../../deploy/npm-ci.sh . web 18 "the program will have no web pages"
command -v npm >/dev/null 2>&1 && [[ -f node_modules/.complete ]] || exit 0
echo "web: building the pages" >&2
npm run --silent build
echo "$now" >node_modules/.pages-inputs
