package browser_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// chromium returns the browser's program.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("BERTHD_BROWSER"), "chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Skip("NOT RUN: the dashboard in a browser: no Chromium was found (BERTHD_BROWSER names one)")
	return ""
}

// serve runs a daemon with a simulated fleet until the test ends.
func serve(t *testing.T, hosts int) *daemon.Daemon { t.Helper(); return shaped(t, hosts, nil) }

// shaped is serve with a fleet of a certain shape.
func shaped(t *testing.T, hosts int, fleet func(*fake.Config), edits ...func(*config.Config)) *daemon.Daemon {
	t.Helper()
	c := config.Default()
	c.Listen, c.Data, c.Simulate, c.Poll = "127.0.0.1:0", t.TempDir(), hosts, time.Second
	c.SimBuild, c.SimBoot = 150*time.Millisecond, 150*time.Millisecond
	for _, edit := range edits {
		edit(&c)
	}
	d, err := daemon.Open(context.Background(), c, daemon.Options{Logger: slog.New(slog.DiscardHandler), Fleet: fleet})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	eventually(t, func() bool {
		return count(d, func(st *pool.State) int { return st.HostCount() }) == hosts && d.URL() != ""
	}, "the fleet")
	return d
}

// eventually waits until something is so.
func eventually(t *testing.T, ok func() bool, what string) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(25 * time.Millisecond) {
		require.Less(t, time.Since(began), time.Minute, "it has not happened: %s", what)
	}
}

func count(d *daemon.Daemon, of func(*pool.State) int) (n int) {
	d.Manager().View(func(st *pool.State) { n = of(st) })
	return n
}

// fill launches n instances of several roles and sizes, spread as those of a fleet in use are. What was
// launched before is not launched again.
func fill(t *testing.T, d *daemon.Daemon, n int) {
	t.Helper()
	roles := []string{"web", "api", "db", "cache", "worker", "build", "queue", "search"}
	images := []string{"ubuntu-24.04", "debian-12", "rocky-9", "rhel-9", "ubuntu-22.04", "oracle-8.10"}
	m := d.Manager().As("browser test", "fill")
	var wg sync.WaitGroup
	for k := range n {
		name := fmt.Sprintf("%s-%d", roles[k%len(roles)], k/len(roles)+1)
		if k >= 300 {
			name = fmt.Sprintf("late-%d", k)
		}
		wg.Go(func() {
			for try := range 20 {
				err := launch(m, name, pool.Spec{
					Image:       images[k%len(images)],
					Constraints: pool.Constraints{Hosts: []pool.HostID{pool.HostID(fmt.Sprintf("sim/node-%04d", (k*k*7+try*29)%130+1))}},
					Resources:   pool.Resources{pool.CPU: []int64{2, 4, 8, 16}[k%4] * pool.Core, pool.Memory: []int64{4, 8, 16, 24, 32}[k/4%5] * pool.GiB},
					Disks:       []pool.Disk{{Size: []int64{200, 400, 800}[k%3] * pool.GiB, Storage: []pool.Storage{pool.SSD, pool.SSD, pool.NVMe, pool.Standard}[(k+try)%4]}},
				})
				if err == nil {
					return
				}
			}
			t.Errorf("no place for %s", name)
		})
	}
	wg.Wait()
	eventually(t, func() bool {
		s := status(d)
		return s["building"] == 0 && s["running"]+s["stopped"]+s["suspended"] == n
	}, "the fleet")
}

func launch(m *berthage.Manager, name string, s pool.Spec) error {
	_, err := m.Launch(context.Background(), berthage.Launch{Token: name, Project: "default", Name: name, Spec: s})
	if errors.Is(err, pool.ErrExists) { // launched before, with another placement constraint
		return nil
	}
	return err
}

// status counts instances by status, as the books have them.
func status(d *daemon.Daemon) map[string]int {
	out := make(map[string]int)
	d.Manager().View(func(st *pool.State) {
		for i := range st.Instances() {
			out[i.Status()]++
		}
	})
	return out
}

// browser is a tab.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	messages []string // of its console: errors and warnings
}

// open starts a browser with nothing in it.
func open(t *testing.T, width, height int, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.NoFirstRun, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-background-networking", true), chromedp.WindowSize(width, height))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	console := chromedp.Console(ctx)
	go func() {
		for m, err := range console {
			if err != nil {
				return
			}
			if m.Type == "error" || m.Type == "warning" || m.Type == chromedp.ConsoleException {
				b.mu.Lock()
				b.messages = append(b.messages, m.Text)
				b.mu.Unlock()
			}
		}
	}()
	b.do(chromedp.EmulateViewport(int64(width), int64(height)))
	return b
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, steps...))
}

// eval evaluates an expression in the page.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	require.NoError(b.t, err, js)
	return v
}

// until waits until an expression is true. While the page is on its way to another one it is not.
func (b *browser) until(js string) {
	b.t.Helper()
	eventually(b.t, func() bool {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("Boolean("+js+")"))
		if err != nil && strings.Contains(err.Error(), "navigated or closed") {
			return false
		}
		require.NoError(b.t, err, js)
		return ok
	}, js)
}

func (b *browser) click(css string) { b.t.Helper(); b.do(chromedp.Click(chromedp.CSS(css))) }

// visit opens an address and waits until the fleet is shown.
func (b *browser) visit(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
	b.until(`document.body.dataset.loaded && document.querySelector("#live").dataset.state === "live"`)
}

// clean requires that the console has shown nothing but what is expected.
func (b *browser) clean(expected ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.messages {
		ok := false
		for _, e := range expected {
			ok = ok || strings.Contains(m, e)
		}
		require.True(b.t, ok, "the console says: %s", m)
	}
}

func (b *browser) screenshot(name string) {
	b.t.Helper()
	if name == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(name, png, 0o644))
}

// api asks the API, as the token's bearer.
func api(t *testing.T, d *daemon.Daemon, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, d.URL()+path, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+d.Token())
	res, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	t.Cleanup(func() { res.Body.Close() })
	return res
}
