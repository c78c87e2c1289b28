package pool_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/history"
	"github.com/berthage/berthage/pool"
)

func snapshot(t testing.TB, s *pool.State) []byte {
	t.Helper()
	b, err := s.Snapshot().Bytes()
	require.NoError(t, err)
	return b
}

func restored(t testing.TB, snapshot []byte) *pool.State {
	t.Helper()
	s, err := pool.ReadSnapshot(bytes.NewReader(snapshot))
	require.NoError(t, err)
	return s
}

// sealed puts the right checksum behind what is a snapshot without one.
func sealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(bytes.Clone(body), sum[:]...)
}

// TestSnapshotsOfRandomHistories: a snapshot and the rest of a history are the same State as the whole, and the
// same State is the same bytes, however it came about.
func TestSnapshotsOfRandomHistories(t *testing.T) {
	t.Parallel()
	ended, members, changing := 0, 0, 0
	for seed := range uint64(30) {
		c := &chance{Rand: rand.New(rand.NewPCG(seed, 3)), tape: tape{t: t}}
		direct := pool.NewState()
		resumed := pool.NewState() // replaced by what its own snapshot gives, again and again
		c.s = direct
		for range 60 {
			c.revision++
			over := resumed.Overlay()
			for index := range 1 + c.IntN(5) {
				e := c.event()
				e.Index = index
				back := stored(t, e)
				sameError(t, direct.Apply(&e), over.Apply(&back))
			}
			resumed.Absorb(over)
			if c.IntN(4) > 0 {
				continue
			}
			b := snapshot(t, direct)
			require.Equal(t, string(b), string(snapshot(t, resumed)), "the same State, the same bytes")
			resumed = restored(t, b)
			equal(t, direct, resumed)
			checkBooks(t, resumed, true)
			require.Equal(t, string(b), string(snapshot(t, resumed)))
			require.Equal(t, string(b), string(snapshot(t, direct.Clone())))
			require.Equal(t, string(b), string(snapshot(t, direct.Overlay())))
			for _, id := range everyInstance {
				if _, ok := direct.Ended(id); ok {
					ended++
				}
			}
			for i := range direct.Instances() {
				if i.Cluster != "" {
					members++
				}
				if i.Move != nil || i.Resize != nil {
					changing++
				}
			}
		}
	}
	require.Greater(t, min(ended, members, changing), 5, "histories in which enough happens")
}

// A snapshot is what the State was when it was taken, though the State goes on while it is written.
func TestASnapshotStaysWhileTheStateGoesOn(t *testing.T) {
	t.Parallel()
	f := history.Fleet{Hosts: 4, Instances: 3000, Alive: 20}
	s := pool.NewState()
	var shots []*pool.Snapshot
	var want [][]byte
	done := make(chan []byte, 1)
	n := 0
	for b := range f.Batches() {
		for i := range b.Events {
			require.NoError(t, s.Apply(&b.Events[i]))
		}
		if n++; n%1777 == 0 { // in the midst of a part of tombstones
			shots, want = append(shots, s.Snapshot()), append(want, snapshot(t, s))
		}
		if n == 10_000 {
			shot := s.Snapshot()
			want = append(want, snapshot(t, s))
			go func() { // under the race detector, while the rest is folded
				b, _ := shot.Bytes()
				done <- b
			}()
		}
	}
	require.Greater(t, len(shots), 8)
	at := 0
	for _, w := range want {
		if restored(t, w).Head() == 10_000 {
			require.True(t, bytes.Equal(w, <-done))
			continue
		}
		require.True(t, bytes.Equal(w, snapshotOf(t, shots[at])))
		at++
	}
	require.Equal(t, 2980, ended(s, f))
	require.Equal(t, 2980, ended(restored(t, snapshot(t, s)), f))
	require.Equal(t, 2980, ended(s.Clone(), f))
	_, ok := s.Ended("i000")
	require.False(t, ok)
}

