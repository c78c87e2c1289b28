package ledgertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
)

// event returns a plain event with that id.
func event(id string) pool.Event {
	return pool.Event{
		ID: id, Time: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Actor: "ledgertest", Kind: "test.happened", Version: 1,
		Data: json.RawMessage(`{"id":` + strconv.Quote(id) + `}`),
	}
}

// secret returns an event with a private part.
func secret(id, subject, private string) pool.Event {
	e := event(id)
	e.Subject, e.Private, e.Salt = subject, []byte(private), []byte("salt of "+id+" 0123456789")
	e.Seal()
	return e
}

// events returns a batch of n events whose ids start with name.
func events(name string, n int) []pool.Event {
	batch := make([]pool.Event, n)
	for i := range batch {
		batch[i] = event(name + "." + strconv.Itoa(i))
	}
	return batch
}

// write appends n batches of one event each and returns them as they must be read.
func write(ctx context.Context, l pool.Ledger, prev pool.Revision, name string, n int) ([]pool.Batch, error) {
	var want []pool.Batch
	for i := range n {
		b := events(name+strconv.Itoa(i), 1)
		if err := appended(ctx, l, prev, b); err != nil {
			return nil, err
		}
		want = append(want, expected(prev, b))
		prev++
	}
	return want, nil
}

// appended appends and reports anything but the success that must come.
func appended(ctx context.Context, l pool.Ledger, prev pool.Revision, batch []pool.Event) error {
	rev, err := l.Append(ctx, prev, batch...)
	if err != nil {
		return fmt.Errorf("append of batch %s at prev %d: %w", batch[0].ID, prev, err)
	}
	if rev != prev+1 {
		return fmt.Errorf("append of batch %s at prev %d returned revision %d", batch[0].ID, prev, rev)
	}
	return nil
}

// expected returns the batch as a reader must see it.
func expected(prev pool.Revision, batch []pool.Event) pool.Batch {
	stored, err := pool.CheckBatch(prev, batch)
	if err != nil {
		panic(err) // a fault of the suite
	}
	return pool.Batch{Revision: prev + 1, Events: stored}
}

// collect returns what seq yields and checks that it starts after the given revision, has no gap and no
// batch in part.
func collect(seq iter.Seq2[pool.Batch, error], after pool.Revision) ([]pool.Batch, error) {
	var all []pool.Batch
	for b, err := range seq {
		if err != nil {
			return all, err
		}
		after++
		if err := whole(b, after); err != nil {
			return all, err
		}
		all = append(all, b)
	}
	return all, nil
}

// whole checks the numbers in a batch that must be revision want.
func whole(b pool.Batch, want pool.Revision) error {
	if b.Revision != want {
		return fmt.Errorf("revision %d came where %d must come", b.Revision, want)
	}
	if len(b.Events) == 0 {
		return fmt.Errorf("revision %d came without events", want)
	}
	for i, e := range b.Events {
		if e.Revision != want || e.Index != i {
			return fmt.Errorf("event %d of revision %d says that it is event %d of revision %d", i, want, e.Index, e.Revision)
		}
	}
	return nil
}

// holds reports how what Read returns after a revision differs from want.
func holds(ctx context.Context, l pool.Ledger, after pool.Revision, want []pool.Batch) error {
	got, err := collect(l.Read(ctx, after), after)
	if err != nil {
		return fmt.Errorf("read after %d: %w", after, err)
	}
	return same(want, got)
}

// same reports the first difference between two lists of batches.
func same(want, got []pool.Batch) error {
	for i := range min(len(want), len(got)) {
		w, g := want[i], got[i]
		if w.Revision != g.Revision || len(w.Events) != len(g.Events) {
			return fmt.Errorf("read revision %d with %d events where revision %d with %d was appended", g.Revision, len(g.Events), w.Revision, len(w.Events))
		}
		for j := range w.Events {
			if err := differ(w.Events[j], g.Events[j]); err != nil {
				return fmt.Errorf("event %d of revision %d: %w", j, w.Revision, err)
			}
		}
	}
	if len(want) != len(got) {
		return fmt.Errorf("read %d batches, %d were appended", len(got), len(want))
	}
	return nil
}

