package pool_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/stretchr/testify/require"
)

func sampleEvent() pool.Event {
	e := pool.Event{
		ID: "01JD", Revision: 7, Index: 2, Time: time.Date(2026, 11, 20, 17, 0, 0, 123456000, time.UTC),
		Actor: "ada", Cause: "token-1", Epoch: 3, Kind: pool.KindWanted, Version: 1,
		Data:    json.RawMessage(`{"instance":"i1","want":"running"}`),
		Subject: "i1", Private: []byte("192.0.2.7"), Salt: bytes.Repeat([]byte{9}, 16),
	}
	e.Seal()
	return e
}

// TestLeafGolden holds the leaf hash for good: ledgers written by any release must verify in all later ones.
func TestLeafGolden(t *testing.T) {
	t.Parallel()
	e := sampleEvent()
	leaf := e.Leaf()
	require.Equal(t, "51c9744720bf5b97298c6a8601afb74bd83767e51b9acfa9463b73f5ec200764", hex.EncodeToString(leaf[:]))

	forgotten := e
	forgotten.Private, forgotten.Salt = nil, nil
	require.Equal(t, leaf, forgotten.Leaf(), "forgetting breaks no proof")
}

// TestLeafCoversEveryField changes one field at a time; only Private and Salt may leave the leaf as it was.
func TestLeafCoversEveryField(t *testing.T) {
	t.Parallel()
	base := sampleEvent()
	seen := map[[32]byte]string{base.Leaf(): "nothing"}
	for name, change := range map[string]func(*pool.Event){
		"id":           func(e *pool.Event) { e.ID += "x" },
		"revision":     func(e *pool.Event) { e.Revision++ },
		"index":        func(e *pool.Event) { e.Index++ },
		"time":         func(e *pool.Event) { e.Time = e.Time.Add(time.Microsecond) },
		"actor":        func(e *pool.Event) { e.Actor += "x" },
		"cause":        func(e *pool.Event) { e.Cause += "x" },
		"epoch":        func(e *pool.Event) { e.Epoch++ },
		"kind":         func(e *pool.Event) { e.Kind += "x" },
		"version":      func(e *pool.Event) { e.Version++ },
		"data":         func(e *pool.Event) { e.Data = append(bytes.Clone(e.Data), ' ') },
		"subject":      func(e *pool.Event) { e.Subject += "x" },
		"private hash": func(e *pool.Event) { e.PrivateHash = make([]byte, 32) },
		"moved border": func(e *pool.Event) { e.Actor, e.Cause = e.Actor+e.Cause[:1], e.Cause[1:] },
	} {
		e := sampleEvent()
		change(&e)
		other, dup := seen[e.Leaf()]
		require.Falsef(t, dup, "a change of %s gives the leaf of a change of %s", name, other)
		seen[e.Leaf()] = name
	}
}

