package inturn_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/inturn"
)

// One holder of a key at a time, others of other keys beside it.
func TestTake(t *testing.T) {
	t.Parallel()
	var k inturn.Keys[string]
	counts := map[string]*int{"a": new(int), "b": new(int)} // unguarded: the race detector sees two holders
	var wg sync.WaitGroup
	for n := range 200 {
		key := []string{"a", "b"}[n%2]
		wg.Go(func() {
			done, err := k.Take(t.Context(), key)
			if err == nil {
				*counts[key]++
				done()
			}
		})
	}
	wg.Wait()
	require.Equal(t, 100, *counts["a"])
	require.Equal(t, 100, *counts["b"])
}

// Who waits no longer than its context lasts holds nobody up.
func TestTakeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var k inturn.Keys[int]
		done, err := k.Take(t.Context(), 1)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = k.Take(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		other, err := k.Take(t.Context(), 2)
		require.NoError(t, err)
		other()
		done()
		_, err = k.Take(ctx, 1)
		require.ErrorIs(t, err, context.DeadlineExceeded, "it has ended, though the key is free")
		done, err = k.Take(t.Context(), 1)
		require.NoError(t, err)
		done()
	})
}

func ExampleKeys() {
	var machines inturn.Keys[string]
	done, err := machines.Take(context.Background(), "m-0")
	if err != nil {
		return
	}
	defer done()
	fmt.Println("nobody else has m-0")
	// Output: nobody else has m-0
}
