package openstack_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/hypervisortest"
	"github.com/berthage/berthage/hypervisor/openstack"
	"github.com/berthage/berthage/pool"
)

// order is one for a machine on the fake cloud.
func (f *fakeCloud) order(host pool.HostID, n int) hypervisor.Order {
	o := hypervisor.Order{
		Ref:  hypervisor.Ref{Host: host, Tag: hypervisor.Tag{Ledger: "l", Machine: pool.NewInstanceID("l", "p", fmt.Sprint(n)).Machine(0), Launched: 7}},
		Name: fmt.Sprintf("web-%d", n), Source: "debian-12", Revision: 9,
		Spec: pool.Spec{
			Image: "debian", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 512 * pool.MiB},
			Disks: []pool.Disk{{Size: pool.GiB}}, Guest: pool.Guest{User: "berth"},
		},
	}
	if host == "openstack/"+fakeRegion {
		o.Allocation = pool.Allocation{Shape: "c1.tiny"}
	}
	return o
}

// create makes a machine.
func (f *fakeCloud) created(d *openstack.Driver, host pool.HostID, n int) hypervisor.Order {
	f.t.Helper()
	o := f.order(host, n)
	require.NoError(f.t, d.Create(f.t.Context(), o))
	return o
}

// on lets the first requests of a method and path, up to most, be answered by answer.
func (f *fakeCloud) on(method, path string, most int, answer func(w http.ResponseWriter, r *http.Request)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.counts[method+" "+path]
	f.hook = func(r *http.Request, n int) func(http.ResponseWriter) {
		if r.Method != method || r.URL.Path != path || n-was > most {
			return nil
		}
		return func(w http.ResponseWriter) { answer(w, r) }
	}
}

// says is an answer with a code, a header and a message.
func says(code int, message string, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"fault": {"code": %d, "message": %q}}`, code, message)
	}
}

// cut closes the connection.
func cut(w http.ResponseWriter, _ *http.Request) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = c.Close()
	}
}

const always = 1 << 30

const (
	serversPath = "/compute/v2.1/servers"
	detailPath  = serversPath + "/detail"
	limitsPath  = "/compute/v2.1/limits"
)

func TestErrorsOfCreate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, path string
		answer       func(http.ResponseWriter, *http.Request)
		kind         error
		full         bool
	}{
		"quota":             {"POST", serversPath, says(403, "Quota exceeded for cores: Requested 1, but already used 100 of 100 cores"), hypervisor.ErrRefused, true},
		"policy":            {"POST", serversPath, says(403, "Policy doesn't allow os_compute_api:servers:create to be performed."), hypervisor.ErrRefused, false},
		"bad request":       {"POST", serversPath, says(400, "Invalid input for field/attribute name."), hypervisor.ErrInvalid, false},
		"image":             {"POST", serversPath, says(400, "Can not find requested image"), hypervisor.ErrRefused, false},
		"too large":         {"POST", serversPath, says(413, "Request is too large."), hypervisor.ErrInvalid, false},
		"too old":           {"POST", serversPath, says(406, "Version 2.74 is not supported by the API."), errors.ErrUnsupported, false},
		"server error":      {"POST", serversPath, says(500, "Unexpected API Error."), hypervisor.ErrUnknown, false},
		"gateway":           {"POST", serversPath, says(504, ""), hypervisor.ErrUnknown, false},
		"cut":               {"POST", serversPath, cut, hypervisor.ErrUnknown, false},
		"no id":             {"POST", serversPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); fmt.Fprint(w, `{}`) }, hypervisor.ErrUnknown, false},
		"broken off":        {"POST", serversPath, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202); fmt.Fprint(w, `{"server": {"i`) }, hypervisor.ErrUnknown, false},
		"looking fails":     {"GET", detailPath, says(500, "no"), hypervisor.ErrUnavailable, false},
		"looking is cut":    {"GET", detailPath, cut, hypervisor.ErrUnavailable, false},
		"a list without it": {"GET", detailPath, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) }, hypervisor.ErrUnavailable, false},
		"image lookup":      {"GET", "/image/v2/images", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"images": []}`) }, hypervisor.ErrRefused, false},
		"network lookup":    {"GET", "/network/v2.0/networks", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"networks": []}`) }, hypervisor.ErrRefused, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeCloud(t)
			d, host := f.driver()
			f.on(c.method, c.path, always, c.answer)
			err := d.Create(t.Context(), f.order(host, 1))
			require.ErrorIs(t, err, c.kind)
			require.Equal(t, c.full, errors.Is(err, hypervisor.ErrFull), "%v", err)
			require.Equal(t, c.kind != hypervisor.ErrUnknown, hypervisor.Nothing(err), "%v", err)
			require.Empty(t, f.servers)
		})
	}
}