func TestCheckBatch(t *testing.T) {
	t.Parallel()
	with := func(change func(*pool.Event)) []pool.Event {
		e := sampleEvent()
		change(&e)
		return []pool.Event{e}
	}
	long := strings.Repeat("x", 256)
	for name, c := range map[string]struct {
		prev  pool.Revision
		batch []pool.Event
		field string // of the error; empty: the batch is good
	}{
		"good":                      {batch: with(func(*pool.Event) {})},
		"no private part":           {batch: with(func(e *pool.Event) { e.Private, e.Salt, e.PrivateHash, e.Subject = nil, nil, nil, "" })},
		"forgotten private part":    {batch: with(func(e *pool.Event) { e.Private, e.Salt = nil, nil })},
		"empty private part":        {batch: with(func(e *pool.Event) { e.Private = []byte{}; e.Seal() })},
		"largest":                   {batch: with(func(e *pool.Event) { e.Data = make([]byte, pool.MaxBatch-len(e.Private)) })},
		"zero time":                 {batch: with(func(e *pool.Event) { e.Time = time.Time{} })},
		"strange text":              {batch: with(func(e *pool.Event) { e.Actor = "\u202e\U0001f6a2 e\u0301\ufffd\r\n\x01" })},
		"no event":                  {field: "batch"},
		"negative prev":             {prev: -1, batch: with(func(*pool.Event) {}), field: "prev"},
		"prev without a successor":  {prev: math.MaxInt64, batch: with(func(*pool.Event) {}), field: "prev"},
		"too large":                 {batch: with(func(e *pool.Event) { e.Data = make([]byte, pool.MaxBatch) }), field: "batch"},
		"no id":                     {batch: with(func(e *pool.Event) { e.ID = "" }), field: "id"},
		"long id":                   {batch: with(func(e *pool.Event) { e.ID = long }), field: "id"},
		"id twice":                  {batch: append(with(func(*pool.Event) {}), sampleEvent()), field: "id"},
		"no kind":                   {batch: with(func(e *pool.Event) { e.Kind = "" }), field: "kind"},
		"long kind":                 {batch: with(func(e *pool.Event) { e.Kind = long }), field: "kind"},
		"no version":                {batch: with(func(e *pool.Event) { e.Version = 0 }), field: "kind"},
		"private without subject":   {batch: with(func(e *pool.Event) { e.Subject = "" }), field: "private"},
		"private not sealed":        {batch: with(func(e *pool.Event) { e.PrivateHash = nil }), field: "private"},
		"long subject":              {batch: with(func(e *pool.Event) { e.Subject = long }), field: "subject"},
		"long actor":                {batch: with(func(e *pool.Event) { e.Actor = long }), field: "actor"},
		"long cause":                {batch: with(func(e *pool.Event) { e.Cause = long }), field: "actor"},
		"salt without private":      {batch: with(func(e *pool.Event) { e.Private = nil }), field: "salt"},
		"long salt":                 {batch: with(func(e *pool.Event) { e.Salt = make([]byte, 65) }), field: "salt"},
		"short private hash":        {batch: with(func(e *pool.Event) { e.Private, e.Salt, e.PrivateHash = nil, nil, []byte{1} }), field: "private hash"},
		"time beyond year 9999":     {batch: with(func(e *pool.Event) { e.Time = time.Unix(1<<60, 0) }), field: "time"},
		"time before year 1":        {batch: with(func(e *pool.Event) { e.Time = time.Time{}.Add(-time.Hour) }), field: "time"},
		"actor that is no UTF-8":    {batch: with(func(e *pool.Event) { e.Actor = "a\xff" }), field: "event"},
		"cause with a NUL":          {batch: with(func(e *pool.Event) { e.Cause = "a\x00b" }), field: "event"},
		"subject that is no UTF-8":  {batch: with(func(e *pool.Event) { e.Subject = "\xc3" }), field: "event"},
		"one bad event among three": {batch: append(with(func(e *pool.Event) { e.ID = "a" }), append(with(func(e *pool.Event) { e.ID = "b"; e.Kind = "" }), sampleEvent())...), field: "kind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, err := json.Marshal(pool.Batch{Events: dataless(c.batch)})
			require.NoError(t, err)
			got, err := pool.CheckBatch(c.prev, c.batch)
			after, merr := json.Marshal(pool.Batch{Events: dataless(c.batch)})
			require.NoError(t, merr)
			require.Equal(t, string(before), string(after), "the given events are not changed")
			if c.field == "" {
				require.NoError(t, err)
				for i, e := range got {
					require.Equal(t, c.prev+1, e.Revision)
					require.Equal(t, i, e.Index)
				}
				return
			}
			var pe *pool.Error
			require.ErrorAs(t, err, &pe)
			require.ErrorIs(t, err, pool.ErrInvalid)
			require.Equal(t, c.field, pe.Field)
			require.Less(t, len(err.Error()), 500, "the message is bounded")
		})
	}
}

