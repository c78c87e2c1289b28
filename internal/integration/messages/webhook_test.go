package messages_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/webhook"
)

// hook sends messages as webhooks and keeps the last request.
type hook struct {
	n      *webhook.Notifier
	header http.Header
	body   []byte
}

func newHook(t *testing.T, secrets ...string) (h *hook, end func()) {
	t.Helper()
	h = new(hook)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		h.header = r.Header
		h.body, _ = io.ReadAll(r.Body)
	}))
	c := webhook.Config{URL: notify.NewSecret(server.URL), HTTP: client()}
	for _, s := range secrets {
		c.Secrets = append(c.Secrets, notify.NewSecret(s))
	}
	var err error
	h.n, err = webhook.New(c)
	require.NoError(t, err)
	return h, server.Close
}

func secret(key string) string { return "whsec_" + base64.StdEncoding.EncodeToString([]byte(key)) }

func verifier(t *testing.T, secret string) *standardwebhooks.Webhook {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	return w
}

// A receiver with either of two secrets takes every message; one with another takes none.
func TestWebhookSignatures(t *testing.T) {
	t.Parallel()
	newest, before, other := secret("new-new-new-new-new-new-new"), secret("old-old-old-old-old-old-old"), secret("who-who-who-who-who-who-who")
	h, end := newHook(t, newest, before)
	defer end()
	for _, k := range kinds() {
		require.NoError(t, h.n.Notify(t.Context(), k.m), k.name)
		require.Equal(t, k.m.Key, h.header.Get(standardwebhooks.HeaderWebhookID), k.name)
		require.NoError(t, verifier(t, newest).Verify(h.body, h.header), k.name)
		require.NoError(t, verifier(t, before).Verify(h.body, h.header), k.name)
		require.ErrorIs(t, verifier(t, other).Verify(h.body, h.header), standardwebhooks.ErrNoMatchingSignature, k.name)

		changed := append([]byte(nil), h.body...)
		changed[len(changed)/2] ^= 1
		require.ErrorIs(t, verifier(t, newest).Verify(changed, h.header), standardwebhooks.ErrNoMatchingSignature, k.name)
		for _, name := range []string{standardwebhooks.HeaderWebhookID, standardwebhooks.HeaderWebhookTimestamp} {
			forged := h.header.Clone()
			forged.Set(name, fmt.Sprint(time.Now().Unix()+1))
			require.ErrorIs(t, verifier(t, newest).Verify(h.body, forged), standardwebhooks.ErrNoMatchingSignature, k.name)
		}
	}
	report(t, fmt.Sprintf("webhook: %d signatures by two secrets each taken by the library of Standard Webhooks, and refused after a change", len(kinds())))
}

// A request that is seen again later than it may be is refused, although its signature is right.
func TestWebhookSeenAgain(t *testing.T) {
	t.Parallel()
	key := secret("new-new-new-new-new-new-new")
	h, end := newHook(t, key)
	defer end()
	require.NoError(t, h.n.Notify(t.Context(), notifytest.Firing()))
	seconds, err := strconv.ParseInt(h.header.Get(standardwebhooks.HeaderWebhookTimestamp), 10, 64)
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) { // where time passes at once
		time.Sleep(time.Until(time.Unix(seconds, 0).Add(5 * time.Minute)))
		require.NoError(t, verifier(t, key).Verify(h.body, h.header))
		time.Sleep(time.Second)
		require.ErrorIs(t, verifier(t, key).Verify(h.body, h.header), standardwebhooks.ErrMessageTooOld)
		require.NoError(t, verifier(t, key).VerifyIgnoringTimestamp(h.body, h.header))
	})
}