func snapshotOf(t *testing.T, s *pool.Snapshot) []byte {
	b, err := s.Bytes()
	require.NoError(t, err)
	return b
}

func ended(s *pool.State, f history.Fleet) (n int) {
	for k := range f.Instances {
		if _, ok := s.Ended(history.ID(k)); ok {
			n++
		}
	}
	return n
}

// The user-data of a cluster stands once in a snapshot, not once per member.
func TestMembersShareTheirSpecInASnapshot(t *testing.T) {
	t.Parallel()
	p, s, _ := setUp(t)
	const id = pool.ClusterID("p/web")
	apply := func(kind string, payload any) {
		e := p.next(kind, payload)
		require.NoError(t, s.Apply(&e))
	}
	spec := pool.Spec{Image: "debian-12", Guest: pool.Guest{User: "ada", UserData: strings.Repeat("x", pool.MaxUserData)}}
	apply(pool.KindClusterPut, &pool.ClusterPut{Cluster: id, Token: "t", Spec: spec})
	for n := range 10 {
		m := pool.NewClusterMember("ledger", id, "t", n)
		apply(pool.KindLaunched, &pool.Launched{Instance: m, Project: "p", Cluster: id, Index: n, Want: pool.Running, Place: place("d/h00", 0)})
		apply(pool.KindSent, &pool.OfMachine{Machine: m.Machine(0)})
		apply(pool.KindCreated, &pool.OfMachine{Machine: m.Machine(0)})
		if n == 3 {
			a := place("d/h00", 0).Allocation
			apply(pool.KindResizing, &pool.ResizeWanted{Instance: m, After: a, During: a, Sizes: pool.Sizes{Resources: a.Resources}})
			apply(pool.KindResized, &pool.OfMachine{Machine: m.Machine(0)})
		}
	}
	b := snapshot(t, s)
	require.Less(t, len(b), 2*pool.MaxUserData)
	back := restored(t, b)
	equal(t, s, back)
	require.Equal(t, string(b), string(snapshot(t, back)))

	// What is forgotten is in no snapshot from then on.
	require.Contains(t, string(b), "xxxx")
	apply(pool.KindForgotten, &pool.Forgotten{Subject: string(id)})
	apply(pool.KindForgotten, &pool.Forgotten{Subject: string(everyInstance[0])})
	b = snapshot(t, s)
	for _, personal := range []string{"xxxx", "ada", "192.0.2.7", "#cloud-config"} {
		require.NotContains(t, string(b), personal)
	}
	equal(t, s, restored(t, b))
}

