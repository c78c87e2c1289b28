package access_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/problem"
)

// An address does ten at once, and then one in six seconds; others are not concerned.
func TestKnocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := access.Knocks{What: "log-ins"}
		take := func(from string) error {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
			r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(from), 7).String()
			return k.Take(r)
		}
		refused := func(err error) {
			t.Helper()
			var p *problem.Problem
			require.ErrorAs(t, err, &p)
			require.Equal(t, http.StatusTooManyRequests, p.Status)
			require.Contains(t, p.Detail, "too many log-ins")
			require.InDelta(t, 6, p.RetryAfter, 1)
		}
		for range 10 {
			require.NoError(t, take("2001:db8::1"))
		}
		for range 3 { // and what is refused prolongs nothing
			refused(take("2001:db8::2%eth0"))
		}
		require.NoError(t, take("2001:db8:0:1::1"))
		require.NoError(t, take("192.0.2.7"))
		time.Sleep(6 * time.Second)
		require.NoError(t, take("2001:db8::1"))
		refused(take("2001:db8::1"))
		time.Sleep(time.Hour)
		for range 10 {
			require.NoError(t, take("2001:db8::1"))
		}
		refused(take("2001:db8::1"))
		for n := range 4200 { // many addresses are forgotten in part, and still served
			require.NoError(t, take(netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}).String()))
		}
	})
}
