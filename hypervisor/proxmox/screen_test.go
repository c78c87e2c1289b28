package proxmox_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/proxmox/pvetest"
)

// The display of a machine, with a token and with a password: what comes is the stream of RFB, whatever the frames are like.
func TestScreen(t *testing.T) {
	t.Parallel()
	for name, password := range map[string]bool{"token": false, "password": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := cluster(t)
			c := settings(t, s)
			if password {
				c.Token = ""
				c.User, c.Password = s.User()
			}
			d := open(t, c)
			o := running(t, d, 1)
			ctx, cancel := context.WithCancel(t.Context())
			screen, err := d.Screen(ctx, o.Ref)
			require.NoError(t, err)
			cancel() // was for opening only
			require.NotEmpty(t, screen.Password)
			greeting := make([]byte, 12)
			_, err = io.ReadFull(screen, greeting)
			require.NoError(t, err)
			require.Equal(t, "RFB 003.008\n", string(greeting))
			sent := make([]byte, 100_000) // several frames
			_, _ = rand.Read(sent)
			go func() { _, _ = screen.Write(sent) }()
			got := make([]byte, len(sent))
			_, err = io.ReadFull(screen, got)
			require.NoError(t, err)
			require.True(t, bytes.Equal(sent, got))

			read := make(chan error, 1)
			go func() { _, err := screen.Read(make([]byte, 1)); read <- err }()
			require.NoError(t, screen.Close())
			require.NoError(t, screen.Close())
			select {
			case err := <-read:
				require.Error(t, err)
			case <-time.After(5 * time.Second):
				require.Fail(t, "reading goes on after Close")
			}
			_, err = screen.Write([]byte("x"))
			require.Error(t, err)
		})
	}
}

// No ticket stands in an error, no socket is left, and what cannot be opened says why.
func TestScreenRefused(t *testing.T) {
	t.Parallel()
	s := cluster(t)
	d := open(t, settings(t, s))
	o := running(t, d, 1)
	for _, f := range []pvetest.Fault{{Status: 500}, {CutBefore: true}, {Null: true}, {Status: 595}} {
		f.Method, f.Path = "GET", "/vncwebsocket"
		s.Inject(f)
		_, err := d.Screen(t.Context(), o.Ref)
		require.Error(t, err)
		require.NotContains(t, err.Error(), "PVEVNC")
	}
	s.Inject(pvetest.Fault{Method: "GET", Path: "/vncwebsocket", Delay: 3 * time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err := d.Screen(ctx, o.Ref)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(begun), 2*time.Second)

	require.NoError(t, d.Stop(t.Context(), o.Ref))
	_, err = d.Screen(t.Context(), o.Ref)
	require.ErrorIs(t, err, hypervisor.ErrWrongPower)
	o.Launched++
	_, err = d.Screen(t.Context(), o.Ref)
	require.True(t, errors.Is(err, hypervisor.ErrForeign))
}
