package ledgertest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
	"github.com/stretchr/testify/require"
)

// brokenScratch is a scratch with one fault: the functions that are set replace those of the sound one.
type brokenScratch struct {
	*pool.MemoryScratch
	get    func(ctx context.Context, key string) ([]byte, int64, error)
	put    func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error)
	delete func(ctx context.Context, key string, version int64) error
}

func (b *brokenScratch) Get(ctx context.Context, key string) ([]byte, int64, error) {
	if b.get != nil {
		return b.get(ctx, key)
	}
	return b.MemoryScratch.Get(ctx, key)
}

func (b *brokenScratch) Put(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
	if b.put != nil {
		return b.put(ctx, key, value, prev, ttl)
	}
	return b.MemoryScratch.Put(ctx, key, value, prev, ttl)
}

func (b *brokenScratch) Delete(ctx context.Context, key string, version int64) error {
	if b.delete != nil {
		return b.delete(ctx, key, version)
	}
	return b.MemoryScratch.Delete(ctx, key, version)
}

// force puts whatever the version is.
func (b *brokenScratch) force(ctx context.Context, key string, value []byte, ttl time.Duration) (int64, error) {
	for {
		_, version, _ := b.MemoryScratch.Get(ctx, key)
		v, err := b.MemoryScratch.Put(ctx, key, value, version, ttl)
		if !errors.Is(err, pool.ErrConflict) {
			return v, err
		}
	}
}