// What is not what was written, or contradicts itself, is found out, also where its checksum is right.
func TestDamagedSnapshots(t *testing.T) {
	t.Parallel()
	p, s, alive := setUp(t)
	for _, e := range []pool.Event{
		p.next(pool.KindLaunched, launched(everyInstance[1], place("d/h01", 0))), p.next(pool.KindDeleted, &pool.Ended{Instance: everyInstance[1]}),
	} {
		require.NoError(t, s.Apply(&e))
	}
	good := snapshot(t, s)
	body := good[:len(good)-sha256.Size]
	const grave = 2 + 17 + 2 // a frame of one tombstone, with small numbers
	tombstone := bytes.Clone(body[len(body)-2-grave : len(body)-2])
	require.Equal(t, "E\x13", string(tombstone[:2]))
	flavor := []byte("F\x1f" + `{"name":"small","resources":{}}`)
	require.Contains(t, string(body), string(flavor))
	behind := func(frame ...byte) []byte {
		return sealed(append(append(bytes.Clone(body[:len(body)-2]), frame...), '.', 0))
	}
	of := func(high, low uint64, last byte) []byte {
		b := binary.BigEndian.AppendUint64([]byte("E\x13"), high)
		return append(append(binary.BigEndian.AppendUint64(b, low), last), tombstone[grave-2:]...)
	}
	high, err := strconv.ParseUint(string(alive[:12]), 36, 64)
	require.NoError(t, err)
	low, err := strconv.ParseUint(string(alive[12:24]), 36, 64)
	require.NoError(t, err)
	replace := func(old, new string) []byte {
		require.Contains(t, string(body), old)
		require.Len(t, new, len(old))
		return sealed(bytes.Replace(body, []byte(old), []byte(new), 1))
	}
	for name, c := range map[string]struct {
		snapshot []byte
		kind     error
	}{
		"nothing":                {nil, pool.ErrCorrupt},
		"something else":         {bytes.Repeat([]byte("else "), 20_000), pool.ErrCorrupt},
		"a newer version":        {sealed(bytes.Replace(body, []byte("snapshot 1\n"), []byte("snapshot 3\n"), 1)), pool.ErrUnknownKind},
		"a field of a newer one": {replace(`"epoch"`, `"epuch"`), pool.ErrCorrupt},
		"something behind":       {append(bytes.Clone(good), 0), pool.ErrCorrupt},
		"a used host":            {replace(`"cpu":2000,"memory":1073741824,"storage.ssd":10737418240},"device_used"`, `"cpu":2001,"memory":1073741824,"storage.ssd":10737418240},"device_used"`), pool.ErrCorrupt},
		"a device":               {replace(`"device_used":{"nvme0":10737418240}`, `"device_used":{"nvme0":10737418241}`), pool.ErrCorrupt},
		"the number on a host":   {replace(`"placed":1`, `"placed":2`), pool.ErrCorrupt},
		"members of a project":   {replace(`"members":1`, `"members":0`), pool.ErrCorrupt},
		"a project's use":        {replace(`"instances":1`, `"instances":2`), pool.ErrCorrupt},
		"a total":                {replace(`"total":32000`, `"total":32001`), pool.ErrCorrupt},
		"a place elsewhere":      {replace(`"number":0,"host":"d/h00"`, `"number":0,"host":"d/h01"`), pool.ErrCorrupt},
		"a place nowhere":        {replace(`"number":0,"host":"d/h00"`, `"number":0,"host":"d/h99"`), pool.ErrCorrupt},
		"a record twice":         {sealed(bytes.Replace(body, flavor, append(flavor, flavor...), 1)), pool.ErrCorrupt},
		"a tombstone twice":      {behind(tombstone...), pool.ErrCorrupt},
		"one of the living":      {behind(of(high, low, alive[24])...), pool.ErrCorrupt},
		"no id":                  {behind(of(high, 1<<63, 'x')...), pool.ErrCorrupt},
		"no id either":           {behind(of(high, low, 'X')...), pool.ErrCorrupt},
		"half a tombstone":       {behind('E', 3, 0, 0, 0), pool.ErrCorrupt},
		"an unknown frame":       {sealed(append(bytes.Clone(body[:len(body)-2]), 'Z', 0)), pool.ErrCorrupt},
		"no end":                 {sealed(body[:len(body)-2]), pool.ErrCorrupt},
		"frames out of order":    {sealed(append(bytes.Clone(body[:len(body)-2]), 'S', 2, '{', '}', '.', 0)), pool.ErrCorrupt},
		"a claim of 60 MiB":      {sealed(append(bytes.Clone(body[:len(body)-2]), 'E', 0x80, 0x80, 0x80, 0x1e)), pool.ErrCorrupt},
		"a claim of too much":    {sealed(append(bytes.Clone(body[:len(body)-2]), 'E', 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f)), pool.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := pool.ReadSnapshot(bytes.NewReader(c.snapshot))
			require.ErrorIs(t, err, c.kind)
			var e *pool.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, c.kind, e.Kind)
			require.Contains(t, e.Error(), map[string]string{ // which of several checks has found it
				"a used host": `host "d/h00" corrupt: used: cpu 2 cores`, "a project's use": "project", "a total": "totals", "something behind": "nothing after",
				"a claim of too much": "256 MiB", "a claim of 60 MiB": "cut short", "members of a project": "project",
				"a record twice": "ascend", "a tombstone twice": "once", "one of the living": "not ended", "no id": "once", "no id either": "once", "half a tombstone": "whole ones",
			}[name])
		})
	}
	for at := range good { // every bit flip and every cut is found
		bad := bytes.Clone(good)
		bad[at] ^= 1 << (at % 8)
		_, err := pool.ReadSnapshot(bytes.NewReader(bad))
		require.True(t, errors.Is(err, pool.ErrCorrupt) || errors.Is(err, pool.ErrUnknownKind), "byte %d: %v", at, err)
		_, err = pool.ReadSnapshot(bytes.NewReader(good[:at]))
		require.ErrorIs(t, err, pool.ErrCorrupt)
	}
	_, err = pool.ReadSnapshot(io.MultiReader(bytes.NewReader(good[:len(good)/2]), broken{}))
	require.ErrorIs(t, err, pool.ErrUnavailable)
	_, err = s.Snapshot().WriteTo(broken{})
	require.ErrorIs(t, err, errBroken)
}

