package password_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/berthage/berthage/auth/password"
	"github.com/berthage/berthage/pool"
)

func hasher(t testing.TB, c password.Config) *password.Hasher {
	t.Helper()
	h, err := password.New(c)
	require.NoError(t, err)
	return h
}

const right = "correct horse battery staple"

func TestHashAndVerify(t *testing.T) {
	t.Parallel()
	h := hasher(t, password.Config{})
	hash, err := h.Hash(t.Context(), right)
	require.NoError(t, err)
	require.Regexp(t, `^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`, hash)
	again, err := h.Hash(t.Context(), right)
	require.NoError(t, err)
	require.NotEqual(t, hash, again, "the salt differs")
	for p, want := range map[string]bool{right: true, right + " ": false, right[1:]: false, "": false, strings.ToUpper(right): false, right + "\x00": false, "\xff": false, strings.Repeat("x", 1<<20): false} {
		m, err := h.Verify(t.Context(), hash, p)
		require.NoError(t, err)
		require.Equal(t, want, m.OK)
		require.False(t, m.Outdated)
	}
	m, err := hasher(t, password.Config{Time: 3}).Verify(t.Context(), hash, right)
	require.NoError(t, err)
	require.Equal(t, password.Match{OK: true, Outdated: true}, m, "more passes are wanted now")
	m, err = hasher(t, password.Config{Time: 3}).Verify(t.Context(), hash, "wrong")
	require.NoError(t, err)
	require.Equal(t, password.Match{}, m)
}

// TestOfOthers: a hash of the reference implementation, and one of other parameters.
func TestOfOthers(t *testing.T) {
	t.Parallel()
	key := argon2.IDKey([]byte(right), []byte("eightbyt"), 1, 64, 2, 16)
	hash := fmt.Sprintf("$argon2id$v=19$m=64,t=1,p=2$ZWlnaHRieXQ$%s", b64(key))
	m, err := hasher(t, password.Config{}).Verify(t.Context(), hash, right)
	require.NoError(t, err)
	require.Equal(t, password.Match{OK: true, Outdated: true}, m)
	// What its program prints for: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -l 32 -e
	m, err = hasher(t, password.Config{}).Verify(t.Context(), "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", "password")
	require.NoError(t, err)
	require.True(t, m.OK)
}

func b64(b []byte) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var out strings.Builder
	bits, n := 0, 0
	for _, c := range b {
		bits, n = bits<<8|int(c), n+8
		for n >= 6 {
			n -= 6
			out.WriteByte(digits[bits>>n&63])
		}
	}
	if n > 0 {
		out.WriteByte(digits[bits<<(6-n)&63])
	}
	return out.String()
}

func TestNewPasswords(t *testing.T) {
	t.Parallel()
	h := hasher(t, password.Config{})
	for _, bad := range []string{"", "canary", "elevenchars", strings.Repeat("canary", 200), "canary canary\x00", "canary canary\xff"} {
		_, err := h.Hash(t.Context(), bad)
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.NotContains(t, err.Error(), "canary")
	}
	_, err := h.Hash(t.Context(), "twelve chars")
	require.NoError(t, err)
	_, err = h.Hash(t.Context(), "zwölfzeichen")
	require.NoError(t, err, "characters are counted, not bytes")
	_, err = h.Rehash(t.Context(), "short")
	require.NoError(t, err, "one that is there already stays")
	for _, c := range []password.Config{{Memory: 1024}, {Memory: 1 << 20}, {Time: 1}, {Time: 11}, {MinLength: 4}, {AtOnce: 65}, {AtOnce: -1}} {
		_, err := password.New(c)
		require.ErrorIs(t, err, pool.ErrInvalid)
	}
}

// TestBcrypt: hashes of bcrypt are good and outdated; a password that is longer than it looks at is right for none.
func TestBcrypt(t *testing.T) {
	t.Parallel()
	h := hasher(t, password.Config{})
	long := strings.Repeat("x", 72)
	for p, tries := range map[string]map[string]bool{
		right: {right: true, "wrong": false, "": false},
		long:  {long: true, long + "y": false, long[1:]: false},
	} {
		hash, err := bcrypt.GenerateFromPassword([]byte(p), 4)
		require.NoError(t, err)
		for try, want := range tries {
			for _, version := range []string{"$2a$", "$2b$", "$2y$"} {
				m, err := h.Verify(t.Context(), version+string(hash[4:]), try)
				require.NoError(t, err)
				require.Equal(t, password.Match{OK: want, Outdated: want}, m)
			}
		}
	}
}

