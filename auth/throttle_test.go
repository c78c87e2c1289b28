package auth_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

func throttle() auth.Throttle {
	return auth.Throttle{Scratch: pool.NewMemoryScratch(), Key: []byte("sixteen bytes ok")}
}

func from(n int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}) }

// waitOf begins an attempt and returns how long it has to wait; 0: it was let pass.
func waitOf(t *testing.T, th auth.Throttle, account string, a netip.Addr) time.Duration {
	t.Helper()
	_, err := th.Begin(t.Context(), account, a)
	if err == nil {
		return 0
	}
	require.ErrorIs(t, err, auth.ErrThrottled)
	require.Equal(t, auth.Throttled, reasonOf(t, err))
	var no *auth.Refusal
	require.ErrorAs(t, err, &no)
	require.Positive(t, no.Wait)
	return no.Wait
}

func right(t *testing.T, th auth.Throttle, account string, a netip.Addr) {
	t.Helper()
	at, err := th.Begin(t.Context(), account, a)
	require.NoError(t, err)
	require.NoError(t, at.Right(t.Context()))
}

func TestGuessingSlowsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := throttle()
		for range 5 {
			require.Zero(t, waitOf(t, th, "uma", from(1)))
		}
		for n := range 9 {
			w := waitOf(t, th, "uma", from(1))
			require.Equal(t, time.Second<<n, w)
			require.Equal(t, w, waitOf(t, th, "uma", from(1)), "what is refused prolongs nothing")
			time.Sleep(w - time.Millisecond)
			require.Equal(t, time.Millisecond, waitOf(t, th, "uma", from(1)))
			time.Sleep(time.Millisecond)
			require.Zero(t, waitOf(t, th, "uma", from(1)))
		}
		passed := 0
		for range 24 * 60 * 60 { // somebody who never tires
			w := waitOf(t, th, "uma", from(1))
			require.LessOrEqual(t, w, 15*time.Minute, "nobody is locked out for good")
			if w == 0 {
				passed++
			}
			time.Sleep(time.Second)
		}
		require.InDelta(t, 96, passed, 8, "one in a quarter of an hour")
		require.Zero(t, waitOf(t, th, "uma", from(2)), "nor is somebody from elsewhere concerned")
		time.Sleep(time.Hour)
		require.Zero(t, waitOf(t, th, "uma", from(1)))
		require.Zero(t, waitOf(t, th, "uma", from(1)), "all is forgotten")
	})
}

func TestTheRightPasswordClearsTheAccount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := throttle()
		for range 10 {
			for range 4 {
				require.Zero(t, waitOf(t, th, "uma", from(1)))
			}
			right(t, th, "uma", from(1))
			for range 3 {
				right(t, th, "vic", from(1))
			}
			time.Sleep(15 * time.Minute)
		}
	})
}

// TestOnePasswordOnManyAccounts: an address is slowed down, whatever the account; a success of its own does not help it.
func TestOnePasswordOnManyAccounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := throttle()
		passed := 0
		for n := range 100 {
			if n%5 == 0 {
				if at, err := th.Begin(t.Context(), "mallory", from(1)); err == nil {
					require.NoError(t, at.Right(t.Context()))
				}
			}
			if waitOf(t, th, fmt.Sprint("user", n), from(1)) == 0 {
				passed++
			}
		}
		require.Equal(t, 20, passed)
		require.Zero(t, waitOf(t, th, "user1", from(2)))

		for n := range 100 {
			a := netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", n+1))
			_, _ = th.Begin(t.Context(), fmt.Sprint("v6user", n), a)
		}
		require.NotZero(t, waitOf(t, th, "v6user", netip.MustParseAddr("2001:db8::ffff")), "a network of 64 bits is one customer")
		require.Zero(t, waitOf(t, th, "v6user", netip.MustParseAddr("2001:db8:0:1::1")))
		require.NotZero(t, waitOf(t, th, "v6user", netip.MustParseAddr("2001:db8::1%eth0")))
		require.NotZero(t, waitOf(t, th, "user200", netip.MustParseAddr("::ffff:192.0.2.1")), "however it is written")
	})
}

