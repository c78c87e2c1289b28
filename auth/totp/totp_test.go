package totp_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth/totp"
	"github.com/berthage/berthage/pool"
)

// TestVectors has those of RFC 6238, appendix B.
func TestVectors(t *testing.T) {
	t.Parallel()
	const digits = "1234567890"
	for _, c := range []struct {
		at                   int64
		sha1, sha256, sha512 string
	}{
		{59, "94287082", "46119246", "90693936"},
		{1111111109, "07081804", "68084774", "25091201"},
		{1111111111, "14050471", "67062674", "99943326"},
		{1234567890, "89005924", "91819424", "93441116"},
		{2000000000, "69279037", "90698825", "38618901"},
		{20000000000, "65353130", "77737706", "47863826"},
	} {
		at := time.Unix(c.at, 0)
		for algorithm, want := range map[totp.Algorithm]struct {
			secret string
			code   string
		}{
			totp.SHA1:   {strings.Repeat(digits, 2), c.sha1},
			totp.SHA256: {strings.Repeat(digits, 4)[:32], c.sha256},
			totp.SHA512: {strings.Repeat(digits, 7)[:64], c.sha512},
		} {
			require.Equal(t, want.code, totp.Params{Digits: 8, Algorithm: algorithm}.Code([]byte(want.secret), at), "%s at %d", algorithm, c.at)
		}
		require.Equal(t, c.sha1[2:], totp.Params{}.Code([]byte(strings.Repeat(digits, 2)), at), "six digits are the last ones")
	}
}

func noon() time.Time { return time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC) }

func TestCheck(t *testing.T) {
	t.Parallel()
	secret, p := totp.NewSecret(), totp.Params{}
	fresh := func(code string, at time.Time) bool {
		ok, err := totp.Checker{Scratch: pool.NewMemoryScratch()}.Check(t.Context(), "uma", secret, code, at)
		require.NoError(t, err)
		return ok
	}
	code := p.Code(secret, noon())
	for off, want := range map[time.Duration]bool{
		0: true, 29 * time.Second: true, -time.Second: true, -30 * time.Second: true, 59 * time.Second: true,
		-31 * time.Second: false, 60 * time.Second: false, time.Hour: false,
	} {
		require.Equal(t, want, fresh(code, noon().Add(off)), off)
	}
	for _, bad := range []string{"", code[1:], code + "0", " " + code, strings.Repeat("0", 1000), "abcdef", "1" + code} {
		require.False(t, fresh(bad, noon()))
	}
	ok, err := totp.Checker{Scratch: pool.NewMemoryScratch()}.Check(t.Context(), "uma", nil, p.Code(nil, noon()), noon())
	require.NoError(t, err)
	require.False(t, ok, "without a secret there is no right code")
}

// TestNoCodeTwice: neither a code nor one before it works once it has; those of others do.
func TestNoCodeTwice(t *testing.T) {
	t.Parallel()
	c := totp.Checker{Scratch: pool.NewMemoryScratch()}
	secret := totp.NewSecret()
	try := func(who string, of, at time.Time) bool {
		ok, err := c.Check(t.Context(), who, secret, c.Params.Code(secret, of), at)
		require.NoError(t, err)
		return ok
	}
	require.True(t, try("uma", noon(), noon()))
	require.False(t, try("uma", noon(), noon()))
	require.False(t, try("uma", noon(), noon().Add(30*time.Second)))
	require.False(t, try("uma", noon().Add(-30*time.Second), noon()))
	require.True(t, try("vic", noon(), noon()))
	require.True(t, try("uma", noon().Add(30*time.Second), noon()), "the next one is another")
	require.False(t, try("uma", noon(), noon()))

	var wins int
	done := make(chan bool)
	for range 16 {
		go func() {
			ok, _ := c.Check(context.Background(), "xena", secret, c.Params.Code(secret, noon()), noon())
			done <- ok
		}()
	}
	for range 16 {
		if <-done {
			wins++
		}
	}
	require.Equal(t, 1, wins, "of those at once only one")
}

