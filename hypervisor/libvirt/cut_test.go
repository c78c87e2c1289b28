package libvirt_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/libvirt"
)

// proxy stands before a daemon's socket. While budget is positive, bytes that pass in either direction are taken
// from it, and the connection on which it runs out is cut.
func proxy(t *testing.T, uri string, budget *atomic.Int64) string {
	t.Helper()
	u, err := url.Parse(uri)
	require.NoError(t, err)
	behind := u.Query().Get("socket")
	dir, err := os.MkdirTemp("", "lv")
	require.NoError(t, err)
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = l.Close()
		_ = os.RemoveAll(dir)
	})
	pass := func(to, from net.Conn) {
		defer to.Close()
		defer from.Close()
		buf := make([]byte, 64)
		for {
			n, err := from.Read(buf)
			if left := budget.Load(); left > 0 && budget.Add(int64(-n)) <= 0 {
				return
			}
			if _, e := to.Write(buf[:n]); e != nil || err != nil {
				return
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("unix", behind)
			if err != nil {
				_ = c.Close()
				continue
			}
			go pass(up, c)
			go pass(c, up)
		}
	}()
	u.RawQuery = url.Values{"socket": {socket}}.Encode()
	return u.String()
}

// TestCuts lets connections to a real daemon break at random places in lives of machines, and holds that every call
// can be repeated until it has succeeded, that there never are two machines, and that nothing is left at the end.
func TestCuts(t *testing.T) {
	u := uris(t, "qemu+", 1)[0]
	image := guestImage(t)
	var budget atomic.Int64
	d := open(t, libvirt.Config{
		Hosts:    []libvirt.HostConfig{{Name: "h1", URI: proxy(t, u, &budget), VirtType: virtType()}},
		Timeouts: libvirt.Timeouts{Shutdown: time.Second},
	})
	before, err := d.Traces(t.Context(), oneHost)
	require.NoError(t, err)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	cuts, kinds := 0, make(map[string]int)
	// until repeats a call whose connection may be cut.
	until := func(what string, call func(context.Context) error) {
		budget.Store(1 + random.Int64N(map[string]int64{"create": 60_000, "start": 3000, "destroy": 6000}[what]))
		for try := 0; ; try++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := call(ctx)
			cancel()
			if err == nil || what == "create" && errors.Is(err, hypervisor.ErrExists) && try > 0 {
				break
			}
			cuts++
			require.True(t, errors.Is(err, hypervisor.ErrUnknown) || errors.Is(err, hypervisor.ErrUnavailable), "%s: %v", what, err)
			kinds[what]++
			require.Less(t, try, 5)
			budget.Store(0)
		}
		budget.Store(0)
		list, err := d.Machines(t.Context(), oneHost)
		require.NoError(t, err)
		ours := 0
		for _, m := range list {
			if strings.HasPrefix(m.Ledger, "ledger-") {
				ours++
			}
		}
		require.LessOrEqual(t, ours, 1)
	}
	for range 60 {
		o := ordered("web-1")
		o.Source = "file:" + image
		until("create", func(ctx context.Context) error { return d.Create(ctx, o) })
		if random.IntN(8) == 0 {
			until("start", func(ctx context.Context) error { return d.Start(ctx, o.Ref) })
		}
		until("destroy", func(ctx context.Context) error { return d.Destroy(ctx, o.Ref) })
	}
	after, err := d.Traces(t.Context(), oneHost)
	require.NoError(t, err)
	require.ElementsMatch(t, before, after)
	t.Logf("%d calls were cut: %v (load %s)", cuts, kinds, load())
	require.Greater(t, cuts, 10)
}