// TestBrokenScratchesAreCaught: as for ledgers.
func TestBrokenScratchesAreCaught(t *testing.T) {
	t.Parallel()
	caught := make(map[string]bool)
	for name, f := range map[string]struct {
		caught string
		by     func(*brokenScratch)
	}{
		"puts over any version": {"compare and swap", func(b *brokenScratch) {
			b.put = func(ctx context.Context, key string, value []byte, _ int64, ttl time.Duration) (int64, error) {
				return b.force(ctx, key, value, ttl)
			}
		}},
		"creates at any version": {"compare and swap", func(b *brokenScratch) {
			b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
				if _, _, err := b.MemoryScratch.Get(ctx, key); errors.Is(err, pool.ErrNotFound) {
					prev = 0
				}
				return b.MemoryScratch.Put(ctx, key, value, prev, ttl)
			}
		}},
		"deletes at any version": {"compare and swap", func(b *brokenScratch) {
			b.delete = func(ctx context.Context, key string, version int64) error {
				if _, v, err := b.MemoryScratch.Get(ctx, key); err == nil {
					version = v
				}
				return b.MemoryScratch.Delete(ctx, key, version)
			}
		}},
		"deletes what is absent": {"compare and swap", func(b *brokenScratch) {
			b.delete = func(ctx context.Context, key string, version int64) error {
				if _, _, err := b.MemoryScratch.Get(ctx, key); errors.Is(err, pool.ErrNotFound) {
					return nil
				}
				return b.MemoryScratch.Delete(ctx, key, version)
			}
		}},
		"an absent key is unavailable": {"compare and swap", func(b *brokenScratch) {
			b.get = func(ctx context.Context, key string) ([]byte, int64, error) {
				v, n, err := b.MemoryScratch.Get(ctx, key)
				if errors.Is(err, pool.ErrNotFound) {
					err = &pool.Error{Kind: pool.ErrUnavailable}
				}
				return v, n, err
			}
		}},
		"keys in any case": {"values", func(b *brokenScratch) {
			b.get = func(ctx context.Context, key string) ([]byte, int64, error) {
				return b.MemoryScratch.Get(ctx, strings.ToLower(key))
			}
		}},
		"keys as numbers": {"values", func(b *brokenScratch) {
			b.get = func(ctx context.Context, key string) ([]byte, int64, error) {
				if key == "01" || key == "1.0" {
					key = "1"
				}
				return b.MemoryScratch.Get(ctx, key)
			}
		}},
		"keeps the caller's bytes": {"values", func(b *brokenScratch) {
			own := make(map[string][]byte)
			b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
				own[key] = value
				return b.MemoryScratch.Put(ctx, key, value, prev, ttl)
			}
			b.get = func(ctx context.Context, key string) ([]byte, int64, error) {
				_, n, err := b.MemoryScratch.Get(ctx, key)
				return slices.Clone(own[key]), n, err
			}
		}},
		"never expires": {"expiry", func(b *brokenScratch) {
			b.put = func(ctx context.Context, key string, value []byte, prev int64, _ time.Duration) (int64, error) {
				return b.MemoryScratch.Put(ctx, key, value, prev, time.Hour)
			}
		}},
		"expires by whole seconds": {"expiry", func(b *brokenScratch) {
			b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
				return b.MemoryScratch.Put(ctx, key, value, prev, max(ttl.Truncate(time.Second), 1))
			}
		}},
		"an expired key blocks its place": {"expiry", func(b *brokenScratch) {
			put := make(map[string]bool)
			b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
				if prev == 0 && put[key] {
					return 0, &pool.Error{Kind: pool.ErrConflict}
				}
				put[key] = true
				return b.MemoryScratch.Put(ctx, key, value, prev, ttl)
			}
		}},
		"puts over what has expired": {"expiry", func(b *brokenScratch) {
			last := make(map[string]int64)
			b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (n int64, err error) {
				if prev != 0 && prev == last[key] {
					n, err = b.force(ctx, key, value, ttl)
				} else {
					n, err = b.MemoryScratch.Put(ctx, key, value, prev, ttl)
				}
				last[key] = n
				return n, err
			}
		}},
		"a long ttl wraps": {"expiry", func(b *brokenScratch) {
			b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
				if ttl > 10*365*24*time.Hour {
					ttl = time.Millisecond
				}
				return b.MemoryScratch.Put(ctx, key, value, prev, ttl)
			}
		}},
		"a renewal keeps the old expiry": {"renewal", func(b *brokenScratch) {
			ends := make(map[string]time.Time)
			b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
				if prev == 0 {
					ends[key] = time.Now().Add(ttl)
				}
				return b.MemoryScratch.Put(ctx, key, value, prev, time.Until(ends[key]))
			}
		}},
		"versions start anew for a new key": {"versions never repeat", func(b *brokenScratch) {
			base := make(map[string]int64) // what the sound one's version was when the key was made, less one
			b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
				if prev != 0 {
					prev += base[key]
				}
				n, err := b.MemoryScratch.Put(ctx, key, value, prev, ttl)
				if err == nil && prev == 0 {
					base[key] = n - 1
				}
				return n - base[key], err
			}
			b.delete = func(ctx context.Context, key string, version int64) error {
				return b.MemoryScratch.Delete(ctx, key, version+base[key])
			}
		}},
		"looks before it stores, without a lock": {"racing puts", unlocked},
		"increments are lost":                    {"counting", unlocked},
		"puts over what is being deleted":        {"racing put and delete", unlocked},
		"takes a ttl of zero": {"limits", func(b *brokenScratch) {
			b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
				return b.MemoryScratch.Put(ctx, key, value, prev, max(ttl, 1))
			}
		}},
		"cuts long keys": {"limits", func(b *brokenScratch) {
			b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
				return b.MemoryScratch.Put(ctx, key[:min(len(key), 100)], value, prev, ttl)
			}
		}},
		"takes no notice of an ended context": {"ended context", func(b *brokenScratch) {
			b.delete = func(ctx context.Context, key string, version int64) error {
				return errors.Join(b.MemoryScratch.Delete(context.WithoutCancel(ctx), key, version), ctx.Err())
			}
		}},
	} {
		caught[f.caught] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &brokenScratch{MemoryScratch: pool.NewMemoryScratch()}
			f.by(b)
			err := check(t, ledgertest.Scratch(), f.caught, ledgertest.ScratchStore{Scratch: b}, time.Minute)
			require.ErrorContains(t, err, "rule: ", "case %q has not noticed", f.caught)
			t.Log(err)
		})
	}
	caught["second handle"] = true
	apart := ledgertest.ScratchStore{Scratch: pool.NewMemoryScratch(), Again: func(context.Context) (pool.Scratch, error) { return pool.NewMemoryScratch(), nil }}
	require.Error(t, check(t, ledgertest.Scratch(), "second handle", apart, time.Minute), "two handles that share nothing are not noticed")
	for _, c := range ledgertest.Scratch() {
		require.True(t, caught[c.Name], "no broken scratch shows that case %q can fail", c.Name)
	}
}

// unlocked checks the version and stores in two steps.
func unlocked(b *brokenScratch) {
	var mu sync.Mutex
	b.put = func(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
		if _, version, _ := b.MemoryScratch.Get(ctx, key); version != prev {
			return 0, &pool.Error{Kind: pool.ErrConflict}
		}
		time.Sleep(time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		return b.force(ctx, key, value, ttl)
	}
}
