// Package audit has nothing but a test: the Merkle proofs and signed heads of package auth/audit beside two implementations by
// others, golang.org/x/mod/sumdb and github.com/transparency-dev/merkle. Each accepts what the others make, byte for byte the
// same, and refuses what they refuse.
package audit
