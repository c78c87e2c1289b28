// Package sshkey reads the public SSH keys that people hand in, so that what is put on a machine is a key and nothing else. Package auth
// keeps them.
package sshkey

import (
	"crypto/rsa"
	"encoding/base64"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/berthage/berthage/pool"
)

// Key is a public key.
type Key struct {
	Line        string // as authorized_keys has it: type, base64 and comment, one space between
	Type        string // "ssh-ed25519"
	Comment     string
	Fingerprint string // "SHA256:" and base64, as OpenSSH prints it
}

// MinRSA is the fewest bits of an RSA key.
const MinRSA = 2048

// Parse reads one key as a line of authorized_keys, or of a .pub file. Options, certificates, private keys, more than one line, and keys that
// are broken or weak are refused with pool.ErrInvalid; the error does not repeat what was read.
func Parse(s string) (Key, error) {
	bad := func(want string) (Key, error) {
		return Key{}, &pool.Error{Op: "read an SSH key", Kind: pool.ErrInvalid, Field: "key", Want: want}
	}
	s = strings.Trim(s, " \t\r\n")
	if strings.Contains(s, "PRIVATE KEY") || strings.HasPrefix(s, "PuTTY-User-Key-File") {
		return bad("the public key; what was sent is a private one, and is no secret any more: make a new one")
	}
	f := strings.Fields(s)
	if strings.ContainsAny(s, "\r\n\v\f\x00") || len(f) < 2 {
		return bad("one line, such as 'ssh-ed25519 AAAA... comment'")
	}
	k := Key{Type: f[0], Comment: strings.Join(f[2:], " ")}
	k.Line = strings.Join(f, " ")
	if err := pool.ValidSSHKey(k.Line); err != nil {
		return Key{}, pool.InField("key", err)
	}
	blob, err := base64.StdEncoding.Strict().DecodeString(f[1])
	if err != nil {
		return bad("base64 without padding bits")
	}
	public, err := ssh.ParsePublicKey(blob)
	if err != nil || public.Type() != k.Type || string(public.Marshal()) != string(blob) {
		return bad("a key that is whole and of the type that it names")
	}
	if c, ok := public.(ssh.CryptoPublicKey); ok {
		if r, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && (r.N.BitLen() < MinRSA || r.N.BitLen() > 16384 || r.E < 3) {
			return bad("an RSA key of " + strconv.Itoa(MinRSA) + " to 16384 bits, or better ssh-ed25519")
		}
	}
	k.Fingerprint = ssh.FingerprintSHA256(public)
	return k, nil
}
