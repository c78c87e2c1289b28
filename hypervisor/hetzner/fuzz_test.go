package hetzner_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/pool"
)

// answers gives every request the same answer.
type answers struct {
	status int
	body   string
}

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: a.status, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

// Whatever a service answers, calls end with their contexts, do not panic, and do not take nonsense for a machine.
func FuzzAnswers(f *testing.F) {
	const page = `"meta": {"pagination": {"page": 1, "per_page": 50, "total_entries": 1}}`
	for _, s := range []string{
		"", "null", "[]", "{}", `{"error": {"code": "not_found", "message": "x"}}`, `{"error": {"code": "uniqueness_error"}}`, `{"error": {"code": "invalid_input", "details": {"fields": [{"name": "n"}]}}}`,
		`{"servers": [{}], ` + page + `}`, `{"servers": [null], ` + page + `}`, `{"server": {"id": 1, "status": "off"}, "action": {"status": "success"}}`,
		`{"servers": [{"id": 1, "name": "x", "status": "running", "location": {"name": "fsn1"}, "server_type": {"cores": -1, "memory": 1e30, "disk": -5},
			"labels": {"berthage-machine": "x", "berthage-host": "fsn1"}, "public_net": {"ipv4": {"ip": "::"}, "ipv6": {"ip": "1.2.3.4/8"}}}], ` + page + `}`,
		`{"locations": [{"id": 1, "name": "fsn1"}], "server_types": [{"id": 1, "name": "a", "architecture": "x86", "cores": 9000000000000000000, "memory": 1e38, "disk": 9000000000000000000,
			"locations": [{"name": "fsn1"}], "prices": [{"location": "fsn1", "price_hourly": {"net": "1e9"}}]}], "servers": [], "volumes": [], "pricing": {}, ` + page + `}`,
		`{"volumes": [{"id": 1, "size": -1, "labels": {}}], ` + page + `}`, `{"images": [{"id": 1}], ` + page + `}`, `{"action": {"id": 1, "status": "running"}}`,
	} {
		for _, status := range []int{200, 201, 204, 404, 409, 423, 503} {
			f.Add(status, s)
		}
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		d, err := hetzner.New(hetzner.Config{
			Token: "t", Locations: []hetzner.LocationConfig{{Location: "fsn1", Servers: 1, VolumeSpace: pool.TiB}}, Transport: answers{100 + (status%500+500)%500, body},
			Timeouts: hetzner.Timeouts{Poll: 100 * time.Microsecond, Shutdown: time.Millisecond, Locked: time.Millisecond, Undo: time.Millisecond},
		})
		require.NoError(t, err)
		o := placed(order("debian-12"), "fsn1", 0)
		for _, call := range []func(context.Context) error{
			func(ctx context.Context) error {
				hosts, err := d.Hosts(ctx)
				for _, h := range hosts {
					_, e := h.Normalize()
					require.NoError(t, e)
				}
				return err
			},
			func(ctx context.Context) error {
				list, err := d.Machines(ctx, o.Host)
				for _, m := range list {
					require.NotEqual(t, o.Tag, m.Tag)
				}
				return err
			},
			func(ctx context.Context) error { _, err := d.Sample(ctx, o.Host); return err },
			func(ctx context.Context) error { return d.Create(ctx, o) },
			func(ctx context.Context) error { return d.Start(ctx, o.Ref) },
			func(ctx context.Context) error { return d.Shelve(ctx, o.Ref) },
			func(ctx context.Context) error { return d.Discard(ctx, o.Ref) },
			func(ctx context.Context) error { return d.Destroy(ctx, o.Ref) },
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
			_ = call(ctx)
			cancel()
		}
	})
}
