package openstack_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/pool"
)

// config is that of a driver for the fake cloud.
func (f *fakeCloud) config(mode openstack.Mode) openstack.Config {
	return openstack.Config{
		Cloud: f.cloud(), Mode: mode, Logger: logger(f.t),
		Networks: map[string]string{"net": "net0"}, Network: "net",
		Settles:  100 * time.Millisecond,
		Timeouts: openstack.Timeouts{Poll: 2 * time.Millisecond, Call: 10 * time.Second, Wait: 20 * time.Second, Login: time.Millisecond},
	}
}

// driver returns a driver for the fake cloud and its first host.
func (f *fakeCloud) driver(change ...func(*openstack.Config)) (*openstack.Driver, pool.HostID) {
	f.t.Helper()
	c := f.config(openstack.Region)
	for _, ch := range change {
		ch(&c)
	}
	d, err := openstack.New(c)
	require.NoError(f.t, err)
	if c.Mode == openstack.Hypervisors {
		return d, "openstack/node1"
	}
	return d, "openstack/" + fakeRegion
}

// errCut is what a cut connection gives.
var errCut = errors.New("connection reset by peer")

// how makes a disturbance of the suite's.
func how(d hypervisortest.Disturbance) func(http.RoundTripper, *http.Request) (*http.Response, error) {
	drop := func(resp *http.Response, err error) {
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	}
	return func(next http.RoundTripper, r *http.Request) (*http.Response, error) {
		again := func() *http.Request {
			c := r.Clone(r.Context())
			if r.GetBody != nil {
				c.Body, _ = r.GetBody()
			}
			return c
		}
		switch d {
		case hypervisortest.CutBefore:
			return nil, errCut
		case hypervisortest.CutAfter:
			drop(next.RoundTrip(r))
			return nil, errCut
		case hypervisortest.Delayed:
			time.Sleep(20 * time.Millisecond)
			return next.RoundTrip(r)
		}
		resp, err := next.RoundTrip(r)
		drop(next.RoundTrip(again()))
		return resp, err
	}
}

func fakeSetup(t *testing.T, mode openstack.Mode) hypervisortest.Setup {
	f := newFakeCloud(t)
	c := f.config(mode)
	c.Diagnostics = true
	c.CreateFlavors = mode == openstack.Hypervisors
	between := &disturbed{next: http.DefaultTransport}
	c.HTTP = between
	s := setup(t, c, "openstack fake "+string(mode), "debian-12")
	s.Disturb = func(d hypervisortest.Disturbance, n int) func() bool {
		between.mu.Lock()
		defer between.mu.Unlock()
		between.left, between.how, between.hit = n, how(d), false
		return func() bool {
			between.mu.Lock()
			defer between.mu.Unlock()
			between.how = nil
			return between.hit
		}
	}
	s.Timeout = 20 * time.Second
	s.ImageBoots = true
	s.Reopen = func(context.Context) (hypervisor.Driver, error) { return openstack.New(c) }
	return s
}

// The suite on the fake cloud, with every request of a call disturbed in turn.
func TestConformanceFakeRegion(t *testing.T) {
	t.Parallel()
	s := fakeSetup(t, openstack.Region)
	s.Abilities = regionAbilities()
	hypervisortest.Run(t, s)
}

func TestConformanceFakeHypervisors(t *testing.T) {
	t.Parallel()
	s := fakeSetup(t, openstack.Hypervisors)
	s.Abilities = hypervisorAbilities()
	hypervisortest.Run(t, s)
}