// Whichever request of a create is carried out and not answered, or carried out twice, the machine is there once: what is
// lost is looked after, and of two servers of one request one goes.
func TestCreateIsMadeOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []hypervisortest.Disturbance{hypervisortest.CutAfter, hypervisortest.Twice} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f := newFakeCloud(t)
			between := &disturbed{next: http.DefaultTransport}
			d, host := f.driver(func(c *openstack.Config) { c.HTTP = between })
			_, err := d.Hosts(t.Context()) // logged in
			require.NoError(t, err)
			between.how = how(kind)
			o := f.order(host, 1)
			for n := 1; ; n++ {
				between.mu.Lock()
				between.left, between.hit = n, false
				between.mu.Unlock()
				require.NoError(t, d.Create(t.Context(), o), "request %d", n)
				require.Len(t, f.servers, 1, "request %d", n)
				hit := between.hit
				between.left = 0
				require.NoError(t, d.Destroy(t.Context(), o.Ref))
				if !hit {
					break
				}
			}
		})
	}
}

// What Nova accepts and finds no room for is removed; where it cannot be, it is shown with its fault.
func TestNoValidHost(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	f.full = true
	o := f.order(host, 1)
	err := d.Create(t.Context(), o)
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.ErrorIs(t, err, hypervisor.ErrFull)
	require.ErrorContains(t, err, "No valid host was found")
	require.Empty(t, f.servers)

	f.hook = func(r *http.Request, _ int) func(http.ResponseWriter) {
		if r.Method != "DELETE" {
			return nil
		}
		return func(w http.ResponseWriter) { says(409, "busy")(w, r) }
	}
	require.ErrorIs(t, d.Create(t.Context(), o), hypervisor.ErrUnknown)
	list, err := d.Machines(t.Context(), host)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, o.Ref, list[0].Ref)
	require.Equal(t, pool.Stopped, list[0].Power)
	require.Contains(t, list[0].Fault, "No valid host was found")
	require.True(t, list[0].Full)
	require.ErrorIs(t, d.Start(t.Context(), o.Ref), hypervisor.ErrRefused)
	f.hook = nil
	require.NoError(t, d.Destroy(t.Context(), o.Ref))
	require.Empty(t, f.servers)
}

// A token that has expired is renewed once, by whoever notices first.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	o := f.created(d, host, 1)
	require.NoError(t, d.Expire(t.Context()))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			_, err := d.Machines(context.Background(), host)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Equal(t, 2, f.logins)
	require.NoError(t, d.Expire(t.Context()))
	require.NoError(t, d.Destroy(t.Context(), o.Ref), "requests with a body and without are repeated")
	require.Equal(t, 3, f.logins)

	// A service that never likes the token is not asked for ever.
	f.on("GET", limitsPath, always, says(401, "no"))
	_, err := d.Hosts(t.Context())
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.Equal(t, 4, f.logins)
}

// A refused log-in is not repeated at once, and its error keeps the secret.
func TestRefusedLogin(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver(func(c *openstack.Config) {
		c.Cloud.ApplicationCredentialSecret = "wrong-secret-9876"
		c.Timeouts.Login = time.Minute
	})
	for range 3 {
		err := d.Create(t.Context(), f.order(host, 1))
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "wrong-secret-9876")
	}
	require.Equal(t, 1, f.logins)
}

