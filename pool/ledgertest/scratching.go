package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berthage/berthage/pool"
)

// Scratch returns the cases that RunScratch runs.
func Scratch() []Case[ScratchStore] {
	return []Case[ScratchStore]{
		{"compare and swap", "Put and Delete act only if the key's version is the one named, 0 for an absent key; otherwise they are ErrConflict and change nothing.", swap},
		{"values", "A value comes back byte for byte, under exactly its key; the scratch keeps bytes of its own.", values},
		{"expiry", "Once its ttl has passed a key is as good as absent, for Get, Put and Delete.", expiry},
		{"renewal", "A Put sets the expiry anew.", renewal},
		{"versions never repeat", "A version of a key never comes again, also across its deletion or expiry.", versions},
		{"racing puts", "Of Puts that race for one version exactly one succeeds and the others are ErrConflict.", racingPuts},
		{"racing put and delete", "Of a Put and a Delete that race for one version exactly one succeeds and the other is ErrConflict.", racingPutDelete},
		{"counting", "Nothing that was put with compare-and-swap is lost: racing increments add up.", counting},
		{"limits", "Keys, values and ttls out of bounds are ErrInvalid; the largest are kept.", limits},
		{"ended context", "A call whose context has ended does nothing and returns the context's error.", scratchEnded},
		{"second handle", "All handles on a store are one scratch.", secondScratch},
	}
}

func value(ctx context.Context, s pool.Scratch, key, want string, version int64) error {
	got, v, err := s.Get(ctx, key)
	if err != nil || string(got) != want || v != version {
		return fmt.Errorf("key %q has %.40q at version %d and not %.40q at %d, error %w", key, got, v, want, version, orNone(err))
	}
	return nil
}

func absent(ctx context.Context, s pool.Scratch, key string) error {
	if _, _, err := s.Get(ctx, key); is(err, pool.ErrNotFound) != nil {
		return fmt.Errorf("get of absent key %q: %w", key, is(err, pool.ErrNotFound))
	}
	return nil
}

func swap(ctx context.Context, st ScratchStore) error {
	s := st.Scratch
	refused := func(what string, version int64) error {
		if _, err := s.Put(ctx, "k", []byte("refused"), version, time.Hour); is(err, pool.ErrConflict) != nil {
			return fmt.Errorf("put over %s at version %d: %w", what, version, is(err, pool.ErrConflict))
		}
		if version == 0 {
			return nil
		}
		if err := is(s.Delete(ctx, "k", version), pool.ErrConflict); err != nil {
			return fmt.Errorf("delete of %s at version %d: %w", what, version, err)
		}
		return nil
	}
	if err := absent(ctx, s, "k"); err != nil {
		return err
	}
	if err := errors.Join(refused("an absent key", 1), refused("an absent key", -1), is(s.Delete(ctx, "k", 0), pool.ErrConflict)); err != nil {
		return err
	}
	v1, err := s.Put(ctx, "k", []byte("one"), 0, time.Hour)
	if err != nil {
		return err
	}
	if v1 <= 0 {
		return fmt.Errorf("the version is %d, which must be more than 0", v1)
	}
	if err := errors.Join(value(ctx, s, "k", "one", v1), refused("a present key", 0), refused("a present key", v1+1), refused("a present key", -1), is(s.Delete(ctx, "k", 0), pool.ErrConflict)); err != nil {
		return err
	}
	v2, err := s.Put(ctx, "k", []byte("two"), v1, time.Hour)
	if err != nil {
		return err
	}
	if v2 == v1 {
		return fmt.Errorf("a new value has the old version %d", v1)
	}
	if err := errors.Join(value(ctx, s, "k", "two", v2), refused("a replaced key", v1), value(ctx, s, "k", "two", v2)); err != nil {
		return err
	}
	if err := s.Delete(ctx, "k", v2); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return errors.Join(absent(ctx, s, "k"), refused("a deleted key", v2))
}

