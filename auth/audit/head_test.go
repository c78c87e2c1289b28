package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

// keyOf is a key pair that is always the same.
func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func publicOf(ledger string, n byte) audit.Key {
	return audit.Key{Ledger: ledger, Public: keyOf(n).Public().(ed25519.PublicKey)}
}

func headOf() audit.Head {
	return audit.Head{Ledger: "FIRST", Revision: 7, Size: 12, Root: mth(0, 12), Time: time.Date(2026, 11, 29, 8, 30, 0, 0, time.UTC)}
}

func TestHead(t *testing.T) {
	t.Parallel()
	h := headOf()
	note, err := audit.Sign(h, keyOf(1))
	require.NoError(t, err)
	root := base64.StdEncoding.EncodeToString(h.Root[:])
	require.True(t, strings.HasPrefix(string(note), "berthage/ledger/FIRST\n12\n"+root+"\nrevision 7\ntime 2026-11-29T08:30:00Z\n\n— berthage/ledger/FIRST "), "%s", note)
	got, err := audit.Open(note, publicOf("FIRST", 2), publicOf("FIRST", 1))
	require.NoError(t, err)
	require.Equal(t, h, got)

	// Not by nobody, by another key, or by the same key for another ledger.
	for _, keys := range [][]audit.Key{nil, {publicOf("FIRST", 2)}, {publicOf("SECOND", 1)}, {{Ledger: "FIRST"}}} {
		_, err := audit.Open(note, keys...)
		require.ErrorIs(t, err, audit.ErrSignature)
	}

	// While keys are changed either key is enough, and whoever has both accepts either signature.
	both, err := audit.Sign(h, keyOf(1), keyOf(2))
	require.NoError(t, err)
	for _, keys := range [][]audit.Key{{publicOf("FIRST", 1)}, {publicOf("FIRST", 2)}, {publicOf("FIRST", 1), publicOf("FIRST", 2)}} {
		_, err := audit.Open(both, keys...)
		require.NoError(t, err)
	}
	newer, err := audit.Sign(h, keyOf(2))
	require.NoError(t, err)
	_, err = audit.Open(newer, publicOf("FIRST", 1), publicOf("FIRST", 2))
	require.NoError(t, err)

	// A witness' signature is passed over.
	witnessed := append(bytes.Clone(note), "— witness.example.com/w1 "+base64.StdEncoding.EncodeToString(make([]byte, 76))+"\n"...)
	_, err = audit.Open(witnessed, publicOf("FIRST", 1))
	require.NoError(t, err)
}

// One flipped bit anywhere in a head is found.
func TestHeadWithAFlippedBit(t *testing.T) {
	t.Parallel()
	note, err := audit.Sign(headOf(), keyOf(1))
	require.NoError(t, err)
	for i := range 8 * len(note) {
		bad := bytes.Clone(note)
		bad[i/8] ^= 1 << (i % 8)
		_, err := audit.Open(bad, publicOf("FIRST", 1))
		require.Error(t, err, "bit %d: %s", i, bad)
	}
}

