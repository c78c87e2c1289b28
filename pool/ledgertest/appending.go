package ledgertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

func appendCases() []Case[Store] {
	return []Case[Store]{
		{"empty", "A new store is a ledger at revision 0: nothing to read, no checkpoint, no archive.", empty},
		{"dense revisions", "Append stores a batch as revision prev+1 and returns that; revisions are dense from 1.", dense},
		{"conflict", "An Append whose prev is not the head is ErrConflict and stores nothing.", conflict},
		{"same batch again", "A batch that is stored at prev+1 already, all event ids alike, is success and stays as it was stored.", again},
		{"same batch again, newer ones follow", "Appending a stored batch again succeeds also when it is no longer the head.", againBelowHead},
		{"same batch again, archived", "Appending a stored batch again succeeds also when it has moved to the archive.", againArchived},
		{"another batch won", "Appending at a revision where another batch stands is ErrConflict, however much the two share.", anotherWon},
		{"bounds", "What CheckBatch refuses is ErrInvalid and stores nothing; the largest batch that it allows is stored.", bounds},
	}
}

func empty(ctx context.Context, s Store) error {
	if err := holds(ctx, s.Ledger, 0, nil); err != nil {
		return err
	}
	archived, err := collect(s.Ledger.Archive(ctx, 0), 0)
	if err != nil || len(archived) > 0 {
		return fmt.Errorf("the archive yields %d batches, error %w", len(archived), orNone(err))
	}
	rev, snapshot, err := s.Ledger.Checkpoint(ctx)
	if err != nil || rev != 0 || snapshot != nil {
		return fmt.Errorf("the checkpoint is %d with %d bytes (nil: %t), error %w", rev, len(snapshot), snapshot == nil, orNone(err))
	}
	return nil
}

func dense(ctx context.Context, s Store) error {
	var want []pool.Batch
	for i := range 20 {
		b := events("b"+strconv.Itoa(i), 1+i%5)
		if err := appended(ctx, s.Ledger, pool.Revision(i), b); err != nil {
			return err
		}
		want = append(want, expected(pool.Revision(i), b))
		if err := holds(ctx, s.Ledger, pool.Revision(i), want[i:]); err != nil {
			return err
		}
	}
	return holds(ctx, s.Ledger, 0, want)
}

func conflict(ctx context.Context, s Store) error {
	for _, prev := range []pool.Revision{1, 7, math.MaxInt64 - 1} {
		if _, err := s.Ledger.Append(ctx, prev, event("early")); is(err, pool.ErrConflict) != nil {
			return fmt.Errorf("append at prev %d on an empty ledger: %w", prev, is(err, pool.ErrConflict))
		}
	}
	want, err := write(ctx, s.Ledger, 0, "b", 3)
	if err != nil {
		return err
	}
	for _, prev := range []pool.Revision{0, 1, 2, 4, 5} {
		if _, err := s.Ledger.Append(ctx, prev, event("other")); is(err, pool.ErrConflict) != nil {
			return fmt.Errorf("append at prev %d where the head is 3: %w", prev, is(err, pool.ErrConflict))
		}
	}
	return holds(ctx, s.Ledger, 0, want)
}

func again(ctx context.Context, s Store) error {
	b := events("b", 3)
	for range 3 {
		if err := appended(ctx, s.Ledger, 0, b); err != nil {
			return err
		}
	}
	other := slices.Clone(b)
	other[1].Data = json.RawMessage(`"decided again, with other data"`)
	if err := appended(ctx, s.Ledger, 0, other); err != nil {
		return fmt.Errorf("the same ids with other data: %w", err)
	}
	return holds(ctx, s.Ledger, 0, []pool.Batch{expected(0, b)})
}

func againBelowHead(ctx context.Context, s Store) error {
	want, err := write(ctx, s.Ledger, 0, "b", 5)
	if err != nil {
		return err
	}
	for _, b := range want {
		if err := appended(ctx, s.Ledger, b.Revision-1, b.Events); err != nil {
			return err
		}
	}
	return holds(ctx, s.Ledger, 0, want)
}

func againArchived(ctx context.Context, s Store) error {
	want, err := write(ctx, s.Ledger, 0, "b", 5)
	if err != nil {
		return err
	}
	if err := s.Ledger.Compact(ctx, 4, []byte("snapshot")); err != nil {
		return err
	}
	for _, b := range want {
		if err := appended(ctx, s.Ledger, b.Revision-1, b.Events); err != nil {
			return err
		}
	}
	if _, err := s.Ledger.Append(ctx, 1, event("other")); is(err, pool.ErrConflict) != nil {
		return fmt.Errorf("another batch at an archived revision: %w", is(err, pool.ErrConflict))
	}
	return holds(ctx, s.Ledger, 4, want[4:])
}