// TestHostileHashes: what is no hash, or would take much time or memory, is refused at once.
//
// It runs alone, as it looks at what the process allocates.
func TestHostileHashes(t *testing.T) {
	const salt, key = "$c2FsdHNhbHRzYWx0c2FsdA", "$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
	h := hasher(t, password.Config{})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, bad := range []string{
		"canary", "$", "$$$$$", "$argon2id$", "$argon2i$v=19$m=19456,t=2,p=1" + salt + key, "$argon2d$v=19$m=19456,t=2,p=1" + salt + key,
		"$argon2id$v=16$m=19456,t=2,p=1" + salt + key, "$argon2id$m=19456,t=2,p=1" + salt + key,
		"$argon2id$v=19$m=4194304,t=2,p=1" + salt + key, "$argon2id$v=19$m=65537,t=2,p=1" + salt + key, "$argon2id$v=19$m=19456,t=1000000,p=1" + salt + key,
		"$argon2id$v=19$m=19456,t=2,p=255" + salt + key, "$argon2id$v=19$m=19456,t=2,p=0" + salt + key, "$argon2id$v=19$m=0,t=2,p=1" + salt + key,
		"$argon2id$v=19$m=19456,t=0,p=1" + salt + key, "$argon2id$v=19$m=-1,t=2,p=1" + salt + key, "$argon2id$v=19$m=4,t=2,p=1" + salt + key,
		"$argon2id$v=19$m=99999999999999999999,t=2,p=1" + salt + key, "$argon2id$v=19$m=+19456,t=2,p=1" + salt + key, "$argon2id$v=19$m=019456,t=2,p=1" + salt + key,
		"$argon2id$v=19$t=2,m=19456,p=1" + salt + key, "$argon2id$v=19$m=19456,t=2" + salt + key, "$argon2id$v=19$m=19456,t=2,p=1,keyid=x" + salt + key,
		"$argon2id$v=19$m=19456,t=2,p=1" + salt, "$argon2id$v=19$m=19456,t=2,p=1$" + key, "$argon2id$v=19$m=19456,t=2,p=1" + salt + "$",
		"$argon2id$v=19$m=19456,t=2,p=1" + salt + key + "$x", "$argon2id$v=19$m=19456,t=2,p=1" + salt + key + "==", "$argon2id$v=19$m=19456,t=2,p=1" + salt + "\n" + key,
		"$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("A", 200) + key, " $argon2id$v=19$m=19456,t=2,p=1" + salt + key,
		"$2a$31$" + strings.Repeat("a", 53), "$2a$15$" + strings.Repeat("a", 53), "$2a$03$" + strings.Repeat("a", 53), "$2a$10$short", "$2a$10$" + strings.Repeat("a", 54), "$2x$04$" + strings.Repeat("a", 53), "$2a$04$" + strings.Repeat("!", 53), "$2",
		strings.Repeat("$", 1<<20),
	} {
		start := time.Now()
		m, err := h.Verify(t.Context(), bad, right)
		require.ErrorIs(t, err, pool.ErrCorrupt, "%.60s", bad)
		require.False(t, m.OK)
		require.NotContains(t, err.Error(), "canary")
		require.Less(t, time.Since(start), 5*time.Second)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(19456<<10), "nothing was hashed")
}

// TestNobodyTakesAsLong: without a hash as much is done as with one.
//
// It runs alone, as it looks at what the process allocates.
func TestNobodyTakesAsLong(t *testing.T) {
	h := hasher(t, password.Config{})
	hash, err := h.Hash(t.Context(), right)
	require.NoError(t, err)
	work := func(hash, p string) uint64 { // bytes allocated, which is nearly only what argon2 fills
		var before, after runtime.MemStats
		least := ^uint64(0)
		for range 3 {
			runtime.ReadMemStats(&before)
			m, err := h.Verify(t.Context(), hash, p)
			runtime.ReadMemStats(&after)
			require.NoError(t, err)
			require.False(t, m.OK)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		return least
	}
	for name, n := range map[string]uint64{"wrong": work(hash, "wrong"), "nobody": work("", "wrong"), "too long": work(hash, strings.Repeat("x", 5000)), "none": work("", "")} {
		require.GreaterOrEqual(t, n, uint64(19456<<10), name)
	}
}

// TestAtOnce: no more than so many are hashed at the same time, and who waits gives up with its context.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	h := hasher(t, password.Config{AtOnce: 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			_, err := h.Hash(t.Context(), right)
			require.NoError(t, err)
		})
	}
	wg.Wait()
	gave := 0
	for range 64 { // a slot that is free and a context that has ended: either may win
		if _, err := h.Verify(ctx, "", ""); err != nil {
			require.ErrorIs(t, err, context.Canceled)
			gave++
			break
		}
	}
	require.Positive(t, gave)
}

func FuzzVerify(f *testing.F) {
	f.Add("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g", "password")
	f.Add("$2a$04$abcdefghijklmnopqrstuuaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "password")
	h := hasher(f, password.Config{})
	f.Fuzz(func(t *testing.T, hash, p string) {
		if strings.HasPrefix(hash, "$2") && !strings.Contains(hash, "$04$") {
			return // right or wrong, it takes its time
		}
		m, err := h.Verify(t.Context(), hash, p)
		require.False(t, m.OK, "nobody guesses")
		if err != nil {
			require.ErrorIs(t, err, pool.ErrCorrupt)
		}
	})
}

func ExampleHasher() {
	h, err := password.New(password.Config{})
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	hash, err := h.Hash(ctx, "correct horse battery staple")
	fmt.Println(hash[:30], err)
	m, err := h.Verify(ctx, hash, "correct horse battery staple")
	fmt.Println(m.OK, m.Outdated, err)
	_, err = h.Hash(ctx, "123456")
	fmt.Println(err)
	// Output:
	// $argon2id$v=19$m=19456,t=2,p=1 <nil>
	// true false <nil>
	// password invalid: at least 12 characters
}