// Requests that are turned away for their rate are repeated when the answer says, whatever they do: they have not been
// looked at.
func TestRateLimits(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]int{"now": 429, "before Newton": 413} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeCloud(t)
			d, host := f.driver()
			f.on("POST", serversPath, 2, says(code, "slow down", "Retry-After", "0"))
			f.created(d, host, 1)
			require.Equal(t, 3, f.count("POST "+serversPath))
			f.on("GET", limitsPath, 1, says(code, "slow down", "Retry-After", time.Now().Add(-time.Second).UTC().Format(http.TimeFormat)))
			_, err := d.Hosts(t.Context())
			require.NoError(t, err)
			f.on("POST", serversPath, always, says(code, "slow down", "Retry-After", "3600"))
			start := time.Now()
			err = d.Create(t.Context(), f.order(host, 2))
			require.ErrorIs(t, err, hypervisor.ErrUnavailable)
			require.True(t, hypervisor.Nothing(err))
			require.Less(t, time.Since(start), 30*time.Second)
			f.on("POST", serversPath, always, says(code, "slow down", "Retry-After", "0"))
			require.ErrorIs(t, d.Create(t.Context(), f.order(host, 2)), hypervisor.ErrUnavailable, "it does not go on for ever")
		})
	}
}

// What only reads is repeated when the service stumbles.
func TestReadsAreRepeated(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request){"503": says(503, ""), "cut": cut} {
		f.on("GET", detailPath, 1, answer)
		_, err := d.Machines(t.Context(), host)
		require.NoError(t, err, name)
	}
}

// A conflict means that the server is in another state than was seen: it is looked at again. A lock is somebody's will.
func TestConflicts(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	o := f.created(d, host, 1)
	ids, err := d.Servers(t.Context(), o.Machine)
	require.NoError(t, err)
	action := serversPath + "/" + ids[0] + "/action"
	for _, code := range []int{409, 404} {
		f.on("POST", action, 3, says(code, "Cannot 'os-stop' instance while it is in task_state x"))
		require.NoError(t, d.Stop(t.Context(), o.Ref))
		f.hook = nil
		require.NoError(t, d.Start(t.Context(), o.Ref))
	}
	f.on("POST", action, always, says(409, "Cannot 'os-stop' instance"))
	require.ErrorIs(t, d.Stop(t.Context(), o.Ref), hypervisor.ErrRefused)
	f.on("POST", action, always, says(409, "Instance x is locked"))
	was := f.count("POST " + action)
	require.ErrorIs(t, d.Stop(t.Context(), o.Ref), hypervisor.ErrRefused)
	require.Equal(t, was+1, f.count("POST "+action))
	f.on("POST", action, always, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) })
	err = d.Stop(t.Context(), o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrRefused, "a 202 is no proof")
	require.ErrorContains(t, err, "resize: Error", "what Nova's list of actions says of the last")
}

// What has been done in part is no refusal: a paused machine that could only be woken runs.
func TestHalfTheWay(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	o := f.created(d, host, 1)
	require.NoError(t, d.Suspend(t.Context(), o.Ref))
	for id := range f.servers {
		path, n := serversPath+"/"+id+"/action", f.count("POST "+serversPath+"/"+id+"/action")
		f.hook = func(r *http.Request, is int) func(http.ResponseWriter) {
			if r.URL.Path != path || is < n+2 {
				return nil
			}
			return func(w http.ResponseWriter) { w.WriteHeader(202) } // and does nothing
		}
	}
	err := d.Stop(t.Context(), o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrUnknown)
	require.False(t, hypervisor.Nothing(err))
	f.hook = nil
	require.NoError(t, d.Stop(t.Context(), o.Ref))
}

