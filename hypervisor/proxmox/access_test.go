package proxmox_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
)

// The server's certificate is checked, and nobody who cannot be trusted is told the token.
func TestTLS(t *testing.T) {
	t.Parallel()
	s, other := cluster(t), cluster(t)
	for name, ca := range map[string][]byte{"the system's": nil, "another cluster's": other.CA()} {
		c := settings(t, s)
		c.CA = ca
		d := open(t, c)
		_, err := d.Hosts(t.Context())
		require.ErrorIs(t, err, hypervisor.ErrUnavailable, name)
		require.ErrorContains(t, err, "certificate", name)
		require.ErrorIs(t, d.Create(t.Context(), numbered(1, "proxmox/pve1")), hypervisor.ErrUnavailable, name)
	}
	require.Empty(t, s.Requests())
}

// One log-in serves many calls; a session that the server has forgotten is made anew, and no change is sent twice for it.
func TestTickets(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	c := settings(t, s)
	c.Token = ""
	c.User, c.Password = s.User()
	d := open(t, c)
	logins := func() (n, starts int) {
		for _, r := range s.Requests() {
			switch {
			case r.Path == "/access/ticket":
				n++
				require.NotContains(t, r.Params, c.Password)
			case strings.HasSuffix(r.Path, "/start") && r.Status == 200:
				starts++
			}
		}
		return n, starts
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := d.Hosts(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n, _ := logins()
	require.Equal(t, 1, n)
	o := numbered(1, "proxmox/pve1")
	require.NoError(t, d.Create(t.Context(), o))
	s.ExpireTickets()
	require.NoError(t, d.Start(t.Context(), o.Ref))
	n, starts := logins()
	require.Equal(t, 1, n)
	require.Equal(t, 1, starts)
}

// A password or token that is refused is not tried again and again, and stands in no error and no log.
func TestWrongSecrets(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	var logged bytes.Buffer
	var mu sync.Mutex
	c := settings(t, s)
	c.Logger = slog.New(slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logged.Write(p)
	}), &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.Token = "root@pam!sdk=" + secret
	d := open(t, c)
	_, err := d.Hosts(t.Context())
	require.ErrorIs(t, err, hypervisor.ErrUnavailable)
	require.ErrorContains(t, err, "Authentication failed!")
	require.NotContains(t, err.Error(), secret)
	require.ErrorIs(t, d.Create(t.Context(), numbered(1, "proxmox/pve1")), hypervisor.ErrUnavailable)

	c.Token, c.User, c.Password = "", "root@pam", secret
	d = open(t, c)
	s.Requests()
	for range 5 {
		_, err := d.Hosts(t.Context())
		require.ErrorIs(t, err, hypervisor.ErrUnavailable)
		require.NotContains(t, err.Error(), secret)
	}
	require.Len(t, s.Requests(), 1, "a server may block who tries again and again")
	require.NotContains(t, logged.String(), secret)
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// What the client library does wrong, by the numbers of our list, and that the driver does not. Should a newer version of the
// library do better, the first half of the row fails.
func TestLibrary(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s))
	o := numbered(1, "proxmox/pve1")
	require.NoError(t, d.Create(t.Context(), o))
	config := "/nodes/pve1/qemu/100/config"
	body := map[string]any{"cores": 2}
	bare := bareLibrary(t, s)

	// 1: an answer that is no answer of the API is success.
	for _, status := range []int{404, 502, 503, 595, 596, 599} {
		s.Inject(pvetest.Fault{Method: "PUT", Path: "/config", Status: status})
		require.NoError(t, bare.Put(t.Context(), config, body, nil), status)
		s.Inject(pvetest.Fault{Method: "PUT", Path: "/config", Status: status})
		require.Error(t, d.Change(t.Context(), "PUT", config, body), status)
	}
	// 1: a task that was not begun is none.
	s.Inject(pvetest.Fault{Method: "POST", Path: "/start", Null: true})
	require.ErrorIs(t, d.Start(t.Context(), o.Ref), hypervisor.ErrUnknown)
	// 2: the text of a right that is missing is lost.
	token := s.AddToken("few@pve!x", map[string][]string{"/vms": {"VM.Audit"}})
	few := bareLibrary(t, s, token)
	require.NotContains(t, few.Put(t.Context(), config, body, nil).Error(), "VM.Config")
	c := settings(t, s)
	c.Token = token
	require.ErrorContains(t, open(t, c).Change(t.Context(), "PUT", config, body), "Permission check failed (/vms/100, VM.Config")
	// 4: a task that has failed is success. 5: one with warnings is none.
	s.Inject(pvetest.Fault{Task: "qmstart", TaskFails: "no"}, pvetest.Fault{Task: "qmstart", Warnings: 1})
	require.Error(t, d.Do(t.Context(), "POST", "/nodes/pve1/qemu/100/status/start", nil))
	require.NoError(t, d.Do(t.Context(), "POST", "/nodes/pve1/qemu/100/status/start", nil))
	require.Zero(t, s.Pending())
}