// differ reports the first field in which a stored event differs from what was appended.
func differ(want, got pool.Event) error {
	field := func(name string, same bool, want, got any) error {
		if same {
			return nil
		}
		return fmt.Errorf("%s came back as %.80s, not as %.80s", name, shown(got), shown(want))
	}
	return errors.Join(
		field("id", want.ID == got.ID, want.ID, got.ID),
		field("revision", want.Revision == got.Revision, want.Revision, got.Revision),
		field("index", want.Index == got.Index, want.Index, got.Index),
		field("time", want.Time.Equal(got.Time) && got.Time.Location() == time.UTC, want.Time, got.Time),
		field("actor", want.Actor == got.Actor, want.Actor, got.Actor),
		field("cause", want.Cause == got.Cause, want.Cause, got.Cause),
		field("epoch", want.Epoch == got.Epoch, want.Epoch, got.Epoch),
		field("kind", want.Kind == got.Kind, want.Kind, got.Kind),
		field("version", want.Version == got.Version, want.Version, got.Version),
		field("data", bytes.Equal(want.Data, got.Data), want.Data, got.Data),
		field("subject", want.Subject == got.Subject, want.Subject, got.Subject),
		field("private", bytes.Equal(want.Private, got.Private) && (want.Private == nil) == (got.Private == nil), want.Private, got.Private),
		field("salt", bytes.Equal(want.Salt, got.Salt), want.Salt, got.Salt),
		field("private hash", bytes.Equal(want.PrivateHash, got.PrivateHash), want.PrivateHash, got.PrivateHash),
	)
}

// shown returns a field's value in a form in which no two values look alike.
func shown(v any) string {
	switch v := v.(type) {
	case json.RawMessage:
		return strconv.QuoteToASCII(string(v))
	case []byte:
		if v == nil {
			return "absent"
		}
		return strconv.QuoteToASCII(string(v))
	case string:
		return strconv.QuoteToASCII(v)
	default:
		return fmt.Sprint(v)
	}
}

// is reports an error that is not of the kind that must come, or of several.
func is(err error, want error) error {
	if err == nil {
		return fmt.Errorf("succeeded, where %q must come", want)
	}
	for _, kind := range []error{pool.ErrConflict, pool.ErrUnavailable, pool.ErrUnknown, pool.ErrInvalid, pool.ErrCompacted, pool.ErrCorrupt, pool.ErrNotFound} {
		if errors.Is(err, kind) != (kind == want) {
			return fmt.Errorf("the error must be of the kind %q and of no other, but is: %w", want, err)
		}
	}
	if !errors.Is(err, want) {
		return fmt.Errorf("the error must be %q, but is: %w", want, err)
	}
	return nil
}

// ids returns the ids of all events in order.
func ids(batches []pool.Batch) []string {
	var all []string
	for _, b := range batches {
		for _, e := range b.Events {
			all = append(all, e.ID)
		}
	}
	return all
}

// once reports ids that stand in the batches not exactly once.
func once(batches []pool.Batch, want []string) error {
	got := ids(batches)
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if slices.Equal(got, want) {
		return nil
	}
	for i := 1; i < len(got); i++ {
		if got[i] == got[i-1] {
			return fmt.Errorf("event %s is stored twice", got[i])
		}
	}
	for _, id := range want {
		if _, ok := slices.BinarySearch(got, id); !ok {
			return fmt.Errorf("event %s was acknowledged and is lost", id)
		}
	}
	for _, id := range got {
		if _, ok := slices.BinarySearch(want, id); !ok {
			return fmt.Errorf("event %s is stored although its append was refused", id)
		}
	}
	return errors.New("the stored events differ from those acknowledged")
}

// orNone makes a missing error printable.
func orNone(err error) error {
	if err == nil {
		return errors.New("none")
	}
	return err
}
