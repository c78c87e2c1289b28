package passkey_test

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

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

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
	present  = 1 << 0
	verified = 1 << 2
	eligible = 1 << 3
	backedUp = 1 << 4
	attested = 1 << 6
)

// authenticator is one, with its browser: without changes it does all right.
type authenticator struct {
	t       *testing.T
	private *ecdsa.PrivateKey
	id      []byte
	handle  []byte

	domain, origin, kind string
	cross                bool
	challenge            string // instead of the one that it is given
	flags                byte
	count                uint32
	step                 uint32 // by which it counts
}

func newAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	id := make([]byte, 32)
	_, err = rand.Read(id)
	require.NoError(t, err)
	return &authenticator{t: t, private: k, id: id, domain: "berthage.example", origin: "https://berthage.example", flags: present | verified, step: 1}
}

// options are what it is asked.
type options struct {
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

func (a *authenticator) read(raw []byte) options {
	a.t.Helper()
	var o options
	require.NoError(a.t, json.Unmarshal(raw, &o))
	require.GreaterOrEqual(a.t, len(o.PublicKey.Challenge), 22)
	return o
}

// client returns what a browser says about the ceremony.
func (a *authenticator) client(kind, challenge string) []byte {
	a.t.Helper()
	if a.kind != "" {
		kind = a.kind
	}
	if a.challenge != "" {
		challenge = a.challenge
	}
	b, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": a.cross})
	require.NoError(a.t, err)
	return b
}

// data returns what an authenticator says about it.
func (a *authenticator) data(flags byte) []byte {
	a.count += a.step
	sum := sha256.Sum256([]byte(a.domain))
	return binary.BigEndian.AppendUint32(append(sum[:], flags), a.count)
}

func (a *authenticator) answer(response map[string]any) []byte {
	a.t.Helper()
	b, err := json.Marshal(map[string]any{
		"id": b64(a.id), "rawId": b64(a.id), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}, "authenticatorAttachment": "platform",
	})
	require.NoError(a.t, err)
	return b
}

// create answers navigator.credentials.create.
func (a *authenticator) create(raw []byte) []byte {
	a.t.Helper()
	o := a.read(raw)
	require.Equal(a.t, "berthage.example", o.PublicKey.RP.ID)
	require.Equal(a.t, "required", o.PublicKey.Selection["userVerification"])
	require.Equal(a.t, "required", o.PublicKey.Selection["residentKey"])
	var err error
	a.handle, err = base64.RawURLEncoding.DecodeString(o.PublicKey.User.ID)
	require.NoError(a.t, err)
	point, err := a.private.PublicKey.Bytes()
	require.NoError(a.t, err)
	public := cborMap(cborInt(1), cborInt(2), cborInt(3), cborInt(-7), cborInt(-1), cborInt(1), cborInt(-2), cborBytes(point[1:33]), cborInt(-3), cborBytes(point[33:]))
	data := append(a.data(a.flags|attested), make([]byte, 16)...) // the AAGUID of none
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.id)))
	data = append(append(data, a.id...), public...)
	object := cborMap(cborText("fmt"), cborText("none"), cborText("attStmt"), cborMap(), cborText("authData"), cborBytes(data))
	return a.answer(map[string]any{
		"clientDataJSON": b64(a.client("webauthn.create", o.PublicKey.Challenge)), "attestationObject": b64(object), "transports": []string{"internal", "hybrid"},
	})
}

// get answers navigator.credentials.get.
func (a *authenticator) get(raw []byte) []byte {
	a.t.Helper()
	o := a.read(raw)
	require.Equal(a.t, "berthage.example", o.PublicKey.RPID)
	require.Equal(a.t, "required", o.PublicKey.UserVerification)
	require.Empty(a.t, o.PublicKey.AllowCredentials)
	data, client := a.data(a.flags), a.client("webauthn.get", o.PublicKey.Challenge)
	sum := sha256.Sum256(client)
	digest := sha256.Sum256(append(data[:len(data):len(data)], sum[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, a.private, digest[:])
	require.NoError(a.t, err)
	return a.answer(map[string]any{"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(sig), "userHandle": b64(a.handle)})
}
