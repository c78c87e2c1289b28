#!/bin/sh
# Fails if go generate would change a file. It generates in a copy, so that the tree stays as it is.
set -eu
cd "$(dirname "$0")/../.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
tar -c --exclude=./.git --exclude=./build --exclude=./bin -f - . | tar -x -C "$copy" -f -
cp -R "$copy/." "$copy.before"
trap 'rm -rf "$copy" "$copy.before"' EXIT
find "$copy" -name go.mod | while read -r mod; do
	(cd "$(dirname "$mod")" && GOWORK=off go generate ./... </dev/null)
done
if ! diff -r "$copy.before" "$copy"; then
	echo "generated files are not up to date: run make generate" >&2
	exit 1
fi
