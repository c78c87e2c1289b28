// Package audit has nothing but a test: what package auth/audit makes, beside implementations by others. The Merkle proofs and
// signed heads are those of golang.org/x/mod/sumdb and github.com/transparency-dev/merkle: each accepts what the others make, byte
// for byte the same, and refuses what they refuse. Syslog is read by github.com/leodido/go-syslog.
package audit