var errBroken = errors.New("the disk is full")

// broken neither reads nor writes.
type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, errBroken }
func (broken) Write([]byte) (int, error) { return 0, errBroken }

var update = flag.Bool("update", false, "write the golden files of this version")

// goldenState has every kind of record, some of them with every field.
func goldenState(t testing.TB) *pool.State {
	c := &chance{Rand: rand.New(rand.NewPCG(7, 4)), tape: tape{t: t}}
	c.s = pool.NewState()
	for range 400 {
		c.revision++
		e := c.event()
		_ = c.s.Apply(&e)
	}
	return c.s
}

// Snapshots of every version are read by all later ones.
func TestGoldenSnapshot(t *testing.T) {
	t.Parallel()
	name := filepath.Join("testdata", "snapshot1.golden")
	if *update {
		require.NoError(t, os.WriteFile(name, snapshot(t, goldenState(t)), 0o644))
	}
	golden, err := os.ReadFile(name)
	require.NoError(t, err)
	s := restored(t, golden)
	checkBooks(t, s, true)
	require.Equal(t, golden, snapshot(t, s), "what is read is written the same")
	require.NotZero(t, s.HostCount())
	require.NotZero(t, s.InstanceCount())
	for name, n := range map[string]int{
		"held": count(s.Held()), "clusters": count(s.Clusters()), "images": count(s.Images()), "flavors": count(s.Flavors()), "projects": count(s.Projects()),
	} {
		require.NotZero(t, n, name)
	}
	tombstones := 0
	for _, id := range everyInstance {
		if _, ok := s.Ended(id); ok {
			tombstones++
		}
	}
	require.NotZero(t, tombstones)
}

func count[T any](seq func(func(T) bool)) (n int) {
	for range seq {
		n++
	}
	return n
}

// FuzzSnapshot: whatever bytes a store returns, and even if their checksum is right, reading them does not
// panic, errors are typed, and what is accepted is sound and is written and read the same.
func FuzzSnapshot(f *testing.F) {
	_, s, _ := setUp(f)
	for _, s := range []*pool.State{pool.NewState(), s, goldenState(f)} {
		b := snapshot(f, s)
		f.Add(b[:len(b)-sha256.Size])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := pool.ReadSnapshot(bytes.NewReader(sealed(body)))
		if err != nil {
			require.True(t, errors.Is(err, pool.ErrCorrupt) || errors.Is(err, pool.ErrUnknownKind), err)
			return
		}
		b := snapshot(t, s)
		again := restored(t, b)
		require.Equal(t, portrait(s, true), portrait(again, true))
		require.Equal(t, string(b), string(snapshot(t, again)))
		p := tape{t: t, revision: s.Head()}
		for _, id := range everyInstance[:4] {
			for _, e := range []pool.Event{
				p.next(pool.KindDeleted, &pool.Ended{Instance: id, Hold: true}), p.next(pool.KindMoved, &pool.Moved{Machine: id.Machine(0), Host: "d/h01"}),
			} {
				_ = s.Apply(&e)
			}
		}
	})
}
