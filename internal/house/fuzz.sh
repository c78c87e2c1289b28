#!/bin/sh
# Runs every fuzz target of the given modules for a time: fuzz.sh TIME MODULE ...
set -eu
time=$1
shift
for module; do
	(
		cd "$module"
		go list -f '{{range .TestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$.ImportPath}} {{$.Dir}}/{{.}}{{"\n"}}{{end}}' ./... |
			while read -r package file; do
				[ -n "$package" ] || continue
				sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | while read -r target; do
					echo "$package $target for $time"
					go test -run='^$' -fuzz="^$target\$" -fuzztime="$time" "$package" </dev/null
				done
			done
	)
done
