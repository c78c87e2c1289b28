package audit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/leodido/go-syslog/v4"
	"github.com/leodido/go-syslog/v4/octetcounting"
	"github.com/leodido/go-syslog/v4/rfc5424"
	"github.com/stretchr/testify/require"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// logs are one list of leaves in the three implementations.
type logs struct {
	leaves [][32]byte
	ours   *audit.Log
	sumdb  stored
	google *testonly.Tree
}

// stored is a tlog.HashReader.
type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		if i < 0 || i >= int64(len(s)) {
			return nil, errors.New("not there")
		}
		out = append(out, s[i])
	}
	return out, nil
}

// open makes a ledger of at least n real events, partly in its archive, partly forgotten.
func open(t testing.TB, n int) *logs {
	t.Helper()
	ledger, random := pool.NewMemoryLedger(), mathrand.New(mathrand.NewPCG(1, 2))
	opened, err := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "JUDGED"})
	require.NoError(t, err)
	opened.ID = "opened"
	batch, at := []pool.Event{opened}, pool.Revision(0)
	for events := 0; events < n; {
		var err error
		at, err = ledger.Append(t.Context(), at, batch...)
		require.NoError(t, err)
		events += len(batch)
		batch = nil
		for i := range 1 + random.IntN(9) {
			e := pool.Event{ID: fmt.Sprint(at, ".", i), Kind: "test.event", Version: 1, Actor: "ada", Data: []byte(`{}`)}
			if i%4 == 0 {
				e.Subject, e.Private, e.Salt = fmt.Sprint(at%3), []byte("198.51.100.7"), []byte("sixteen bytes or more")
				e.Seal()
			}
			batch = append(batch, e)
		}
	}
	require.NoError(t, ledger.Compact(t.Context(), at/2, nil))
	require.NoError(t, ledger.Forget(t.Context(), "1"))

	l := &logs{ours: &audit.Log{History: audit.Of(ledger)}, google: testonly.New(rfc6962.DefaultHasher)}
	require.NoError(t, l.ours.Follow(t.Context()))
	for b, err := range pool.History(t.Context(), ledger, 0) {
		require.NoError(t, err)
		for i := range b.Events {
			leaf := b.Events[i].Leaf()
			hashes, err := tlog.StoredHashesForRecordHash(int64(len(l.leaves)), leaf, l.sumdb)
			require.NoError(t, err)
			l.leaves, l.sumdb = append(l.leaves, leaf), append(l.sumdb, hashes...)
			l.google.Append(leaf[:])
		}
	}
	return l
}

func slices(in [][32]byte) [][]byte {
	var out [][]byte
	for i := range in {
		out = append(out, in[i][:])
	}
	return out
}

func arrays[H ~[32]byte](in []H) [][32]byte {
	var out [][32]byte
	for i := range in {
		out = append(out, in[i])
	}
	return out
}

func hashes(in [][32]byte) (out []tlog.Hash) {
	for i := range in {
		out = append(out, in[i])
	}
	return out
}

// root has all three agree on the root of the first size leaves.
func (l *logs) root(t *testing.T, size int64) [32]byte {
	t.Helper()
	ours, err := l.ours.Root(t.Context(), size)
	require.NoError(t, err)
	sumdb, err := tlog.TreeHash(size, l.sumdb)
	require.NoError(t, err)
	require.Equal(t, ours, [32]byte(sumdb))
	require.Equal(t, ours[:], l.google.HashAt(uint64(size)))
	return ours
}