func values(ctx context.Context, st ScratchStore) error {
	s := st.Scratch
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	want := map[string][]byte{
		"k": []byte("v"), "K": []byte("V"), "k ": {}, " k": nil, "é": all, "e\u0301": []byte("\x00"), "k%": []byte("'"), "k_": []byte("\\"), "a/b": []byte("null"),
		"'; --": []byte("\xff"), "k\n": []byte("a\r\nb"), "1": []byte("1"), "01": []byte("01"), "1.0": []byte("1.0"),
	}
	versions := make(map[string]int64)
	for k, v := range want {
		given := bytes.Clone(v)
		var err error
		if versions[k], err = s.Put(ctx, k, given, 0, time.Hour); err != nil {
			return fmt.Errorf("put of key %q: %w", k, err)
		}
		for i := range given {
			given[i]++
		}
	}
	for range 2 {
		for k, v := range want {
			if err := value(ctx, s, k, string(v), versions[k]); err != nil {
				return err
			}
			got, _, err := s.Get(ctx, k)
			if err != nil {
				return err
			}
			for i := range got {
				got[i]++
			}
		}
	}
	return nil
}

// gone waits until the key has expired and reports a key that goes before its time or stays.
func gone(ctx context.Context, s pool.Scratch, key string, put time.Time, ttl time.Duration) error {
	for {
		_, _, err := s.Get(ctx, key)
		lived := time.Since(put)
		switch {
		case errors.Is(err, pool.ErrNotFound) && lived < ttl-ttl/10:
			return fmt.Errorf("key %q with a ttl of %v was gone after %v", key, ttl, lived)
		case errors.Is(err, pool.ErrNotFound):
			return nil
		case err != nil:
			return err
		case lived > ttl+patience:
			return fmt.Errorf("key %q with a ttl of %v is still there after %v", key, ttl, lived)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(ttl / 20):
		}
	}
}

const ttl = 400 * time.Millisecond

func expiry(ctx context.Context, st ScratchStore) error {
	s := st.Scratch
	put := time.Now()
	v, err := s.Put(ctx, "k", []byte("short"), 0, ttl)
	if err != nil {
		return err
	}
	vd, err := s.Put(ctx, "d", []byte("short"), 0, ttl)
	if err != nil {
		return err
	}
	long, err := s.Put(ctx, "long", []byte("long"), 0, 100*365*24*time.Hour)
	if err != nil {
		return err
	}
	if err := gone(ctx, s, "k", put, ttl); err != nil {
		return err
	}
	if err := gone(ctx, s, "d", put, ttl); err != nil {
		return err
	}
	if _, err := s.Put(ctx, "k", []byte("x"), v, time.Hour); is(err, pool.ErrConflict) != nil {
		return fmt.Errorf("put over an expired key at its last version: %w", is(err, pool.ErrConflict))
	}
	if err := is(s.Delete(ctx, "d", vd), pool.ErrConflict); err != nil {
		return fmt.Errorf("delete of an expired key: %w", err)
	}
	v, err = s.Put(ctx, "k", []byte("anew"), 0, time.Hour)
	if err != nil {
		return fmt.Errorf("put over an expired key as over an absent one: %w", err)
	}
	return errors.Join(value(ctx, s, "k", "anew", v), absent(ctx, s, "d"), value(ctx, s, "long", "long", long))
}

func renewal(ctx context.Context, st ScratchStore) error {
	s := st.Scratch
	v, err := s.Put(ctx, "lease", []byte("a"), 0, ttl)
	if err != nil {
		return err
	}
	v, err = s.Put(ctx, "lease", []byte("b"), v, time.Hour)
	for tries := 0; errors.Is(err, pool.ErrConflict) && tries < 10; tries++ { // a slow computer may have come too late
		if v, err = s.Put(ctx, "lease", []byte("a"), 0, ttl); err == nil {
			v, err = s.Put(ctx, "lease", []byte("b"), v, time.Hour)
		}
	}
	if err != nil {
		return fmt.Errorf("renewal: %w", err)
	}
	time.Sleep(2 * ttl)
	if err := value(ctx, s, "lease", "b", v); err != nil {
		return fmt.Errorf("after the ttl that was renewed: %w", err)
	}
	put := time.Now()
	if _, err = s.Put(ctx, "lease", []byte("c"), v, ttl); err != nil {
		return fmt.Errorf("renewal: %w", err)
	}
	return gone(ctx, s, "lease", put, ttl)
}

