package slack_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/notifytest"
	"github.com/berthage/berthage/notify/slack"
	"github.com/berthage/berthage/pool"
)

const signing = "canary8f742231b10e8888abcd99yyyzzz85a5"

func moment() time.Time { return time.Unix(1_778_000_000, 0) }

// sign makes a request as Slack does.
func sign(secret, body string, at time.Time) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/slack", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	ts := fmt.Sprint(at.Unix())
	h := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(h, "v0:%s:%s", ts, body)
	r.Header.Set("X-Slack-Request-Timestamp", ts)
	r.Header.Set("X-Slack-Signature", "v0="+hex.EncodeToString(h.Sum(nil)))
	return r
}

// press is what Slack sends when somebody presses a button, as its documentation shows it, shortened.
func press(action, value string) string {
	payload, _ := json.Marshal(map[string]any{
		"type": "block_actions", "team": map[string]string{"id": "T9TK3CUKW", "domain": "example"}, "api_app_id": "AABA1ABCD", "token": "9s8d9as89d8as9d8as989",
		"user":    map[string]string{"id": "UA8RXUSPL", "username": "ana", "name": "ana", "team_id": "T9TK3CUKW"},
		"channel": map[string]string{"id": channel}, "response_url": "https://hooks.slack.com/actions/x",
		"actions": []map[string]any{{
			"action_id": action, "block_id": "x", "type": "button", "value": value, "action_ts": "1548426417.840180",
			"text": map[string]any{"type": "plain_text", "text": "Acknowledge", "emoji": true},
		}},
	})
	return url.Values{"payload": {string(payload)}}.Encode()
}

// What the button of a message says is what Interaction reads.
func TestAcknowledge(t *testing.T) {
	t.Parallel()
	s := new(workspace)
	server := httptest.NewServer(s)
	defer server.Close()
	n, err := slack.NewWebhook(slack.WebhookConfig{URL: notify.NewSecret(server.URL + "/services/" + token), HTTP: client(), Look: slack.Look{Acknowledge: true}})
	require.NoError(t, err)
	taken := notifytest.Update()
	for i := range taken.Firing {
		taken.Firing[i].By = "ana"
	}
	partly := notifytest.Update()
	partly.Firing[0].By = "ana"
	for _, m := range []notify.Message{notifytest.Firing(), partly, taken, notifytest.Resolved(), notifytest.Event()} {
		require.NoError(t, n.Notify(t.Context(), m))
	}
	for i, want := range []bool{true, true, false, false, false} {
		last := s.posts[i].Blocks[len(s.posts[i].Blocks)-1]
		require.Equal(t, want, last.Type == "actions", i)
	}
	button := s.posts[0].Blocks[len(s.posts[0].Blocks)-1].Elements[0]
	a, err := slack.Interaction(notify.NewSecret(signing), sign(signing, press(button.Action, button.Value), moment()), moment().Add(time.Second))
	require.NoError(t, err)
	require.Equal(t, notify.Acknowledgement{Incident: notifytest.Firing().Incident, By: "ana", Note: "in Slack, user UA8RXUSPL"}, a)
}

// The example of Slack's documentation, "Verifying requests from Slack".
func TestSlacksOwnExample(t *testing.T) {
	t.Parallel()
	body := "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&" +
		"command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&" +
		"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("X-Slack-Request-Timestamp", "1531420618")
	r.Header.Set("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503")
	_, err := slack.Interaction(notify.NewSecret("8f742231b10e8888abcd99yyyzzz85a5"), r, time.Unix(1531420618, 0))
	require.ErrorIs(t, err, pool.ErrInvalid, "it is signed, and a command, which is not what is asked for")
}