// What is signed with the same key for another purpose, or says the same in another way, is no head.
func TestNoHead(t *testing.T) {
	t.Parallel()
	good, err := audit.Sign(headOf(), keyOf(1))
	require.NoError(t, err)
	text, signatures, _ := strings.Cut(string(good), "\n\n")
	sign := func(text string) string {
		note, err := audit.Sign(headOf(), keyOf(1))
		require.NoError(t, err)
		_, line, _ := strings.Cut(string(note), "\n\n")
		name := line[:strings.LastIndex(line, " ")+1]
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line[len(name):]))
		require.NoError(t, err)
		return text + "\n" + name + base64.StdEncoding.EncodeToString(append(raw[:4:4], ed25519.Sign(keyOf(1), []byte(text))...)) + "\n"
	}
	_, err = audit.Open([]byte(sign(text+"\n")), publicOf("FIRST", 1))
	require.NoError(t, err, "the way in which the others are signed")
	other := publicOf("SECOND", 1).String() // the same key, in the name of another ledger
	id, err := hex.DecodeString(strings.Split(other, "+")[1])
	require.NoError(t, err)
	line := "— berthage/ledger/SECOND " + base64.StdEncoding.EncodeToString(append(id, ed25519.Sign(keyOf(1), []byte(text+"\n"))...)) + "\n"
	_, err = audit.Open([]byte(text+"\n\n"+line), publicOf("SECOND", 1))
	require.ErrorIs(t, err, audit.ErrSignature)
	for _, c := range []struct{ old, new string }{
		{"berthage/ledger/FIRST\n", "berthage/ledger/%46IRST\n"}, {"berthage/ledger/FIRST\n", "berthage/ledger/\n"}, {"berthage/ledger/FIRST\n", "FIRST\n"},
		{"berthage/ledger/FIRST\n", "berthage/ledger/FIRST\nFIRST\n"}, {"\n12\n", "\n012\n"}, {"\n12\n", "\n+12\n"}, {"\n12\n", "\n0\n"}, {"\n12\n", "\n6\n"},
		{"\n12\n", "\n-12\n"}, {"\n12\n", "\n9223372036854775807\n"}, {"\n12\n", "\n99999999999999999999\n"}, {"revision 7", "revision 0"}, {"revision 7", "revision 13"},
		{"revision 7", "7"}, {"revision 7", "revision 07"}, {"time 2026-11-29T08:30:00Z", "time 2026-11-29T09:30:00+01:00"}, {"time 2026-11-29T08:30:00Z", "time 2026-11-29T08:30:00.5Z"},
		{"time 2026-11-29T08:30:00Z", "time 0000-11-29T08:30:00Z"}, {"time ", "more\ntime "}, {"=\n", "\n"}, {"=\n", "=\r\n"}, {"FIRST", "FIR\x00ST"}, {"FIRST", "FIR\xffST"},
	} {
		changed := strings.Replace(text+"\n", c.old, c.new, 1)
		require.NotEqual(t, text+"\n", changed, c.old)
		_, err := audit.Open([]byte(sign(changed)), publicOf("FIRST", 1))
		require.ErrorIs(t, err, pool.ErrInvalid, changed)
	}
	for _, note := range []string{"", "\n", text, text + "\n", text + "\n\n", text + "\n\n" + signatures[:len(signatures)-1], text + "\n\nno dash\n",
		text + "\n\n— a\n", text + "\n\n—  AAAAAAAA\n", text + "\n\n— a+b AAAAAAAA\n", text + "\n\n— a AAAA\n", text + "\n\n— a !!!!!!!!\n",
		text + "\n\n" + strings.Repeat(signatures, 17), text + "\n\n" + signatures + "\n", strings.Repeat("x", 20000)} {
		_, err := audit.Open([]byte(note), publicOf("FIRST", 1))
		require.Error(t, err, note)
	}
	for _, h := range []audit.Head{{}, {Ledger: "x"}, {Ledger: "x", Size: 1}, {Ledger: "x", Size: 1, Revision: 2}, {Ledger: strings.Repeat("x", 256), Size: 1, Revision: 1}, {Size: 1, Revision: 1}} {
		_, err := audit.Sign(h, keyOf(1))
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
	for _, keys := range [][]ed25519.PrivateKey{nil, {nil}, {make([]byte, 3)}, make([]ed25519.PrivateKey, 17)} {
		_, err := audit.Sign(headOf(), keys...)
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
}

// Whatever a ledger calls itself, its name survives.
func TestKeys(t *testing.T) {
	t.Parallel()
	for _, ledger := range []string{"FIRST", "golden copy", "a+b", "a/b", "a%2Bb", "ä\u2028", "line\nbreak", "— x", strings.Repeat("x", 255)} {
		k := publicOf(ledger, 1)
		text := k.String()
		require.Equal(t, 2, strings.Count(text[:len(text)-44], "+"), text)
		got, err := audit.ParseKey(text)
		require.NoError(t, err)
		require.Equal(t, k, got)
		h := headOf()
		h.Ledger = ledger
		note, err := audit.Sign(h, keyOf(1))
		require.NoError(t, err)
		got2, err := audit.Open(note, k)
		require.NoError(t, err)
		require.Equal(t, h, got2)
		for i := range 8 * len(text) {
			bad := []byte(text)
			bad[i/8] ^= 1 << (i % 8)
			_, err := audit.ParseKey(string(bad))
			require.ErrorIs(t, err, pool.ErrInvalid, "bit %d: %s", i, bad)
		}
	}
	one := publicOf("FIRST", 1).String()
	for _, text := range []string{"", "x", "+", "++", one + " ", one[:len(one)-4]} {
		_, err := audit.ParseKey(text)
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
	keys, err := audit.ParseKeys("# the present one\n" + one + "\n\n  " + publicOf("FIRST", 2).String() + "\r\n")
	require.NoError(t, err)
	require.Equal(t, []audit.Key{publicOf("FIRST", 1), publicOf("FIRST", 2)}, keys)
	for _, text := range []string{"", "# nothing", one + "\nx", strings.Repeat(one+"\n", 1001)} {
		_, err := audit.ParseKeys(text)
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
}

func TestFollows(t *testing.T) {
	t.Parallel()
	l := filled(t, 300)
	log := &audit.Log{History: audit.Of(l)}
	require.NoError(t, log.Follow(t.Context()))
	head, err := log.Head()
	require.NoError(t, err)
	_, at, sizes := leavesOf(t, l)
	for _, size := range sizes {
		root, err := log.Root(t.Context(), size)
		require.NoError(t, err)
		old := audit.Head{Ledger: "FIRST", Revision: at[size-1].Revision, Size: size, Root: root}
		proof, err := log.Consistency(t.Context(), size, head.Size)
		require.NoError(t, err)
		require.NoError(t, head.Follows(old, proof))
		imported := head
		imported.Ledger = "COPY"
		if size < head.Size {
			require.NoError(t, imported.Follows(old, proof))
			require.ErrorIs(t, old.Follows(head, proof), audit.ErrProof)
			old.Revision = head.Revision + 1
		} else {
			require.ErrorIs(t, imported.Follows(old, proof), audit.ErrProof, "one ledger at one size has one name")
			old.Root[3] ^= 1
		}
		require.ErrorIs(t, head.Follows(old, proof), audit.ErrProof)
	}
}

// evidenceOf is about an event of a ledger.
func evidenceOf(t testing.TB, l pool.Ledger, at audit.Position) audit.Evidence {
	t.Helper()
	log := &audit.Log{History: audit.Of(l)}
	require.NoError(t, log.Follow(t.Context()))
	leaf, e, err := log.Find(t.Context(), at)
	require.NoError(t, err)
	path, err := log.Inclusion(t.Context(), leaf, log.Size())
	require.NoError(t, err)
	h, err := log.Head()
	require.NoError(t, err)
	h.Time = headOf().Time
	note, err := audit.Sign(h, keyOf(1))
	require.NoError(t, err)
	return audit.Evidence{Event: e, Leaf: leaf, Path: path, Head: note}
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	l := filled(t, 300)
	_, err := l.Append(t.Context(), head(t, l), pool.Event{ID: "bytes", Kind: "test.bytes", Version: 1, Data: []byte("\xff \x00")}, pool.Event{ID: "empty", Kind: "test.empty", Version: 1})
	require.NoError(t, err)
	_, at, _ := leavesOf(t, l)
	for _, i := range []int{0, 1, 100, len(at) - 2, len(at) - 1} {
		v := evidenceOf(t, l, at[i])
		b, err := json.Marshal(&v)
		require.NoError(t, err)
		require.NotContains(t, string(b), base64.StdEncoding.EncodeToString([]byte("198.51.100.7")))
		var got audit.Evidence
		require.NoError(t, json.Unmarshal(b, &got))
		h, err := got.Verify(publicOf("FIRST", 1))
		require.NoError(t, err)
		require.EqualValues(t, len(at), h.Size)
		require.Equal(t, v.Event.Leaf(), got.Event.Leaf())
		require.Empty(t, got.Event.Private)
		_, err = got.Verify(publicOf("FIRST", 2))
		require.ErrorIs(t, err, audit.ErrSignature)
		for name, change := range map[string]func(v *audit.Evidence){
			"actor": func(v *audit.Evidence) { v.Event.Actor += "x" },
			"kind":  func(v *audit.Evidence) { v.Event.Kind = "other" },
			"data":  func(v *audit.Evidence) { v.Event.Data = append(v.Event.Data, ' ') },
			"time":  func(v *audit.Evidence) { v.Event.Time = v.Event.Time.Add(time.Microsecond) },
			"leaf":  func(v *audit.Evidence) { v.Leaf ^= 1 },
			"late":  func(v *audit.Evidence) { v.Event.Revision = h.Revision + 1 },
			"path":  func(v *audit.Evidence) { v.Path = v.Path[1:] },
		} {
			bad := got
			change(&bad)
			_, err = bad.Verify(publicOf("FIRST", 1))
			require.ErrorIs(t, err, audit.ErrProof, name)
			require.ErrorContains(t, err, "event "+audit.Position{Revision: bad.Event.Revision, Index: bad.Event.Index}.String(), name)
		}
		got.Head = []byte("x")
		_, err = got.Verify(publicOf("FIRST", 1))
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
	two := evidenceOf(t, l, audit.Position{Revision: 2})
	good, err := json.MarshalIndent(&two, " ", "\t")
	require.NoError(t, err)
	require.NoError(t, new(audit.Evidence).UnmarshalJSON(good))
	for old, other := range map[string]string{ // each says something else to a person, or in another way
		`"actor": "ada"`:        `"actor": "eve", "Actor": "ada"`,
		`"kind": `:              `"kind": "other", "kind": `,
		`"leaf": 1`:             `"leaf": 1e0`,
		`"cause": "request"`:    `"cause": "\u0072equest"`,
		`2026-11-29T08:00:01Z"`: `2026-11-29T08:00:01.0000009Z"`,
		`08:00:01Z"`:            `09:00:01+01:00"`,
	} {
		bad := strings.Replace(string(good), old, other, 1)
		require.NotEqual(t, string(good), bad, old)
		require.ErrorIs(t, new(audit.Evidence).UnmarshalJSON([]byte(bad)), pool.ErrInvalid, bad)
	}
	for _, text := range []string{"", "{}", "[]", `{"berthage_evidence":2}`, `{"berthage_evidence":1,"more":1}`, `{"berthage_evidence":1} {}`, `{"berthage_evidence":1,"path":["AAAA"]}`,
		`{"berthage_evidence":1,"data":"","data_base64":"AA=="}`, strings.Repeat(" ", 9<<20)} {
		var v audit.Evidence
		require.ErrorIs(t, v.UnmarshalJSON([]byte(text)), pool.ErrInvalid)
	}
}

func head(t testing.TB, l pool.Ledger) (at pool.Revision) {
	t.Helper()
	for b, err := range pool.History(t.Context(), l, 0) {
		require.NoError(t, err)
		at = b.Revision
	}
	return at
}

// FuzzOpen feeds anything to the readers of heads, keys and evidence: no panic, errors of the kinds that are promised, and
// nothing that is accepted but what the key has signed.
func FuzzOpen(f *testing.F) {
	note, err := audit.Sign(headOf(), keyOf(1), keyOf(2))
	require.NoError(f, err)
	v := evidenceOf(f, filled(f, 10), audit.Position{Revision: 2})
	b, err := json.Marshal(&v)
	require.NoError(f, err)
	f.Add(note)
	f.Add(b)
	f.Add([]byte(publicOf("a b", 1).String()))
	want := fmt.Sprint(headOf())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := audit.Open(b, publicOf("FIRST", 1)); err == nil {
			require.Equal(t, want, fmt.Sprint(h))
		} else {
			require.True(t, isKind(err, pool.ErrInvalid, audit.ErrSignature), err)
		}
		if k, err := audit.ParseKey(string(b)); err == nil {
			require.Equal(t, string(b), k.String())
		} else {
			require.ErrorIs(t, err, pool.ErrInvalid)
		}
		var v audit.Evidence
		if err := v.UnmarshalJSON(b); err != nil {
			require.ErrorIs(t, err, pool.ErrInvalid)
		} else if _, err := v.Verify(publicOf("FIRST", 1)); err != nil {
			require.True(t, isKind(err, pool.ErrInvalid, audit.ErrSignature, audit.ErrProof), err)
		}
	})
}
