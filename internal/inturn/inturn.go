// Package inturn lets those who want the same thing have it one after another. Drivers take turns with it where two calls on one
// machine, image or connection must not overlap; what is in the way waits no longer than its context lasts.
package inturn

import (
	"context"
	"sync"
)

// Keys lets one holder at a time have each key. The zero value is ready, keeps nothing of keys that nobody has or waits for, and
// must not be copied once it has been used. It is safe for concurrent use.
type Keys[K comparable] struct {
	mu sync.Mutex
	m  map[K]*turn
}

type turn struct {
	token   chan struct{} // holds one element while it is taken
	waiting int           // the holder and those who wait
}

// Take waits for the key and returns how to give it back, which is to be called once; or the context's error, if that has ended
// or ends first.
func (k *Keys[K]) Take(ctx context.Context, key K) (done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	k.mu.Lock()
	if k.m == nil {
		k.m = make(map[K]*turn)
	}
	t := k.m[key]
	if t == nil {
		t = &turn{token: make(chan struct{}, 1)}
		k.m[key] = t
	}
	t.waiting++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if t.waiting--; t.waiting == 0 {
			delete(k.m, key)
		}
	}
	select {
	case t.token <- struct{}{}:
		return func() { <-t.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