func versions(ctx context.Context, st ScratchStore) error {
	s := st.Scratch
	seen := make(map[int64]string)
	note := func(v int64, err error, how string) error {
		if err != nil {
			return fmt.Errorf("%s: %w", how, err)
		}
		if before, ok := seen[v]; ok {
			return fmt.Errorf("%s gives version %d, which %s gave before", how, v, before)
		}
		seen[v] = how
		return nil
	}
	for i := range 5 {
		v, err := s.Put(ctx, "k", nil, 0, time.Hour)
		if err := note(v, err, "creating it, round "+strconv.Itoa(i)); err != nil {
			return err
		}
		v, err = s.Put(ctx, "k", nil, v, time.Hour)
		if err := note(v, err, "replacing it, round "+strconv.Itoa(i)); err != nil {
			return err
		}
		if i%2 == 0 {
			if err := s.Delete(ctx, "k", v); err != nil {
				return err
			}
			continue
		}
		put := time.Now()
		v, err = s.Put(ctx, "k", nil, v, ttl/4)
		if err := note(v, err, "letting it expire, round "+strconv.Itoa(i)); err != nil {
			return err
		}
		if err := gone(ctx, s, "k", put, ttl/4); err != nil {
			return err
		}
	}
	return nil
}

func (s ScratchStore) handles(ctx context.Context) ([]pool.Scratch, error) {
	if s.Again == nil {
		return []pool.Scratch{s.Scratch}, nil
	}
	other, err := s.Again(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a second handle: %w", err)
	}
	return []pool.Scratch{s.Scratch, other}, nil
}

func racingPuts(ctx context.Context, st ScratchStore) error {
	handles, err := st.handles(ctx)
	if err != nil {
		return err
	}
	version := int64(0)
	for round := range 10 {
		var winners atomic.Int64
		var next atomic.Int64
		var winner atomic.Value
		g := newGroup(ctx)
		start := make(chan struct{})
		for i := range 16 {
			g.Go(func() error {
				<-start
				name := "racer " + strconv.Itoa(i)
				v, err := handles[i%len(handles)].Put(g, "k", []byte(name), version, time.Hour)
				if err == nil {
					winners.Add(1)
					next.Store(v)
					winner.Store(name)
					return nil
				}
				return is(err, pool.ErrConflict)
			})
		}
		close(start)
		if err := g.Wait(); err != nil {
			return err
		}
		if winners.Load() != 1 {
			return fmt.Errorf("in round %d %d of 16 racing Puts succeeded", round, winners.Load())
		}
		version = next.Load()
		if err := value(ctx, st.Scratch, "k", winner.Load().(string), version); err != nil {
			return err
		}
	}
	return nil
}

func racingPutDelete(ctx context.Context, st ScratchStore) error {
	handles, err := st.handles(ctx)
	if err != nil {
		return err
	}
	for round := range 60 {
		s, other := handles[round%len(handles)], handles[(round+1)%len(handles)]
		version, err := s.Put(ctx, "k", nil, 0, time.Hour)
		if err != nil {
			return fmt.Errorf("put over an absent key: %w", err)
		}
		g := newGroup(ctx)
		start := make(chan struct{})
		var put int64
		var putErr, deleteErr error
		racers := []func(){
			func() { put, putErr = s.Put(g, "k", []byte("put"), version, time.Hour) },
			func() { deleteErr = other.Delete(g, "k", version) },
		}
		for i := range racers {
			g.Go(func() error {
				<-start
				racers[(i+round/2)%2]() // which one is woken first is not left to the scheduler
				return nil
			})
		}
		close(start)
		if err := g.Wait(); err != nil {
			return err
		}
		switch {
		case putErr == nil && errors.Is(deleteErr, pool.ErrConflict):
			if err := value(ctx, s, "k", "put", put); err != nil {
				return err
			}
			if err := s.Delete(ctx, "k", put); err != nil {
				return err
			}
		case deleteErr == nil && errors.Is(putErr, pool.ErrConflict):
		default:
			return fmt.Errorf("in round %d: Put: %w, Delete: %w", round, orNone(putErr), orNone(deleteErr))
		}
		if err := absent(ctx, s, "k"); err != nil {
			return err
		}
	}
	return nil
}