// dataless returns the events without what JSON cannot show.
func dataless(events []pool.Event) []pool.Event {
	out := make([]pool.Event, len(events))
	for i, e := range events {
		e.Data = nil
		if e.Time.Year() > 9999 || e.Time.Year() < 0 {
			e.Time = time.Time{}
		}
		out[i] = e
	}
	return out
}

func TestCheckBatchTime(t *testing.T) {
	t.Parallel()
	e := sampleEvent()
	e.Time = time.Date(2026, 11, 20, 18, 0, 0, 123456789, time.FixedZone("", 3600))
	got, err := pool.CheckBatch(0, []pool.Event{e})
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 11, 20, 17, 0, 0, 123456000, time.UTC), got[0].Time)
}

func TestCheckKey(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"a", strings.Repeat("x", pool.MaxKey), "ключ/ 1"} {
		require.NoError(t, pool.CheckPut(key, nil, 1))
	}
	for _, key := range []string{"", strings.Repeat("x", pool.MaxKey+1), "a\x00", "\xff"} {
		require.ErrorIs(t, pool.CheckKey(key), pool.ErrInvalid)
	}
	require.ErrorIs(t, pool.CheckPut("k", nil, 0), pool.ErrInvalid)
	require.ErrorIs(t, pool.CheckPut("k", nil, -1), pool.ErrInvalid)
	require.ErrorIs(t, pool.CheckPut("k", make([]byte, pool.MaxValue+1), 1), pool.ErrInvalid)
}

// payloads has one of every kind.
func payloads() map[string]any {
	const id = pool.InstanceID("i0123456789abcdefghjkmnpq")
	place := pool.Placement{Number: 1, Host: "fake/h1", Allocation: pool.Allocation{Resources: pool.Resources{"cpu": 1000}}}
	return map[string]any{
		pool.KindOpened:         &pool.Opened{Ledger: "L1"},
		pool.KindImported:       &pool.Imported{Ledger: "L2", From: "L1"},
		pool.KindConfirmed:      &pool.Confirmed{Ledger: "L2"},
		pool.KindTakenOver:      &pool.TakenOver{Holder: "daemon-1"},
		pool.KindHostPut:        &pool.HostPut{Host: pool.Host{ID: "fake/h1"}},
		pool.KindHostConditions: &pool.HostConditions{Host: "fake/h1", Reason: "operator"},
		pool.KindHostRemoved:    &pool.HostRemoved{Host: "fake/h1"},
		pool.KindImagePut:       &pool.Image{Name: "debian-12", User: "debian"},
		pool.KindImageRemoved:   &pool.Named{Name: "debian-12"},
		pool.KindFlavorPut:      &pool.Flavor{Name: "small", Resources: pool.Resources{"cpu": 1000}},
		pool.KindFlavorRemoved:  &pool.Named{Name: "small"},
		pool.KindProjectPut: &pool.Project{Name: "p", Parent: "org", Quota: pool.Resources{"cpu": 1000}, PerUser: pool.Resources{"cpu": 10},
			Users: map[string]pool.Resources{"u-1": {"cpu": 0}}},
		pool.KindProjectRemoved: &pool.Named{Name: "p"},
		pool.KindLaunched: &pool.Launched{Instance: id, Name: "web-1", Owner: "u-1", Want: pool.Running, Place: place,
			Spec: pool.Spec{Guest: pool.Guest{User: "ada", SSHKeys: []string{"ssh-ed25519 AAAA"}}}},
		pool.KindCommitted:    &pool.Of{Instance: id},
		pool.KindReplacing:    &pool.Of{Instance: id},
		pool.KindLapsed:       &pool.Lapsed{Instance: id, Released: true},
		pool.KindWanted:       &pool.Wanted{Instance: id, Want: pool.Stopped},
		pool.KindRebootWanted: &pool.RebootWanted{Instance: id, Token: "t"},
		pool.KindRebooted:     &pool.OfMachine{Machine: id.Machine(0)},
		pool.KindSent:         &pool.OfMachine{Machine: id.Machine(0)},
		pool.KindCreated:      &pool.OfMachine{Machine: id.Machine(0)},
		pool.KindSettled:      &pool.OfMachine{Machine: id.Machine(0)},
		pool.KindRefused:      &pool.Refused{Machine: id.Machine(0), Reason: "no disk", Doubt: true},
		pool.KindObserved:     &pool.Observed{Machine: id.Machine(0), Is: pool.Running, Addresses: []string{"192.0.2.7"}},
		pool.KindPlaced:       &pool.Placed{Instance: id, Place: place, Hold: true},
		pool.KindFailed:       &pool.Ended{Instance: id, Reason: "no host"},
		pool.KindDeleted:      &pool.Ended{Instance: id},
		pool.KindReleased:     &pool.OfMachine{Machine: id.Machine(0)},
		pool.KindForgotten:    &pool.Forgotten{Subject: string(id)},
	}
}

