package daemon_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/examples/berthd/daemon"
)

func mac(secret, text string) string {
	m := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(m, text)
	return hex.EncodeToString(m.Sum(nil))
}

// knock posts to a hook, without a token, and returns the status.
func (r *rig) knock(path, body string, headers ...string) int {
	r.t.Helper()
	req := r.request(http.MethodPost, path, body, headers...)
	req.Header.Del("Authorization")
	res, err := r.client.Do(req)
	require.NoError(r.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	if res.StatusCode == http.StatusOK {
		require.Empty(r.t, b)
	} else {
		require.Equal(r.t, "application/problem+json", res.Header.Get("Content-Type"))
	}
	return res.StatusCode
}

// press is what Slack says when somebody presses a button.
func (r *rig) press(secret, action, incident string) int {
	r.t.Helper()
	payload, err := json.Marshal(object{"type": "block_actions", "user": object{"id": "UA8RXUSPL", "username": "ana"}, "actions": []any{object{"action_id": action, "value": incident}}})
	require.NoError(r.t, err)
	body, at := url.Values{"payload": {string(payload)}}.Encode(), fmt.Sprint(time.Now().Unix())
	return r.knock("/hooks/slack", body, "Content-Type", "application/x-www-form-urlencoded", "X-Slack-Request-Timestamp", at, "X-Slack-Signature", "v0="+mac(secret, "v0:"+at+":"+body))
}

// says is what PagerDuty says of an incident.
func (r *rig) says(receiver, secret, kind, incident string) int {
	r.t.Helper()
	body, err := json.Marshal(object{"event": object{"event_type": kind, "agent": object{"type": "user_reference", "summary": "Bo <b>"}, "data": object{"type": "incident", "incident_key": incident}}})
	require.NoError(r.t, err)
	return r.knock("/hooks/pagerduty/"+receiver, string(body), "X-PagerDuty-Signature", "v1="+mac(secret, string(body)))
}

// Who presses the button in Slack, or acknowledges in PagerDuty, acknowledges here, without a session and by the signature alone.
func TestAcknowledgingFromElsewhere(t *testing.T) {
	t.Parallel()
	chat, pager, quiet := newHook(t), newHook(t), newHook(t)
	file, secret := filepath.Join(t.TempDir(), "alerts.yml"), filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("signing-of-the-file"), 0o600))
	require.NoError(t, os.WriteFile(file, []byte("receivers: [{name: filed, type: slack-webhook, secrets: {url_file: "+secret+"-url, signing_secret_file: "+secret+"}}]"), 0o600))
	require.NoError(t, os.WriteFile(secret+"-url", []byte(quiet.URL), 0o600))
	r := start(t, 1, watchful, loopback, func(c *config.Config, _ *daemon.Options) { c.AlertRules = file })
	r.call(http.MethodPut, receiversPath+"/chat", object{"type": "slack", "settings": object{"channel": "C0123456789", "endpoint": chat.URL}, "secrets": object{"token": "xoxb-1", "signing_secret": "signing-canary"}}).want(http.StatusOK)
	r.call(http.MethodPut, receiversPath+"/pager", object{"type": "pagerduty", "settings": object{"endpoint": pager.URL}, "secrets": object{"routing_key": "0123456789abcdef0123456789abcdef", "webhook_secret": []any{"old", "webhook-canary"}}}).want(http.StatusOK)
	r.call(http.MethodPut, routesPath, object{"root": object{"receivers": []any{"chat", "pager"}, "wait": "0s"}}).want(http.StatusOK)
	id := r.firing("Busy")
	r.eventually(func() bool { return len(chat.told()) > 0 && len(pager.told()) > 0 })
	blocks := chat.told()[0]["blocks"].([]any)
	button := blocks[len(blocks)-1].(object)["elements"].([]any)[0].(object)
	inChat, inPager := button["value"].(string), pager.told()[0]["dedup_key"].(string)
	require.NotEqual(t, inChat, inPager)
	taken := func() any { return r.get("/api/v1/alerts/" + id).want(http.StatusOK).object()["acknowledged"] }
	require.Nil(t, taken())

	require.Equal(t, http.StatusOK, r.press("signing-canary", button["action_id"].(string), inChat))
	by := taken().(object)
	require.Equal(t, "slack:ana", by["by"])
	require.Contains(t, by["note"], "UA8RXUSPL")
	require.Equal(t, http.StatusOK, r.says("pager", "webhook-canary", "incident.unacknowledged", inPager))
	require.Nil(t, taken())
	require.Equal(t, http.StatusOK, r.says("pager", "old", "incident.acknowledged", inPager))
	require.Equal(t, "pagerduty:Bo <b>", taken().(object)["by"])

	// What is signed and asks for nothing, or for what is over, is done; what is signed and unreadable is not.
	require.Equal(t, http.StatusOK, r.press("signing-of-the-file", "another", inChat))
	require.Equal(t, http.StatusOK, r.press("signing-canary", "acknowledge", "0123456789abcdef0123456789abcdef"))
	require.Equal(t, http.StatusBadRequest, r.press("signing-canary", "acknowledge", "no incident\n"))
	require.Equal(t, http.StatusOK, r.says("pager", "webhook-canary", "incident.triggered", inPager))

	// A receiver's secret is good for what it was told, and not for what others were told of the same alert.
	r.call(http.MethodDelete, "/api/v1/alerts/"+id+"/acknowledge", nil).want(http.StatusNoContent)
	require.Equal(t, http.StatusOK, r.press("signing-canary", "acknowledge", inPager))
	require.Equal(t, http.StatusOK, r.press("signing-of-the-file", "acknowledge", inChat))
	require.Equal(t, http.StatusOK, r.says("pager", "old", "incident.acknowledged", inChat))
	require.Nil(t, taken())
	require.Equal(t, 3, strings.Count(r.log.String(), "what another one was told"))
	require.Equal(t, http.StatusOK, r.says("pager", "old", "incident.acknowledged", inPager))
	require.NotNil(t, taken())
	require.Equal(t, http.StatusOK, r.press("signing-canary", "acknowledge", inPager))
	require.Equal(t, http.StatusOK, r.says("pager", "old", "incident.unacknowledged", inChat))
	require.Equal(t, "pagerduty:Bo <b>", taken().(object)["by"])

	// What is not signed, or with another's secret, is refused, whoever it is for; and who goes on is not listened to for a while.
	r.call(http.MethodDelete, "/api/v1/alerts/"+id+"/acknowledge", nil).want(http.StatusNoContent)
	require.Equal(t, http.StatusUnauthorized, r.knock("/hooks/slack", "payload=x"))
	require.Equal(t, http.StatusUnauthorized, r.press("", "acknowledge", inChat))
	require.Equal(t, http.StatusUnauthorized, r.press("webhook-canary", "acknowledge", inChat))
	for _, receiver := range []string{"pager", "nobody", "filed"} {
		require.Equal(t, http.StatusUnauthorized, r.says(receiver, "", "incident.acknowledged", inPager))
		require.Equal(t, http.StatusUnauthorized, r.says(receiver, "signing-canary", "incident.acknowledged", inPager))
	}
	require.Nil(t, taken())
	r.eventually(func() bool { return r.says("chat", "", "incident.acknowledged", inPager) == http.StatusTooManyRequests })
	require.Equal(t, http.StatusTooManyRequests, r.press("signing-canary", "acknowledge", inChat))
	// That keeps nobody out who has a token; and wrong tokens do not keep the services out.
	require.Nil(t, taken())
	other := start(t, 1, watchful, loopback)
	other.call(http.MethodPut, receiversPath+"/pager", object{"type": "pagerduty", "settings": object{"endpoint": pager.URL}, "secrets": object{"routing_key": "0123456789abcdef0123456789abcdef", "webhook_secret": "webhook-canary"}}).want(http.StatusOK)
	wrong := func() int {
		return other.call(http.MethodGet, "/api/v1/pool", nil, "Authorization", "Bearer wrong").status
	}
	other.eventually(func() bool { return wrong() == http.StatusTooManyRequests })
	require.Equal(t, http.StatusOK, other.says("pager", "webhook-canary", "incident.triggered", inPager))
	require.Equal(t, http.StatusUnauthorized, other.says("pager", "other", "incident.triggered", inPager))
	require.NotContains(t, r.log.String(), "canary")
	require.NotContains(t, strings.ToLower(r.log.String()), "panic")
}