// inclusion has all three make the same proof, and each accept it.
func (l *logs) inclusion(t *testing.T, leaf, size int64, root [32]byte) [][32]byte {
	t.Helper()
	ours, err := l.ours.Inclusion(t.Context(), leaf, size)
	require.NoError(t, err)
	sumdb, err := tlog.ProveRecord(size, leaf, l.sumdb)
	require.NoError(t, err)
	google, err := l.google.InclusionProof(uint64(leaf), uint64(size))
	require.NoError(t, err)
	require.Equal(t, ours, arrays(sumdb), "%d in %d", leaf, size)
	require.Equal(t, slices(ours), append([][]byte(nil), google...), "%d in %d", leaf, size)
	require.True(t, l.included(leaf, size, l.leaves[leaf], root, ours, t))
	return ours
}

// included has all three judge one proof alike.
func (l *logs) included(leaf, size int64, hash, root [32]byte, p [][32]byte, t *testing.T) bool {
	t.Helper()
	ours := audit.VerifyInclusion(hash, leaf, size, root, p) == nil
	require.Equal(t, ours, tlog.CheckRecord(hashes(p), size, root, leaf, hash) == nil, "%d in %d", leaf, size)
	require.Equal(t, ours, proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(leaf), uint64(size), hash[:], slices(p), root[:]) == nil, "%d in %d", leaf, size)
	return ours
}

func (l *logs) consistency(t *testing.T, old, size int64, oldRoot, root [32]byte) [][32]byte {
	t.Helper()
	ours, err := l.ours.Consistency(t.Context(), old, size)
	require.NoError(t, err)
	google, err := l.google.ConsistencyProof(uint64(old), uint64(size))
	require.NoError(t, err)
	require.Equal(t, slices(ours), append([][]byte(nil), google...), "%d to %d", old, size)
	if old > 0 {
		sumdb, err := tlog.ProveTree(size, old, l.sumdb)
		require.NoError(t, err)
		require.Equal(t, ours, arrays(sumdb), "%d to %d", old, size)
	}
	require.True(t, l.consistent(old, size, oldRoot, root, ours, t))
	return ours
}

func (l *logs) consistent(old, size int64, oldRoot, root [32]byte, p [][32]byte, t *testing.T) bool {
	t.Helper()
	ours := audit.VerifyConsistency(old, size, oldRoot, root, p) == nil
	require.Equal(t, ours, proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(old), uint64(size), slices(p), oldRoot[:], root[:]) == nil, "%d to %d", old, size)
	if old > 0 { // it knows no empty tree
		require.Equal(t, ours, tlog.CheckTree(hashes(p), size, root, old, oldRoot) == nil, "%d to %d", old, size)
	}
	return ours
}

// All sizes up to 130, all leaves and all smaller sizes of each: the same proofs, accepted by all; and what is wrong with one
// of them is wrong for all.
func TestEverySmallTree(t *testing.T) {
	t.Parallel()
	l := open(t, 130)
	random := mathrand.New(mathrand.NewPCG(3, 4))
	roots := [][32]byte{}
	for size := range int64(131) {
		roots = append(roots, l.root(t, size))
	}
	refused := 0
	for size := int64(1); size <= 130; size++ {
		for leaf := range size {
			p := l.inclusion(t, leaf, size, roots[size])
			if !l.included(random.Int64N(size), 1+random.Int64N(130), l.leaves[leaf], roots[random.IntN(130)], hurt(random, p), t) {
				refused++
			}
		}
		for old := range size + 1 {
			p := l.consistency(t, old, size, roots[old], roots[size])
			if old = 1 + random.Int64N(size); !l.consistent(old, size, roots[old], roots[random.IntN(131)], hurt(random, p), t) {
				refused++
			}
		}
	}
	require.Greater(t, refused, 15000)
}

// hurt changes a proof, or leaves it alone.
func hurt(random *mathrand.Rand, p [][32]byte) [][32]byte {
	p = append([][32]byte(nil), p...)
	if len(p) == 0 {
		return p
	}
	switch i := random.IntN(len(p)); random.IntN(4) {
	case 0:
		p[i][random.IntN(32)] ^= 1 << random.IntN(8)
	case 1:
		return append(p[:i], p[i+1:]...)
	case 2:
		return append(p, p[i])
	}
	return p
}

