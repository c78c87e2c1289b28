package hetzner_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hetzner"
	"github.com/berthage/berthage/hypervisor/hetzner/hetznertest"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/internal/openapi"
	"github.com/berthage/berthage/pool"
)

// description is the OpenAPI description of the Cloud API, hcloud-openapi.json.gz in the directory that BERTHAGE_DATA
// names, or else in shared/data beside the repository. Without it nobody judges what is sent and answered but the
// tables of this package's own tests, and TestJudge says so loudly, once for all.
func description(t *testing.T) hetznertest.Judge {
	t.Helper()
	d, err := onceDescription()
	require.NoError(t, err)
	if d == nil {
		return nil
	}
	return d
}

// onceDescription reads it once for all tests.
var onceDescription = sync.OnceValues(readDescription)

func readDescription() (*openapi.Document, error) {
	dir := os.Getenv("BERTHAGE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "data")
	}
	f, err := os.Open(filepath.Join(dir, "hcloud-openapi.json.gz"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return openapi.Read(z)
}

// cloud starts a simulated service whose requests and answers are judged.
func cloud(t *testing.T, c hetznertest.CloudConfig) *hetznertest.Cloud {
	t.Helper()
	if c.Judge == nil {
		c.Judge = description(t)
	}
	if c.Token == "" {
		c.Token = secretToken
	}
	if c.PerHour == 0 {
		c.PerHour = 1 << 30 // or a test of thousands of requests would wait for its budget
	}
	f := hetznertest.NewCloud(c)
	t.Cleanup(func() {
		f.Close()
		require.Empty(t, f.Violations())
	})
	return f
}

// secretToken must not be seen anywhere.
const secretToken = "token-that-nobody-must-see"

// config is a driver's for a simulated service: two locations, fast.
func config(t *testing.T, f *hetznertest.Cloud) hetzner.Config {
	return hetzner.Config{
		Token: f.Token(), Endpoint: f.Endpoint(),
		Locations: []hetzner.LocationConfig{
			{Location: "fsn1", Servers: 10, VolumeSpace: pool.TiB},
			{Location: "nbg1", Servers: 10, VolumeSpace: pool.TiB},
		},
		Timeouts: hetzner.Timeouts{Poll: 2 * time.Millisecond, Shutdown: 100 * time.Millisecond, Settle: 50 * time.Millisecond, Metrics: time.Nanosecond,
			Locked: 2 * time.Second, Undo: 5 * time.Second},
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func open(t *testing.T, c hetzner.Config) *hetzner.Driver {
	t.Helper()
	d, err := hetzner.New(c)
	require.NoError(t, err)
	return d
}

// order is a small machine.
func order(source string) hypervisor.Order {
	return hypervisor.Order{
		Source: source,
		Image:  pool.Image{Name: "debian-12", User: "debian"},
		Spec: pool.Spec{
			Image:     "debian-12",
			Resources: pool.Resources{pool.CPU: 2 * pool.Core, pool.Memory: 4 * pool.GiB},
			Disks:     []pool.Disk{{Size: 10 * pool.GiB}},
			Guest:     pool.Guest{User: "debian"},
		},
	}
}

// name is that of the server of a machine.
func name(r hypervisor.Ref) string { return string(r.Machine) + "-" + r.Host.Native() }

func abilities() []hypervisor.Ability {
	return []hypervisor.Ability{hypervisor.CanAttachDisk, hypervisor.CanMeter, hypervisor.CanReboot, hypervisor.CanResize, hypervisor.CanShelve}
}

func setup(t *testing.T, f *hetznertest.Cloud, c hetzner.Config) hypervisortest.Setup {
	return hypervisortest.Setup{
		Name: "hetzner", Driver: open(t, c), Hosts: []pool.HostID{"hetzner/fsn1", "hetzner/nbg1"},
		Order: order("debian-12"), BadSource: "no-such-image", Abilities: abilities(),
		ExtraDisk: pool.Disk{Size: 12 * pool.GiB, Storage: pool.SSD},
		Timeout:   20 * time.Second,
		Untagged: func(_ context.Context, r hypervisor.Ref) (func() error, error) {
			if err := f.AddServer(name(r), r.Host.Native(), "small", map[string]string{"theirs": "yes"}); err != nil {
				return nil, err
			}
			return func() error { return f.RemoveServer(name(r)) }, nil
		},
		Disturb: func(d hypervisortest.Disturbance, n int) func() bool {
			x := hetznertest.Fault{Skip: n - 1}
			switch d {
			case hypervisortest.CutBefore:
				x.Before = true
			case hypervisortest.CutAfter:
				x.After = true
			case hypervisortest.Delayed:
				x.Delay = 100 * time.Millisecond
			case hypervisortest.Twice:
				x.Again = true
			}
			hits := f.Fail(x)
			return func() bool {
				f.Heal()
				return hits() > 0
			}
		},
		Reopen: func(context.Context) (hypervisor.Driver, error) { return hetzner.New(c) },
		Traces: func(_ context.Context, id pool.HostID) ([]string, error) { return f.Billed(), nil },
		Content: func(_ context.Context, r hypervisor.Ref) (string, error) {
			for _, s := range f.Servers() {
				if s.Name == name(r) {
					return s.Content, nil
				}
			}
			return "", errors.New("no such server")
		},
	}
}

// The judge is one: a request and an answer that the description does not have are told.
func TestJudge(t *testing.T) {
	t.Parallel()
	judge := description(t)
	if judge == nil {
		const why = "no hcloud-openapi.json.gz in BERTHAGE_DATA, so that nothing was judged by the service's OpenAPI description in any test of this package"
		fmt.Printf("NOT RUN: %s: %s\n", t.Name(), why)
		t.Skip("not run: " + why)
	}
	f := hetznertest.NewCloud(hetznertest.CloudConfig{Judge: judge})
	defer f.Close()
	for body, field := range map[string]string{
		`{"name": "a", "server_type": "small", "image": "debian-12", "colour": "red"}`:                "colour",
		`{"name": "a", "server_type": 1, "image": "debian-12"}`:                                       "server_type",
		`{"name": "a", "image": "debian-12"}`:                                                         "server_type",
		`{"name": "a", "server_type": "small", "image": "debian-12", "labels": {"a": "not a value"}}`: "labels",
	} {
		before := len(f.Violations())
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.Endpoint()+"/servers", strings.NewReader(body))
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer "+f.Token())
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusUnprocessableEntity, resp.StatusCode)
		require.Len(t, f.Violations(), before+1)
		require.Contains(t, f.Violations()[before], field)
	}
	require.Error(t, judge.Response(http.MethodGet, "/servers", 200, []byte(`{"servers": []}`)))
	require.Error(t, judge.Request(http.MethodGet, "/servers", url.Values{"colour": {"red"}}, nil))
	require.Empty(t, f.Billed())
}

func TestConformance(t *testing.T) {
	t.Parallel()
	f := cloud(t, hetznertest.CloudConfig{ActionTime: 3 * time.Millisecond, ShutdownTime: 5 * time.Millisecond})
	report := hypervisortest.Run(t, setup(t, f, config(t, f)))
	for _, r := range report.Results {
		if r.Outcome == hypervisortest.NotOffered {
			require.Contains(t, "not-offered suspend suspended-ends hibernate migrate migrate-refused migrate-running snapshots revert images watch "+
				"console-log display fence", r.Name)
		}
	}
}

// Guests that obey nobody, a service that starts what it has resized, takes its time and loses every seventh answer to
// a question.
func TestConformanceOfABadDay(t *testing.T) {
	t.Parallel()
	f := cloud(t, hetznertest.CloudConfig{ActionTime: 10 * time.Millisecond, Deaf: true, StartsAfterResize: true})
	lost := f.Fail(hetznertest.Fault{Method: "GET", Every: 7, Times: -1, After: true})
	s := setup(t, f, config(t, f))
	s.Disturb = nil // the day is disturbed enough
	s.Content = nil // a guest that was started has written on its disk
	report, err := hypervisortest.Check(t.Context(), s)
	require.NoError(t, err)
	require.NoError(t, report.Err())
	require.Greater(t, lost(), 20)
}
