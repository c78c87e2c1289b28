package audit

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/berthage/berthage/pool"
)

// ErrSignature is the kind of error of a head that no accepted key has signed.
var ErrSignature = errors.New("not signed by an accepted key")

// Head says what a ledger was at a time: whoever has a signed one can tell later whether the history up to there is still
// the same.
//
// Signed it is a checkpoint of transparency logs (c2sp.org/tlog-checkpoint), which is a signed note (c2sp.org/signed-note), so
// that tools and witnesses of others read it:
//
//	berthage/ledger/SSM6GDJWKZPAB6SPJ3OTFAOUQS
//	1042
//	CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//	revision 977
//	time 2026-11-29T08:30:00Z
//
//	— berthage/ledger/SSM6GDJWKZPAB6SPJ3OTFAOUQS Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeO...
//
// The first line names the ledger, so that no head is taken for another ledger's, and no other signature of the key for one
// of a head: nothing else that is signed begins like this.
type Head struct {
	Ledger   string        // identity of the ledger at its last event
	Revision pool.Revision // of the last event
	Size     int64         // events up to there
	Root     [32]byte      // of the tree over them
	Time     time.Time     // when it was signed, by the signer's clock; UTC, whole seconds
}

// Bounds on what Open reads.
const (
	maxNote       = 16 << 10 // bytes
	maxSignatures = 16
	maxLedger     = 255 // bytes of a ledger's identity
)

// originPrefix is how the first line of a head begins, before the ledger's identity.
const originPrefix = "berthage/ledger/"

// Origin returns how heads and keys name a ledger: "berthage/ledger/" and its identity, escaped as in a URL's path.
func Origin(ledger string) string {
	return originPrefix + strings.ReplaceAll(url.PathEscape(ledger), "+", "%2B")
}

// ledgerOf returns the identity that Origin was given.
func ledgerOf(origin string) (string, bool) {
	escaped, ok := strings.CutPrefix(origin, originPrefix)
	if !ok {
		return "", false
	}
	ledger, err := url.PathUnescape(escaped)
	return ledger, err == nil && ledger != "" && len(ledger) <= maxLedger && utf8.ValidString(ledger) && Origin(ledger) == origin
}