// TestPayloadRoundTrip: what NewEvent made is the same after a store had only its bytes.
func TestPayloadRoundTrip(t *testing.T) {
	t.Parallel()
	for kind, p := range payloads() {
		e, err := pool.NewEvent(kind, p)
		require.NoError(t, err, kind)
		want, err := e.Payload()
		require.NoError(t, err, kind)
		back := stored(t, e)
		got, err := back.Payload()
		require.NoError(t, err, kind)
		require.Equal(t, want, got, kind)

		back.Version = 2
		_, err = back.Payload()
		require.ErrorIs(t, err, pool.ErrUnknownKind, kind)
	}
	_, err := (&pool.Event{Kind: "alert.fired", Version: 1}).Payload()
	require.ErrorIs(t, err, pool.ErrUnknownKind)
	for _, data := range []string{``, `{`, `{"ledger":1}`, `{"ledger":"L","newer":1}`, `{"ledger":"L"}{"ledger":"M"}`, `{"ledger":"L"}]`} {
		_, err := (&pool.Event{Kind: pool.KindOpened, Version: 1, Data: []byte(data)}).Payload()
		require.ErrorIs(t, err, pool.ErrInvalid, data)
	}
}

// FuzzEventPayload feeds any bytes to the decoder of every kind: it never panics, its errors are typed, and
// what it accepts survives being written and read again.
func FuzzEventPayload(f *testing.F) {
	for kind, p := range payloads() {
		e, err := pool.NewEvent(kind, p)
		require.NoError(f, err)
		f.Add(kind, []byte(e.Data), e.Private)
	}
	f.Add(pool.KindLaunched, []byte(`{"spec":{"resources":{"cpu":-9223372036854775808}},"place":null}`), []byte(`null`))
	f.Add(pool.KindLaunched, []byte(`{"until":"2026-11-28T21:00:00+23:59","waits":true}`), []byte(nil))
	f.Add(pool.KindHostPut, []byte(`{"host":{"conditions":["ready","ready"]}}`), []byte(nil))
	f.Add("x", []byte("{"), []byte(nil))
	f.Fuzz(func(t *testing.T, kind string, data, private []byte) {
		e := pool.Event{Kind: kind, Version: 1, Data: data, Private: private}
		p, err := e.Payload()
		if err != nil {
			var pe *pool.Error
			require.ErrorAs(t, err, &pe)
			return
		}
		if l, ok := p.(*pool.Launched); ok {
			l.Spec.Guest, l.Guest = l.Guest, pool.Guest{} // NewEvent takes it from there
		}
		again, err := pool.NewEvent(kind, p)
		require.NoError(t, err)
		want, err := again.Payload()
		require.NoError(t, err)
		again = pool.Event{Kind: kind, Version: 1, Data: again.Data, Private: again.Private}
		got, err := again.Payload()
		require.NoError(t, err)
		first, err := json.Marshal(want)
		require.NoError(t, err)
		second, err := json.Marshal(got)
		require.NoError(t, err)
		require.Equal(t, string(first), string(second))
	})
}