// A list is complete or an error, and the token goes to no other address than the catalogue's.
func TestLists(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver(func(c *openstack.Config) {
		c.HTTP = &disturbed{next: http.DefaultTransport, left: always, how: nil}
	})
	for n := range 5 {
		f.created(d, host, n)
	}
	list, err := d.Machines(t.Context(), host)
	require.NoError(t, err)
	require.Len(t, list, 5)
	for name, page := range map[string]string{
		"no list":            `{}`,
		"another's":          `{"flavors": []}`,
		"of another form":    `{"servers": {}}`,
		"cut short":          `{"servers": [`,
		"a server without":   `{"servers": [{"name": "x"}]}`,
		"negative sizes":     `{"servers": [{"id": "x", "status": "ACTIVE", "flavor": {"vcpus": -1}}]}`,
		"links without end":  `{"servers": [], "servers_links": [{"rel": "next", "href": "http://x/?limit=1000"}]}`,
		"a link to nowhere":  `{"servers": [], "servers_links": [{"rel": "next", "href": "http://x/"}]}`,
		"links of no form":   `{"servers": [], "servers_links": 7}`,
		"a page of a portal": `<html><body>Log in</body></html>`,
	} {
		f.on("GET", detailPath, always, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) })
		_, err := d.Machines(t.Context(), host)
		require.ErrorIs(t, err, hypervisor.ErrUnavailable, name)
	}
	f.on("GET", detailPath, always, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"servers": [`)
		for range 70 << 10 {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	})
	_, err = d.Machines(t.Context(), host)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
}

// Errors have the service's words, one line of them, and none of what must be kept secret.
func TestErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver()
	f.created(d, host, 1)
	f.on("GET", detailPath, always, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		fmt.Fprintf(w, "line one\nX-Auth-Token: %s, %s \x1b[31m %s", r.Header.Get("X-Auth-Token"), fakeSecret, strings.Repeat("x", 10_000))
	})
	_, err := d.Machines(t.Context(), host)
	require.Error(t, err)
	for _, no := range []string{"token-1-", fakeSecret, "\n", "\x1b"} {
		require.NotContains(t, err.Error(), no)
	}
	require.Contains(t, err.Error(), "line one")
	require.Less(t, len(err.Error()), 800)
}

// A redirect is an error: it would carry the token along.
func TestRedirectsAreRefused(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Header.Get("X-Auth-Token") }))
	defer other.Close()
	f := newFakeCloud(t)
	d, host := f.driver()
	f.on("GET", detailPath, always, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	_, err := d.Machines(t.Context(), host)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.Empty(t, asked)
}

// A service that never answers does not hold a call beyond its time, nor one beyond its context.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	f := newFakeCloud(t)
	d, host := f.driver(func(c *openstack.Config) { c.Timeouts.Call = 50 * time.Millisecond })
	f.created(d, host, 1)
	silent := func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(5 * time.Second):
		}
	}
	f.on("GET", detailPath, always, silent)
	_, err := d.Machines(t.Context(), host)
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.NotErrorIs(t, err, context.DeadlineExceeded, "it is not the caller's")

	slow, host := f.driver(func(c *openstack.Config) { c.Timeouts.Call = time.Minute })
	for _, path := range []string{detailPath, "/identity/v3/auth/tokens"} {
		method := map[bool]string{true: "GET", false: "POST"}[path == detailPath]
		if method == "POST" {
			slow, host = f.driver(func(c *openstack.Config) { c.Timeouts.Call = time.Minute })
		}
		f.on(method, path, always, silent)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err = slow.Machines(ctx, host)
		cancel()
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}

// canned answers every list of servers with the same bytes, and everything else as the fake cloud does.
type canned struct {
	next http.RoundTripper
	body []byte
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != detailPath {
		return c.next.RoundTrip(r)
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(c.body)), Request: r}, nil
}

// Whatever a service answers, it is an error or a list of machines that can be booked.
func FuzzMachines(f *testing.F) {
	f.Add([]byte(`{"servers": [{"id": "x", "status": "ACTIVE", "flavor": {"vcpus": 1, "ram": 512}, "metadata": {"berthage-launched": "7"}, "addresses": {"n": [{"addr": "::1"}]}}]}`))
	f.Add([]byte(`{"servers": [], "servers_links": [{"rel": "next", "href": "?a=b"}]}`))
	f.Add([]byte(`{"servers": null}`))
	c := &canned{next: http.DefaultTransport}
	d, host := newFakeCloud(f).driver(func(config *openstack.Config) { config.HTTP = c })
	f.Fuzz(func(t *testing.T, body []byte) {
		c.body = body
		list, err := d.Machines(t.Context(), host)
		if err != nil {
			require.ErrorIs(t, err, hypervisor.ErrUnavailable)
			return
		}
		for _, m := range list {
			require.NotEmpty(t, m.Native)
			require.NoError(t, m.Resources.Valid())
			require.Contains(t, []pool.Power{pool.Running, pool.Stopped, pool.Suspended, pool.Hibernated}, m.Power)
		}
		hosts, err := d.Hosts(t.Context())
		if err == nil {
			_, err = hosts[0].Normalize()
		}
		require.NoError(t, err)
	})
}