func counting(ctx context.Context, st ScratchStore) error {
	handles, err := st.handles(ctx)
	if err != nil {
		return err
	}
	const workers, each = 8, 8
	g := newGroup(ctx)
	for i := range workers {
		g.Go(func() error {
			s := handles[i%len(handles)]
			for done := 0; done < each && g.Err() == nil; {
				old, version, err := s.Get(g, "n")
				if err != nil && !errors.Is(err, pool.ErrNotFound) {
					return err
				}
				n, _ := strconv.Atoi(string(old))
				_, err = s.Put(g, "n", []byte(strconv.Itoa(n+1)), version, time.Hour)
				if err == nil {
					done++
				} else if err := is(err, pool.ErrConflict); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	got, _, err := st.Scratch.Get(ctx, "n")
	if err != nil || string(got) != strconv.Itoa(workers*each) {
		return fmt.Errorf("%d increments give %q, error %w", workers*each, got, orNone(err))
	}
	return nil
}

func limits(ctx context.Context, st ScratchStore) error {
	s := st.Scratch
	for name, c := range map[string]struct {
		key   string
		value []byte
		ttl   time.Duration
	}{
		"an empty key":             {"", nil, time.Hour},
		"a key of 256 bytes":       {strings.Repeat("k", pool.MaxKey+1), nil, time.Hour},
		"a key that is no UTF-8":   {"\xff", nil, time.Hour},
		"a value of 1 MiB and one": {"k", make([]byte, pool.MaxValue+1), time.Hour},
		"a ttl of zero":            {"k", nil, 0},
		"a negative ttl":           {"k", nil, -time.Hour},
	} {
		if _, err := s.Put(ctx, c.key, c.value, 0, c.ttl); is(err, pool.ErrInvalid) != nil {
			return fmt.Errorf("put of %s: %w", name, is(err, pool.ErrInvalid))
		}
	}
	if err := absent(ctx, s, "k"); err != nil {
		return err
	}
	key, large := strings.Repeat("k", pool.MaxKey), strings.Repeat("v", pool.MaxValue)
	v, err := s.Put(ctx, key, []byte(large), 0, time.Hour)
	if err != nil {
		return fmt.Errorf("put of the longest key and the largest value: %w", err)
	}
	return value(ctx, s, key, large, v)
}

func scratchEnded(ctx context.Context, st ScratchStore) error {
	s := st.Scratch
	v, err := s.Put(ctx, "k", []byte("kept"), 0, time.Hour)
	if err != nil {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	_, _, getErr := s.Get(ended, "k")
	_, putErr := s.Put(ended, "k", []byte("never"), v, time.Hour)
	for name, err := range map[string]error{"Get": getErr, "Put": putErr, "Delete": s.Delete(ended, "k", v)} {
		if !errors.Is(err, context.Canceled) || errors.Is(err, pool.ErrUnknown) {
			return fmt.Errorf("%s with an ended context: the error must be the context's, but is: %w", name, orNone(err))
		}
	}
	return value(ctx, s, "k", "kept", v)
}

func secondScratch(ctx context.Context, st ScratchStore) error {
	if st.Again == nil {
		return unsupported("the store has no second handle")
	}
	v, err := st.Scratch.Put(ctx, "k", []byte("one"), 0, time.Hour)
	if err != nil {
		return err
	}
	other, err := st.Again(ctx)
	if err != nil {
		return err
	}
	if err := value(ctx, other, "k", "one", v); err != nil {
		return err
	}
	v, err = other.Put(ctx, "k", []byte("two"), v, time.Hour)
	if err != nil {
		return err
	}
	if err := value(ctx, st.Scratch, "k", "two", v); err != nil {
		return err
	}
	if err := other.Delete(ctx, "k", v); err != nil {
		return err
	}
	return absent(ctx, st.Scratch, "k")
}