// text returns what is signed.
func (h Head) text() []byte {
	var b bytes.Buffer
	for _, line := range []string{
		Origin(h.Ledger), number(h.Size), base64.StdEncoding.EncodeToString(h.Root[:]),
		"revision " + number(h.Revision), "time " + h.Time.UTC().Format(time.RFC3339),
	} {
		b.WriteString(line)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// check reports what cannot be the head of a ledger.
func (h Head) check() error {
	wrong := func(field, value, want string) error {
		return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
	}
	switch at := h.Time.UTC(); {
	case h.Ledger == "" || len(h.Ledger) > maxLedger || !utf8.ValidString(h.Ledger):
		return wrong("ledger", h.Ledger, "its identity; the empty ledger has no head")
	case h.Size < 1 || h.Size > pool.MaxTree:
		return wrong("size", number(h.Size), "at least 1")
	case h.Revision < 1 || int64(h.Revision) > h.Size:
		return wrong("revision", number(h.Revision), "from 1 up to the number of events")
	case at.Year() < 1 || at.Year() > 9999 || at.Nanosecond() != 0:
		return wrong("time", "", "whole seconds in the years 1 to 9999")
	}
	return nil
}

// Sign returns the head signed with each of the keys: while keys are being changed with the old one and the new one.
func Sign(h Head, keys ...ed25519.PrivateKey) ([]byte, error) {
	h.Time = h.Time.UTC().Truncate(time.Second)
	if err := h.check(); err != nil {
		return nil, pool.InField("head", err)
	}
	if len(keys) < 1 || len(keys) > maxSignatures {
		return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "keys", Value: number(len(keys)), Want: "1 to " + number(maxSignatures)}
	}
	text := h.text()
	note := append(bytes.Clone(text), '\n')
	for _, k := range keys {
		if len(k) != ed25519.PrivateKeySize {
			return nil, &pool.Error{Kind: pool.ErrInvalid, Field: "key", Want: "an Ed25519 private key"}
		}
		key := Key{Ledger: h.Ledger, Public: k.Public().(ed25519.PublicKey)}
		id := key.id()
		note = append(note, "— "+Origin(h.Ledger)+" "+base64.StdEncoding.EncodeToString(append(id[:], ed25519.Sign(k, text)...))+"\n"...)
	}
	return note, nil
}

// Open returns the head in a signed note once one of the keys has proved to have signed it. A signature in the name of an
// accepted key that is not that key's makes the whole one ErrSignature; those of keys that are not accepted, such as those of
// witnesses, are passed over. What is no head at all is pool.ErrInvalid.
func Open(note []byte, keys ...Key) (Head, error) {
	h, text, signatures, err := parseNote(note)
	if err != nil {
		return Head{}, pool.InField("head", err)
	}
	signed := false
	for _, s := range signatures {
		k := slices.IndexFunc(keys, func(k Key) bool { return Origin(k.Ledger) == s.name && k.id() == s.id })
		if k < 0 {
			continue
		}
		if len(keys[k].Public) != ed25519.PublicKeySize || !ed25519.Verify(keys[k].Public, text, s.signature) || keys[k].Ledger != h.Ledger {
			return Head{}, &pool.Error{Kind: ErrSignature, Field: "head", Want: "the signature of key " + keys[k].String() + " on these very lines"}
		}
		signed = true
	}
	if !signed {
		return Head{}, &pool.Error{Kind: ErrSignature, Field: "head of ledger", Value: h.Ledger, Want: "the signature of one of " + number(len(keys)) + " keys of that ledger"}
	}
	return h, nil
}

// signature is a line of a note.
type signature struct {
	name      string
	id        [4]byte
	signature []byte
}

// parseNote takes a note apart. Nothing of it has been verified.
func parseNote(note []byte) (h Head, text []byte, signatures []signature, err error) {
	wrong := func(field, want string) (Head, []byte, []signature, error) {
		return Head{}, nil, nil, &pool.Error{Kind: pool.ErrInvalid, Field: field, Want: want}
	}
	if len(note) > maxNote || !utf8.Valid(note) || bytes.ContainsFunc(note, func(r rune) bool { return r < ' ' && r != '\n' }) {
		return wrong("note", "at most 16 KiB of text in UTF-8, without control characters")
	}
	end := bytes.Index(note, []byte("\n\n"))
	if end < 0 || note[len(note)-1] != '\n' {
		return wrong("note", "the lines of a head, an empty line, and signatures")
	}
	text = note[:end+1]
	lines := strings.Split(string(note[:end]), "\n")
	if len(lines) != 5 {
		return wrong("note", "the five lines of a head")
	}
	var ok bool
	if h.Ledger, ok = ledgerOf(lines[0]); !ok {
		return wrong("line 1", originPrefix+" and the identity of a ledger")
	}
	root, err := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || len(root) != len(h.Root) {
		return wrong("line 3", "a root of 32 bytes in base64")
	}
	copy(h.Root[:], root)
	revision, _ := strings.CutPrefix(lines[3], "revision ")
	at, _ := strings.CutPrefix(lines[4], "time ")
	size, err1 := strconv.ParseInt(lines[1], 10, 64)
	rev, err2 := strconv.ParseInt(revision, 10, 64)
	t, err3 := time.Parse(time.RFC3339, at)
	if err := errors.Join(err1, err2, err3); err != nil {
		return wrong("note", "a size, a revision and a time")
	}
	h.Size, h.Revision, h.Time = size, pool.Revision(rev), t.UTC()
	if err := h.check(); err != nil {
		return Head{}, nil, nil, err
	}
	if !bytes.Equal(h.text(), text) {
		return wrong("note", "numbers, root and time in the one form that they have")
	}
	for line := range strings.Lines(string(note[end+2:])) {
		name, coded, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if ok && name == "—" {
			name, coded, ok = strings.Cut(coded, " ")
		} else {
			ok = false
		}
		raw, err := base64.StdEncoding.Strict().DecodeString(coded)
		if !ok || !keyName(name) || err != nil || len(raw) < 5 {
			return wrong("signatures", "lines of a dash, a key's name, and a signature in base64")
		}
		s := signature{name: name, id: [4]byte(raw), signature: raw[4:]}
		if signatures = append(signatures, s); len(signatures) > maxSignatures {
			return wrong("signatures", "at most "+number(maxSignatures))
		}
	}
	return h, text, signatures, nil
}

// keyName reports whether signed notes allow the name of a key.
func keyName(name string) bool {
	return name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsSpace) && !strings.Contains(name, "+")
}

// Follows checks, with a proof of Log.Consistency, that h is a later head of the history of which old is one: nothing was changed,
// left out or put in between. The identity may have changed, since an imported ledger goes on from where its original was.
// Both must have been opened. The error is ErrProof.
func (h Head) Follows(old Head, proof [][32]byte) error {
	if h.Size < old.Size || h.Revision < old.Revision || h.Size == old.Size && (h.Revision != old.Revision || h.Ledger != old.Ledger) {
		return unproved("head", "one that is not before revision "+number(old.Revision)+" of ledger "+pool.Quote(old.Ledger))
	}
	return VerifyConsistency(old.Size, h.Size, old.Root, h.Root, proof)
}

// LedgerOf returns the identity that a signed head gives itself, before it has been opened: whose keys are needed to do so.
func LedgerOf(note []byte) (string, bool) {
	line, _, _ := strings.Cut(string(note[:min(len(note), maxNote)]), "\n")
	return ledgerOf(line)
}