// Random ones of a ledger that is large enough for every way in which a Log finds its hashes.
func TestRandomTrees(t *testing.T) {
	t.Parallel()
	l := open(t, 5000)
	random := mathrand.New(mathrand.NewPCG(5, 6))
	for i := range 600 {
		size := 1 + random.Int64N(int64(len(l.leaves)))
		if i%5 == 0 {
			size = 256 * (1 + size/512)
		}
		root := l.root(t, size)
		leaf, old := random.Int64N(size), random.Int64N(size+1)
		l.inclusion(t, leaf, size, root)
		l.consistency(t, old, size, l.root(t, old), root)
	}
}

// A signed head is a signed note that others read, theirs is one that we read, and a key's text is the same on both sides.
func TestSignedNotes(t *testing.T) {
	t.Parallel()
	l := open(t, 100)
	head, err := l.ours.Head()
	require.NoError(t, err)
	head.Time = time.Date(2026, 11, 29, 8, 30, 0, 0, time.UTC)
	for _, ledger := range []string{"JUDGED", "golden copy+1"} {
		head.Ledger = ledger
		public, private, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		key := audit.Key{Ledger: ledger, Public: public}
		text, err := note.NewEd25519VerifierKey(audit.Origin(ledger), public)
		require.NoError(t, err)
		require.Equal(t, text, key.String())
		signed, err := audit.Sign(head, private)
		require.NoError(t, err)
		verifier, err := note.NewVerifier(key.String())
		require.NoError(t, err)
		opened, err := note.Open(signed, note.VerifierList(verifier))
		require.NoError(t, err)
		require.Len(t, opened.Sigs, 1)

		secret, text, err := note.GenerateKey(rand.Reader, audit.Origin(ledger))
		require.NoError(t, err)
		theirs, err := audit.ParseKey(text)
		require.NoError(t, err)
		require.Equal(t, ledger, theirs.Ledger)
		signer, err := note.NewSigner(secret)
		require.NoError(t, err)
		both, err := note.Sign(opened, signer)
		require.NoError(t, err)
		for _, keys := range [][]audit.Key{{theirs}, {key}, {key, theirs}} {
			got, err := audit.Open(both, keys...)
			require.NoError(t, err)
			require.Equal(t, head, got)
		}
		for i := range 8 * len(signed) {
			bad := []byte(string(signed))
			bad[i/8] ^= 1 << (i % 8)
			_, ours := audit.Open(bad, key)
			_, theirs := note.Open(bad, note.VerifierList(verifier))
			if theirs != nil {
				require.Error(t, ours, "bit %d is wrong for the other implementation: %v", i, theirs)
			}
		}
		root := base64.StdEncoding.EncodeToString(head.Root[:])
		require.Equal(t, []string{audit.Origin(ledger), fmt.Sprint(head.Size), root}, strings.Split(opened.Text, "\n")[:3], "as checkpoints have it")
	}
}

// Another implementation reads what is sent as syslog, octet counts included, and finds in it what was put in, whatever that was.
func TestSyslogIsReadByOthers(t *testing.T) {
	t.Parallel()
	s := audit.Syslog{Host: "db-1", App: "berthd", Process: "42"}
	var entries []audit.Entry
	var stream []byte
	for i, text := range []string{"ada", "two\nlines", "\r\n<14>1 - - - - - - forged", "\x1b[2J\x00", "\u202e\u2028", "\xff", `a "quoted" ] \ name`, strings.Repeat("é", 4000), ""} {
		e := audit.Entry{Time: time.Date(2026, 11, 29, 12, 0, i, 1000, time.UTC), Actor: text, Action: text, Target: text, Result: audit.Refused, Detail: text}
		entries, stream = append(entries, e), s.Append(stream, &e)
	}
	n := 0
	octetcounting.NewParser(syslog.WithListener(func(r *syslog.Result) {
		require.NoError(t, r.Error)
		m, e := r.Message.(*rfc5424.SyslogMessage), entries[n]
		require.EqualValues(t, 13, *m.Facility)
		require.EqualValues(t, 5, *m.Severity)
		require.Equal(t, e.Time, m.Timestamp.UTC())
		require.Equal(t, "db-1", *m.Hostname)
		require.Equal(t, "berthd", *m.Appname)
		require.Equal(t, "42", *m.ProcID)
		require.Nil(t, m.StructuredData)
		require.Equal(t, string(e.AppendJSON(nil)), *m.Message)
		n++
	})).Parse(bytes.NewReader(stream))
	require.Len(t, entries, n)
}