func anotherWon(ctx context.Context, s Store) error {
	b := events("b", 3)
	if err := appended(ctx, s.Ledger, 0, b); err != nil {
		return err
	}
	swapped := []pool.Event{b[0], b[2], b[1]}
	for name, other := range map[string][]pool.Event{
		"other ids":            events("c", 3),
		"fewer events":         b[:2],
		"one event more":       append(slices.Clone(b), event("d")),
		"the last id differs":  {b[0], b[1], event("d")},
		"the first id differs": {event("d"), b[1], b[2]},
		"another order":        swapped,
	} {
		if _, err := s.Ledger.Append(ctx, 0, other...); is(err, pool.ErrConflict) != nil {
			return fmt.Errorf("%s: %w", name, is(err, pool.ErrConflict))
		}
	}
	return holds(ctx, s.Ledger, 0, []pool.Batch{expected(0, b)})
}

func bounds(ctx context.Context, s Store) error {
	with := func(change func(*pool.Event)) []pool.Event {
		e := secret("bad", "someone", "something")
		change(&e)
		return []pool.Event{e}
	}
	for name, bad := range map[string][]pool.Event{
		"an empty batch":            {},
		"more than 1 MiB":           with(func(e *pool.Event) { e.Data = make([]byte, pool.MaxBatch) }),
		"an event without an id":    with(func(e *pool.Event) { e.ID = "" }),
		"an id twice":               append(events("b", 2), events("b", 1)...),
		"an event without a kind":   with(func(e *pool.Event) { e.Kind = "" }),
		"version 0":                 with(func(e *pool.Event) { e.Version = 0 }),
		"Private without a subject": with(func(e *pool.Event) { e.Subject = "" }),
		"Private that is unsealed":  with(func(e *pool.Event) { e.PrivateHash = nil }),
		"a subject of 256 bytes":    with(func(e *pool.Event) { e.Subject = strings.Repeat("s", pool.MaxSubject+1) }),
		"an actor that is no UTF-8": with(func(e *pool.Event) { e.Actor = "\xff" }),
		"the last of three is bad":  append(events("b", 2), with(func(e *pool.Event) { e.Version = -1 })...),
	} {
		if _, err := s.Ledger.Append(ctx, 0, bad...); is(err, pool.ErrInvalid) != nil {
			return fmt.Errorf("%s: %w", name, is(err, pool.ErrInvalid))
		}
	}
	if _, err := s.Ledger.Append(ctx, -1, event("b")); is(err, pool.ErrInvalid) != nil {
		return fmt.Errorf("a negative prev: %w", is(err, pool.ErrInvalid))
	}
	if err := holds(ctx, s.Ledger, 0, nil); err != nil {
		return err
	}
	large := event("large")
	large.Data = bytes.Repeat([]byte("0123456789abcdef"), pool.MaxBatch/16)
	many := events("many", 3000)
	longest := secret("longest", strings.Repeat("s", pool.MaxSubject), strings.Repeat("p", pool.MaxBatch/2))
	longest.ID, longest.Actor, longest.Cause, longest.Kind = strings.Repeat("i", 64), strings.Repeat("a", 255), strings.Repeat("c", 255), strings.Repeat("k", 64)
	var want []pool.Batch
	for i, b := range [][]pool.Event{{large}, many, {longest}} {
		if err := appended(ctx, s.Ledger, pool.Revision(i), b); err != nil {
			return err
		}
		want = append(want, expected(pool.Revision(i), b))
	}
	return holds(ctx, s.Ledger, 0, want)
}

func byteCases() []Case[Store] {
	return []Case[Store]{
		{"bytes", "Every field of an event comes back byte for byte, whatever is in it.", byteExact},
		{"bytes are copied", "A ledger keeps bytes of its own: neither the caller's later writes to what it appended nor writes to what it read change them.", copied},
	}
}

