package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"slices"

	"github.com/go-jose/go-jose/v4"
)

// key is a public key of the provider.
type key struct {
	id     string
	alg    Algorithm // that it is only for; empty: for all that fit
	public any
}

// fits reports whether signatures by the algorithm are verified with the key: what the token says is never enough, so that no key of one kind is
// taken for one of another.
func (k key) fits(a Algorithm) bool {
	if k.alg != "" && k.alg != a {
		return false
	}
	switch k.public.(type) {
	case *rsa.PublicKey:
		return a == RS256 || a == PS256
	case *ecdsa.PublicKey:
		return a == ES256
	case ed25519.PublicKey:
		return a == EdDSA
	}
	return false
}

type keySet []key

// find returns the keys that a signature may be by. A token that names none can be verified if there is one choice only.
func (s keySet) find(id string, a Algorithm) []key {
	var out []key
	for _, k := range s {
		if k.fits(a) && (id == "" || k.id == id) {
			out = append(out, k)
		}
	}
	if id == "" && len(out) > 1 {
		return nil
	}
	return out
}

// readKeys returns the keys of a set (RFC 7517, section 5) that can be used. Others are passed over: of other kinds, for encrypting, too weak,
// secret ones, which a provider should not show.
func readKeys(set object) (keySet, bool) {
	var all []json.RawMessage
	if json.Unmarshal(set["keys"], &all) != nil || len(all) > MaxKeys {
		return nil, false
	}
	var out keySet
	for _, raw := range all {
		if k, ok := readKey(raw); ok {
			out = append(out, k)
		}
	}
	return out, len(out) > 0
}

func readKey(raw json.RawMessage) (key, bool) {
	o, ok := readObject(raw)
	if !ok {
		return key{}, false
	}
	use, ok1 := o.text("use", 16)
	alg, ok2 := o.text("alg", 16)
	id, ok3 := o.text("kid", 255)
	var k jose.JSONWebKey
	switch {
	case !ok1 || !ok2 || !ok3 || use != "" && use != "sig",
		alg != "" && !slices.Contains(Algorithms(), Algorithm(alg)),
		k.UnmarshalJSON(raw) != nil || !k.Valid():
		return key{}, false
	}
	out := key{id, Algorithm(alg), k.Key}
	switch public := k.Key.(type) { // secret and shared ones are of other types
	case *rsa.PublicKey:
		bits := public.N.BitLen()
		return out, bits >= 2048 && bits <= 8192
	case *ecdsa.PublicKey:
		return out, public.Curve == elliptic.P256()
	case ed25519.PublicKey:
		return out, len(public) == ed25519.PublicKeySize
	}
	return key{}, false
}

// signature verifies one signature. It is what go-oidc calls a KeySet, made for one token, so that its own errors are seen, which go-oidc turns
// into text.
type signature struct {
	p    *Provider
	keys string // where the provider's are
	alg  Algorithm
	kid  string
	err  error
}

// VerifySignature returns the payload of a token if one of the provider's keys has signed it.
func (s *signature) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	var payload []byte
	payload, s.err = s.verify(ctx, token)
	return payload, s.err
}

func (s *signature) verify(ctx context.Context, token string) ([]byte, error) {
	set, err := s.p.keys.get(ctx, func(set keySet) bool { return len(set.find(s.kid, s.alg)) > 0 }, s.fetch)
	if err != nil {
		return nil, err
	}
	keys := set.find(s.kid, s.alg)
	if len(keys) == 0 {
		return nil, refused(UnknownKey)
	}
	jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(s.alg)})
	if err != nil {
		return nil, refused(BadToken)
	}
	for _, k := range keys {
		if payload, err := jws.Verify(k.public); err == nil {
			return payload, nil
		}
	}
	return nil, refused(BadSignature)
}

func (s *signature) fetch(ctx context.Context) (keySet, error) {
	const op = "fetch the keys of"
	o, err := s.p.get(ctx, s.keys, "")
	if err != nil {
		return nil, s.p.unavailable(op, "", "", err)
	}
	set, ok := readKeys(o)
	if !ok {
		return nil, s.p.unavailable(op, "keys", "1 to 64 keys, one at least that can be used", nil)
	}
	return set, nil
}