// A Manager takes records as commands: from where and why a command came, and what was refused, stand in the ledger with whose command it was. Once the
// address is forgotten the evidence of the event still holds.
func TestAManagerRecords(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	ledger := pool.NewMemoryLedger()
	m, err := berthage.Open(ctx, berthage.Config{
		Drivers: map[string]hypervisor.Driver{"sim": fake.New(fake.Config{Name: "sim"})}, Ledger: ledger, Parts: []pool.Part{audit.Part()},
	})
	require.NoError(t, err)
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	defer func() {
		stop()
		<-done
	}()
	require.NoError(t, m.As("ada", "request-1").Decide(ctx, "audit", audit.Record{
		Command: &audit.Command{Action: "launch instance", Target: "web-1", Decision: "binding b1", Result: audit.Refused, Detail: "over quota"}, From: "198.51.100.7", Subject: "ada",
		Refusals: []audit.Refusals{{Principal: "eve", Minute: time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC), Count: 70, Action: "delete host"}},
	}))
	require.ErrorIs(t, m.Decide(ctx, "audit", "x"), pool.ErrInvalid)
	entries := func() (out []audit.Entry) {
		for b, err := range pool.History(ctx, ledger, 0) {
			require.NoError(t, err)
			for i := range b.Events {
				if strings.HasPrefix(b.Events[i].Kind, "audit.") {
					out = append(out, audit.EntryOf(&b.Events[i]))
				}
			}
		}
		return out
	}
	all := entries()
	require.Len(t, all, 2)
	require.Equal(t, []string{"ada", "198.51.100.7", "launch instance", "web-1", "binding b1", "refused", "over quota", "request-1"},
		[]string{all[0].Actor, all[0].From, all[0].Action, all[0].Target, all[0].Decision, string(all[0].Result), all[0].Detail, all[0].Correlation})
	require.Equal(t, "eve", all[1].Actor)
	require.EqualValues(t, 70, all[1].Count)

	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	log := &audit.Log{History: audit.Of(ledger)}
	require.NoError(t, log.Follow(ctx))
	head, err := log.Head()
	require.NoError(t, err)
	head.Time = time.Date(2026, 11, 29, 12, 1, 0, 0, time.UTC)
	note, err := audit.Sign(head, private)
	require.NoError(t, err)
	leaf, event, err := log.Find(ctx, *all[0].Event)
	require.NoError(t, err)
	path, err := log.Inclusion(ctx, leaf, head.Size)
	require.NoError(t, err)
	_, err = m.Forget(ctx, "ada")
	require.NoError(t, err)
	require.Empty(t, entries()[0].From)
	_, forgotten, err := log.Find(ctx, *all[0].Event)
	require.NoError(t, err)
	require.Empty(t, forgotten.Private)
	for _, e := range []pool.Event{event, forgotten} {
		_, err = (&audit.Evidence{Event: e, Leaf: leaf, Path: path, Head: note}).Verify(audit.Key{Ledger: head.Ledger, Public: public})
		require.NoError(t, err)
	}
	end, err := audit.Verify(ctx, audit.Of(ledger), head)
	require.NoError(t, err)
	require.Greater(t, end.Size, head.Size)
}
