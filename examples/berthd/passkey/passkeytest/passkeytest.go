// Package passkeytest has an authenticator with its browser, in software, for tests: what a person has who registers a passkey and logs in with it.
package passkeytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// Base64 is how WebAuthn writes bytes in JSON.
func Base64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// CBOR (RFC 8949), as far as an authenticator writes it.
func cborHead(major byte, n int) []byte {
	switch {
	case n < 24:
		return []byte{major<<5 | byte(n)}
	case n < 256:
		return []byte{major<<5 | 24, byte(n)}
	}
	return binary.BigEndian.AppendUint16([]byte{major<<5 | 25}, uint16(n))
}

func cborInt(n int) []byte {
	if n < 0 {
		return cborHead(1, -1-n)
	}
	return cborHead(0, n)
}

func cborBytes(b []byte) []byte { return append(cborHead(2, len(b)), b...) }
func cborText(s string) []byte  { return append(cborHead(3, len(s)), s...) }

func cborMap(pairs ...[]byte) []byte {
	out := cborHead(5, len(pairs)/2)
	for _, p := range pairs {
		out = append(out, p...)
	}
	return out
}

// The flags of authenticator data (WebAuthn, section 6.1).
const (
	Present  = 1 << 0 // somebody was there
	Verified = 1 << 2 // and it is known who
	Eligible = 1 << 3 // it can be backed up
	BackedUp = 1 << 4
	attested = 1 << 6
)

// Authenticator is one, with its browser on a page: without changes it does all right. It is for one goroutine.
type Authenticator struct {
	T       testing.TB
	Private *ecdsa.PrivateKey
	ID      []byte // what it calls its passkey
	Handle  []byte // whose that is, from the registration

	Origin    string // of the page
	Domain    string // instead of the one that it is asked for
	Kind      string // of the ceremony, instead of the one that it is
	Challenge string // instead of the one that it is given
	Cross     bool   // the page is within another one
	Flags     byte
	Count     uint32
	Step      uint32 // by which it counts
}

// New returns an Authenticator with a key of its own, before a page of that origin.
func New(t testing.TB, origin string) *Authenticator {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	id := make([]byte, 32)
	_, err = rand.Read(id)
	require.NoError(t, err)
	return &Authenticator{T: t, Private: k, ID: id, Origin: origin, Flags: Present | Verified, Step: 1}
}

// Options are what it is asked.
type Options struct {
	PublicKey struct {
		Challenge          string
		RPID               string                `json:"rpId"`
		RP                 struct{ ID string }   `json:"rp"`
		User               struct{ ID string }   `json:"user"`
		UserVerification   string                `json:"userVerification"`
		AllowCredentials   []struct{ ID string } `json:"allowCredentials"`
		ExcludeCredentials []struct{ ID string } `json:"excludeCredentials"`
		Selection          map[string]any        `json:"authenticatorSelection"`
	} `json:"publicKey"`
}

// Read reads options, whose challenge must have 128 bits at least.
func (a *Authenticator) Read(raw []byte) Options {
	a.T.Helper()
	var o Options
	require.NoError(a.T, json.Unmarshal(raw, &o))
	require.GreaterOrEqual(a.T, len(o.PublicKey.Challenge), 22)
	return o
}

// client returns what a browser says about the ceremony.
func (a *Authenticator) client(kind, challenge string) []byte {
	a.T.Helper()
	if a.Kind != "" {
		kind = a.Kind
	}
	if a.Challenge != "" {
		challenge = a.Challenge
	}
	b, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": a.Cross})
	require.NoError(a.T, err)
	return b
}

// data returns what an authenticator says about it.
func (a *Authenticator) data(domain string, flags byte) []byte {
	if a.Domain != "" {
		domain = a.Domain
	}
	a.Count += a.Step
	sum := sha256.Sum256([]byte(domain))
	return binary.BigEndian.AppendUint32(append(sum[:], flags), a.Count)
}

func (a *Authenticator) answer(response map[string]any) []byte {
	a.T.Helper()
	b, err := json.Marshal(map[string]any{
		"id": Base64(a.ID), "rawId": Base64(a.ID), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}, "authenticatorAttachment": "platform",
	})
	require.NoError(a.T, err)
	return b
}

// Create answers navigator.credentials.create. The options must ask for a passkey that needs no name, of somebody who is known.
func (a *Authenticator) Create(raw []byte) []byte {
	a.T.Helper()
	o := a.Read(raw)
	require.Equal(a.T, "required", o.PublicKey.Selection["userVerification"])
	require.Equal(a.T, "required", o.PublicKey.Selection["residentKey"])
	var err error
	a.Handle, err = base64.RawURLEncoding.DecodeString(o.PublicKey.User.ID)
	require.NoError(a.T, err)
	point, err := a.Private.PublicKey.Bytes()
	require.NoError(a.T, err)
	public := cborMap(cborInt(1), cborInt(2), cborInt(3), cborInt(-7), cborInt(-1), cborInt(1), cborInt(-2), cborBytes(point[1:33]), cborInt(-3), cborBytes(point[33:]))
	data := append(a.data(o.PublicKey.RP.ID, a.Flags|attested), make([]byte, 16)...) // the AAGUID of none
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.ID)))
	data = append(append(data, a.ID...), public...)
	object := cborMap(cborText("fmt"), cborText("none"), cborText("attStmt"), cborMap(), cborText("authData"), cborBytes(data))
	return a.answer(map[string]any{
		"clientDataJSON": Base64(a.client("webauthn.create", o.PublicKey.Challenge)), "attestationObject": Base64(object), "transports": []string{"internal", "hybrid"},
	})
}

// Get answers navigator.credentials.get. The options must be for everybody, and ask for who it is.
func (a *Authenticator) Get(raw []byte) []byte {
	a.T.Helper()
	o := a.Read(raw)
	require.Equal(a.T, "required", o.PublicKey.UserVerification)
	require.Empty(a.T, o.PublicKey.AllowCredentials)
	data, client := a.data(o.PublicKey.RPID, a.Flags), a.client("webauthn.get", o.PublicKey.Challenge)
	sum := sha256.Sum256(client)
	digest := sha256.Sum256(append(data[:len(data):len(data)], sum[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, a.Private, digest[:])
	require.NoError(a.T, err)
	return a.answer(map[string]any{"clientDataJSON": Base64(client), "authenticatorData": Base64(data), "signature": Base64(sig), "userHandle": Base64(a.Handle)})
}