// broken is a Scratch of which one call fails.
type broken struct {
	pool.Scratch
	get, put error
	junk     bool
}

func (b broken) Get(ctx context.Context, key string) ([]byte, int64, error) {
	if b.junk {
		return []byte("junk"), 1, nil
	}
	if b.get != nil {
		return nil, 0, b.get
	}
	return b.Scratch.Get(ctx, key)
}

func (b broken) Put(ctx context.Context, key string, v []byte, prev int64, ttl time.Duration) (int64, error) {
	if b.put != nil {
		return 0, b.put
	}
	return b.Scratch.Put(ctx, key, v, prev, ttl)
}

func TestFailsClosed(t *testing.T) {
	t.Parallel()
	secret := totp.NewSecret()
	gone := &pool.Error{Kind: pool.ErrUnavailable}
	for name, s := range map[string]pool.Scratch{
		"get": broken{pool.NewMemoryScratch(), gone, nil, false}, "put": broken{pool.NewMemoryScratch(), nil, gone, false},
		"unknown": broken{pool.NewMemoryScratch(), nil, &pool.Error{Kind: pool.ErrUnknown}, false}, "junk": broken{junk: true},
	} {
		ok, err := totp.Checker{Scratch: s}.Check(t.Context(), "uma", secret, totp.Params{}.Code(secret, noon()), noon())
		require.False(t, ok, name)
		require.Error(t, err, name)
	}
}

func TestURI(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(totp.Params{}.URI("Acme & Co", "ada@mail.example/x", []byte("12345678901234567890")))
	require.NoError(t, err)
	require.Equal(t, "otpauth", u.Scheme)
	require.Equal(t, "/Acme & Co:ada@mail.example/x", u.Path)
	require.Equal(t, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", u.Query().Get("secret"))
	require.Equal(t, "Acme & Co", u.Query().Get("issuer"))
	require.NotContains(t, u.RawQuery, "+", "apps do not all know it for a space")
	require.Len(t, totp.NewSecret(), 20)
	require.NotEqual(t, totp.NewSecret(), totp.NewSecret())
}

func TestRecovery(t *testing.T) {
	t.Parallel()
	codes, digests := totp.NewRecovery(10)
	require.Len(t, codes, 10)
	for n, code := range codes {
		require.Regexp(t, `^([a-z2-7]{4}-){3}[a-z2-7]{4}$`, code)
		require.Regexp(t, `^[0-9a-f]{64}$`, digests[n])
		for _, s := range []string{code, strings.ToUpper(code), strings.ReplaceAll(code, "-", ""), strings.ReplaceAll(code, "-", " ")} {
			at, ok := totp.FindRecovery(digests, s)
			require.True(t, ok)
			require.Equal(t, n, at)
		}
		_, ok := totp.FindRecovery(digests, code[1:])
		require.False(t, ok)
	}
	for _, bad := range []string{"", "-", digests[0], strings.Repeat("a", 1<<20)} {
		_, ok := totp.FindRecovery(digests, bad)
		require.False(t, ok)
	}
	_, ok := totp.FindRecovery(nil, codes[0])
	require.False(t, ok)
}

func FuzzCheck(f *testing.F) {
	f.Add("123456", []byte("secret"))
	f.Fuzz(func(t *testing.T, code string, secret []byte) {
		ok, err := totp.Checker{Scratch: pool.NewMemoryScratch()}.Check(t.Context(), "uma", secret, code, noon())
		require.NoError(t, err)
		if ok {
			require.Len(t, code, 6)
		}
		_, _ = totp.FindRecovery([]string{code}, code)
	})
}

func ExampleChecker() {
	c := totp.Checker{Scratch: pool.NewMemoryScratch()}
	secret, now := []byte("12345678901234567890"), time.Unix(59, 0)
	code := c.Params.Code(secret, now)
	fmt.Println(code)
	fmt.Println(c.Check(context.Background(), "ada", secret, code, now))
	fmt.Println(c.Check(context.Background(), "ada", secret, code, now))
	// Output:
	// 287082
	// true <nil>
	// false <nil>
}