func TestInteractionsThatAreNone(t *testing.T) {
	t.Parallel()
	good := press("acknowledge", "i-91ab07")
	signed := func(body string) func() *http.Request {
		return func() *http.Request { return sign(signing, body, moment()) }
	}
	with := func(change func(*http.Request)) func() *http.Request {
		return func() *http.Request {
			r := sign(signing, good, moment())
			change(r)
			return r
		}
	}
	payload := func(s string) string { return url.Values{"payload": {s}}.Encode() }
	for name, c := range map[string]struct {
		request func() *http.Request
		want    error
	}{
		"another's signature": {func() *http.Request { return sign("another", good, moment()) }, notify.ErrForged},
		"too old":             {func() *http.Request { return sign(signing, good, moment().Add(-6*time.Minute)) }, notify.ErrForged},
		"from the future":     {func() *http.Request { return sign(signing, good, moment().Add(6*time.Minute)) }, notify.ErrForged},
		"made younger": {func() *http.Request {
			r := sign(signing, good, moment().Add(-time.Hour))
			r.Header.Set("X-Slack-Request-Timestamp", fmt.Sprint(moment().Unix()))
			return r
		}, notify.ErrForged},
		"another body": {func() *http.Request {
			r := sign(signing, good, moment())
			other := sign(signing, press("acknowledge", "i-other"), moment())
			r.Body = other.Body
			return r
		}, notify.ErrForged},
		"moved into the time": {with(func(r *http.Request) {
			r.Header.Set("X-Slack-Request-Timestamp", r.Header.Get("X-Slack-Request-Timestamp")+":payload")
		}), notify.ErrForged},
		"no signature":       {with(func(r *http.Request) { r.Header.Del("X-Slack-Signature") }), notify.ErrForged},
		"no time":            {with(func(r *http.Request) { r.Header.Del("X-Slack-Request-Timestamp") }), notify.ErrForged},
		"two signatures":     {with(func(r *http.Request) { r.Header.Add("X-Slack-Signature", "v0=00") }), notify.ErrForged},
		"two times":          {with(func(r *http.Request) { r.Header.Add("X-Slack-Request-Timestamp", "1") }), notify.ErrForged},
		"half a signature":   {with(func(r *http.Request) { r.Header.Set("X-Slack-Signature", r.Header.Get("X-Slack-Signature")[:20]) }), notify.ErrForged},
		"no version":         {with(func(r *http.Request) { r.Header.Set("X-Slack-Signature", r.Header.Get("X-Slack-Signature")[3:]) }), notify.ErrForged},
		"negative time":      {with(func(r *http.Request) { r.Header.Set("X-Slack-Request-Timestamp", "-1") }), notify.ErrForged},
		"enormous time":      {with(func(r *http.Request) { r.Header.Set("X-Slack-Request-Timestamp", "99999999999999999999") }), notify.ErrForged},
		"too long":           {signed("payload=" + strings.Repeat("x", slack.MaxInteraction)), pool.ErrInvalid},
		"no form":            {signed("%zz"), pool.ErrInvalid},
		"no payload":         {signed("a=b"), pool.ErrInvalid},
		"two payloads":       {signed(good + "&" + good), pool.ErrInvalid},
		"no JSON":            {signed(payload("{")), pool.ErrInvalid},
		"JSON of other kind": {signed(payload(`{"actions":7}`)), pool.ErrInvalid},
		"another kind":       {signed(payload(`{"type":"view_submission"}`)), notify.ErrNoAcknowledgement},
		"another button":     {signed(press("approve", "i-91ab07")), notify.ErrNoAcknowledgement},
		"no button":          {signed(payload(`{"type":"block_actions"}`)), notify.ErrNoAcknowledgement},
		"no incident":        {signed(press("acknowledge", "")), pool.ErrInvalid},
		"a strange incident": {signed(press("acknowledge", "i-1\n<script>"+strings.Repeat("x", 10_000))), pool.ErrInvalid},
	} {
		a, err := slack.Interaction(notify.NewSecret(signing), c.request(), moment())
		require.ErrorIs(t, err, c.want, name)
		require.NotContains(t, err.Error(), "canary", name)
		require.Less(t, len(err.Error()), 500, name)
		require.Zero(t, a, name)
	}
	// Within the tolerance it is.
	for _, off := range []time.Duration{-slack.Tolerance, slack.Tolerance} {
		_, err := slack.Interaction(notify.NewSecret(signing), sign(signing, good, moment().Add(off)), moment())
		require.NoError(t, err)
	}
	// Without a secret everybody could sign.
	_, err := slack.Interaction(notify.Secret{}, sign("", good, moment()), moment())
	require.ErrorIs(t, err, pool.ErrInvalid)
}

// Whatever it says, a request that is not signed is nothing, and one that is does no harm.
func FuzzInteraction(f *testing.F) {
	f.Add(press("acknowledge", "i-91ab07"), "")
	f.Add("payload=%7B%22type%22%3A%22block_actions%22%7D", "v0=00")
	f.Add("payload={\"type\":\"block_actions\",\"user\":{\"name\":\"\\u202e\\n\"},\"actions\":[{\"action_id\":\"acknowledge\",\"value\":\"i\"}]}", "v0=")
	f.Fuzz(func(t *testing.T, body, signature string) {
		r := sign(signing, body, moment())
		a, err := slack.Interaction(notify.NewSecret(signing), r, moment())
		if err == nil {
			require.NoError(t, a.Check())
			require.Equal(t, notify.Line(a.By+a.Note), a.By+a.Note)
			require.LessOrEqual(t, notify.Runes(a.By), 100)
			require.False(t, a.Withdrawn)
		}
		forged := sign("another", body, moment())
		if signature != "" {
			forged.Header["X-Slack-Signature"] = []string{signature}
		}
		if forged.Header.Get("X-Slack-Signature") != r.Header.Get("X-Slack-Signature") {
			_, err = slack.Interaction(notify.NewSecret(signing), forged, moment())
			require.ErrorIs(t, err, map[bool]error{true: pool.ErrInvalid, false: notify.ErrForged}[len(body) > slack.MaxInteraction])
		}
	})
}