func byteExact(ctx context.Context, s Store) error {
	at := time.Date(2026, 11, 20, 12, 0, 0, 123456789, time.FixedZone("", 3600))
	var batch []pool.Event
	add := func(change func(*pool.Event)) {
		e := event("e" + strconv.Itoa(len(batch)))
		change(&e)
		batch = append(batch, e)
	}
	for _, text := range []string{
		"", " ", " a ", "a  b", "A", "a", "é", "e\u0301", "ﬁ", "\u202eabc", "\u200b", "\ufeff", "\ufffd", "\ufffe", "\U0010ffff", "\U0001f6a2",
		"'", "\"", "\\", "\\0", "%", "_", "?", "$1", ":a", "--", "\t", "\n", "\r\n", "\x01", "\x7f", "null", "0", "1e3", "I\u0307", "ß", "Σς", "\u0130",
	} {
		add(func(e *pool.Event) { e.Actor, e.Cause = text, text })
		if text != "" {
			add(func(e *pool.Event) { e.ID, e.Kind, e.Subject = "id"+text, text, text })
		}
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, data := range []string{
		"", "null", "{}", " { } ", "{\"b\":1,\n\t\"a\":1,\"a\":2}", `{"a":1.0,"b":1e400,"c":12345678901234567890,"d":-0}`, `"<>& \u003c\u2028"`, `"\ud800"`, "not json",
		"trailing \x00", "\x00", string(all), "'; --",
	} {
		add(func(e *pool.Event) { e.Data = json.RawMessage(data) })
		add(func(e *pool.Event) {
			e.Subject, e.Private, e.Salt = "s", []byte(data), []byte("\x00\xff'\\")
			e.Seal()
		})
	}
	add(func(e *pool.Event) { e.Data = nil })
	add(func(e *pool.Event) { e.Subject, e.Private = "no salt", []byte("p"); e.Seal() })
	add(func(e *pool.Event) { e.Subject, e.PrivateHash = "forgotten", all[:32] })
	for _, n := range []int64{math.MinInt64, math.MinInt32 - 1, -1, 1, math.MaxInt32 + 1, 1<<53 + 1, math.MaxInt64} {
		add(func(e *pool.Event) { e.Epoch = n })
	}
	add(func(e *pool.Event) { e.Version = math.MaxInt32 })
	for _, tm := range []time.Time{
		at, {}, at.Round(0), time.Unix(0, 0), time.Unix(-1, 999_999_999), time.Unix(0, 999), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(1969, 12, 31, 23, 59, 59, 1000, time.UTC), time.Date(2026, 3, 29, 2, 30, 0, 1000, time.UTC), time.Now(),
	} {
		add(func(e *pool.Event) { e.Time = tm })
	}
	var want []pool.Batch
	for i, b := range [][]pool.Event{batch, {secret("one", "s", "alone")}} {
		if err := appended(ctx, s.Ledger, pool.Revision(i), b); err != nil {
			return err
		}
		want = append(want, expected(pool.Revision(i), b))
	}
	if err := holds(ctx, s.Ledger, 0, want); err != nil {
		return err
	}
	if err := s.Ledger.Compact(ctx, 2, all); err != nil {
		return err
	}
	got, err := collect(s.Ledger.Archive(ctx, 0), 0)
	if err != nil {
		return err
	}
	if err := same(want, got); err != nil {
		return fmt.Errorf("in the archive: %w", err)
	}
	return nil
}

func copied(ctx context.Context, s Store) error {
	b := []pool.Event{secret("a", "s", "private")}
	want := []pool.Batch{expected(0, []pool.Event{secret("a", "s", "private")})}
	if err := appended(ctx, s.Ledger, 0, b); err != nil {
		return err
	}
	if b[0].Revision != 0 || b[0].Index != 0 {
		return errors.New("Append wrote to the caller's events")
	}
	spoil := func(e pool.Event) {
		for _, bytes := range [][]byte{e.Data, e.Private, e.Salt, e.PrivateHash} {
			for i := range bytes {
				bytes[i] = 'x'
			}
		}
	}
	spoil(b[0])
	if err := holds(ctx, s.Ledger, 0, want); err != nil {
		return fmt.Errorf("after the caller wrote to what it had appended: %w", err)
	}
	read, err := collect(s.Ledger.Read(ctx, 0), 0)
	if err != nil {
		return err
	}
	spoil(read[0].Events[0])
	read[0].Events[0].ID = "x"
	if err := holds(ctx, s.Ledger, 0, want); err != nil {
		return fmt.Errorf("after a reader wrote to what it had read: %w", err)
	}
	snapshot := []byte("snapshot")
	if err := s.Ledger.Compact(ctx, 1, snapshot); err != nil {
		return err
	}
	for range 2 {
		snapshot[0] = 'x'
		var rev pool.Revision
		if rev, snapshot, err = s.Ledger.Checkpoint(ctx); err != nil || rev != 1 || string(snapshot) != "snapshot" {
			return fmt.Errorf("the checkpoint is %d, %q, error %w", rev, snapshot, orNone(err))
		}
	}
	return nil
}