// TestManyAddresses: an account that is attacked from many addresses is slowed down for new ones, at most for a minute at a time, and not at
// all for the one from which its owner was there of late.
func TestManyAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := throttle()
		right(t, th, "uma", from(1))
		attack := func(addresses int) (passed int) {
			for n := range addresses {
				if waitOf(t, th, "uma", netip.AddrFrom4([4]byte{198, 51, 100, byte(n)})) == 0 {
					passed++
				}
			}
			return passed
		}
		require.Equal(t, 20, attack(200))
		passed := 0
		for n := range 600 {
			passed += attack(8)
			if n%60 == 0 {
				require.Zero(t, waitOf(t, th, "uma", from(1)), "the owner, mistyping")
				right(t, th, "uma", from(1))
			}
			require.LessOrEqual(t, waitOf(t, th, "uma", from(9)), time.Minute)
			time.Sleep(time.Second)
		}
		require.LessOrEqual(t, passed, 20, "ten minutes with as many addresses as one likes")
		time.Sleep(31 * 24 * time.Hour)
		attack(200)
		require.NotZero(t, waitOf(t, th, "uma", from(1)), "it is long since they were there")
	})
}

func TestAttemptsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		th := throttle()
		th.Scratch = slow{th.Scratch}
		var passed int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				_, err := th.Begin(t.Context(), "uma", from(1))
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					passed++
				} else {
					require.ErrorIs(t, err, auth.ErrThrottled)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, passed, 5)
		require.Positive(t, passed)
	})
}

// keyed is a Scratch that tells which keys were written.
type keyed struct {
	pool.Scratch
	keys map[string]bool
}

func (k keyed) Put(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
	k.keys[key] = true
	return k.Scratch.Put(ctx, key, value, prev, ttl)
}

// slow is a Scratch of which all have read before one writes.
type slow struct{ pool.Scratch }

func (s slow) Get(ctx context.Context, key string) ([]byte, int64, error) {
	v, version, err := s.Scratch.Get(ctx, key)
	time.Sleep(time.Millisecond)
	return v, version, err
}

func TestThrottleIsBounded(t *testing.T) {
	t.Parallel()
	keys := make(map[string]bool)
	th := auth.Throttle{Scratch: keyed{pool.NewMemoryScratch(), keys}, Key: []byte("sixteen bytes ok")}
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var a [4]byte
		for n := range a {
			a[n] = byte(r.Uint32())
		}
		at, err := th.Begin(t.Context(), fmt.Sprint("name", r.Uint64()), netip.AddrFrom4(a))
		if err == nil && r.IntN(2) == 0 {
			require.NoError(t, at.Right(t.Context()))
		}
	}
	for k := range keys {
		require.Regexp(t, `^auth/throttle/((pair|address|account)/[0-9a-f]{1,4}|known/[0-9a-f]{32})$`, k)
	}
}

func TestThrottleNeedsAKey(t *testing.T) {
	t.Parallel()
	_, err := auth.Throttle{Scratch: pool.NewMemoryScratch(), Key: []byte("short")}.Begin(t.Context(), "uma", from(1))
	require.ErrorIs(t, err, pool.ErrInvalid)
}

// TestThrottleFailsClosed: whichever call of the store fails, the attempt is not let pass, or is not known to be right.
func TestThrottleFailsClosed(t *testing.T) {
	t.Parallel()
	everyCall(t, func(s pool.Scratch) error {
		at, err := auth.Throttle{Scratch: s, Key: []byte("sixteen bytes ok")}.Begin(t.Context(), "uma", from(1))
		if err != nil {
			return err
		}
		return at.Right(t.Context())
	})
}

func fromHere() netip.Addr { return from(7) }
