package edge_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/edge"
)

// Nobody but a proxy that is trusted says where a request comes from.
func TestWhereRequestsComeFrom(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, tc := range map[string]struct {
		peer    string
		headers []string
		trusted []netip.Prefix
		want    string
	}{
		"nobody is trusted":     {"10.0.0.1:5", []string{"192.0.2.1"}, nil, "10.0.0.1:5"},
		"no proxy":              {"198.51.100.1:5", []string{"192.0.2.1"}, proxies, "198.51.100.1:0"},
		"a proxy":               {"10.0.0.1:5", []string{"192.0.2.1"}, proxies, "192.0.2.1:0"},
		"of IPv6":               {"[fd00::1]:5", []string{"2001:db8::1"}, proxies, "[2001:db8::1]:0"},
		"mapped":                {"[::ffff:10.0.0.1]:5", []string{"::ffff:192.0.2.1"}, proxies, "192.0.2.1:0"},
		"two proxies":           {"10.0.0.1:5", []string{"192.0.2.1, 10.0.0.2"}, proxies, "192.0.2.1:0"},
		"two headers":           {"10.0.0.1:5", []string{"192.0.2.1", "10.0.0.2"}, proxies, "192.0.2.1:0"},
		"forged before it":      {"10.0.0.1:5", []string{"203.0.113.9, 192.0.2.1"}, proxies, "192.0.2.1:0"},
		"forged as a proxy's":   {"10.0.0.1:5", []string{"203.0.113.9, 10.0.0.9, 192.0.2.1"}, proxies, "192.0.2.1:0"},
		"says nothing":          {"10.0.0.1:5", nil, proxies, "10.0.0.1:0"},
		"says no address":       {"10.0.0.1:5", []string{"192.0.2.1, unknown"}, proxies, "10.0.0.1:0"},
		"all of them proxies":   {"10.0.0.1:5", []string{"10.0.0.3, 10.0.0.2"}, proxies, "10.0.0.3:0"},
		"no address of network": {"@", []string{"192.0.2.1"}, proxies, "@"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tc.peer
			r.Header["X-Forwarded-For"] = tc.headers
			var got string
			h := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr })
			edge.Handler(h, edge.Config{Logger: slog.New(slog.DiscardHandler), Observer: &seen{}, Proxies: tc.trusted}).ServeHTTP(httptest.NewRecorder(), r)
			require.Equal(t, tc.want, got)
			require.Equal(t, tc.peer, r.RemoteAddr)
		})
	}
}
