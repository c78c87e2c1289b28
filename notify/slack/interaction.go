package slack

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/berthage/berthage/notify"
)

// actionAcknowledge is by which a button's press is known again.
const actionAcknowledge = "acknowledge"

// MaxInteraction is how many bytes a request of Slack may have, and Tolerance how old it may be, or ahead of our clock.
const (
	MaxInteraction = 1 << 20
	Tolerance      = 5 * time.Minute
)

// acknowledgeable is the button of a message, if there is something to acknowledge: an alert that fires and that nobody has taken on.
func (l Look) acknowledgeable(m notify.Message) []block {
	taken := m.FiringMore == 0
	for _, a := range m.Firing {
		taken = taken && a.By != ""
	}
	if !l.Acknowledge || m.Event != nil || taken {
		return nil
	}
	return []block{{Type: "actions", Elements: []element{{
		Type: "button", Text: text{Type: "plain_text", Text: "Acknowledge"}, Action: actionAcknowledge, Value: m.Incident,
	}}}}
}

// Interaction reads the request that Slack makes to an app's Interactivity Request URL when somebody presses a button, and returns what it
// acknowledges. It is Slack's if it is signed with the app's signing secret ("Verifying requests from Slack") and its timestamp is within Tolerance of now, so that one
// that was overheard cannot be made again later. The error is notify.ErrForged, notify.ErrNoAcknowledgement or pool.ErrInvalid, and none shows the
// secret. Slack wants its answer, 200 and nothing, within three seconds.
//
// Everyone in the channel can press the button; By is the name that they have given themselves, and Note has the id that Slack has given them.
func Interaction(signingSecret notify.Secret, r *http.Request, now time.Time) (notify.Acknowledgement, error) {
	var none notify.Acknowledgement
	if signingSecret.Empty() { // with which everybody could sign
		return none, notify.Invalid("signing_secret", "that of the Slack app")
	}
	timestamps, signatures := r.Header.Values("X-Slack-Request-Timestamp"), r.Header.Values("X-Slack-Signature")
	if len(timestamps) != 1 || len(signatures) != 1 {
		return none, notify.ErrForged
	}
	at, err := strconv.ParseUint(timestamps[0], 10, 40)
	if err != nil || now.Sub(time.Unix(int64(at), 0)).Abs() > Tolerance {
		return none, notify.ErrForged
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxInteraction+1))
	if err != nil || len(body) > MaxInteraction {
		return none, notify.Unreadable("body", "at most 1 MiB")
	}
	mac := hmac.New(sha256.New, []byte(signingSecret.Reveal()))
	mac.Write([]byte("v0:" + timestamps[0] + ":"))
	mac.Write(body)
	if !hmac.Equal([]byte("v0="+hex.EncodeToString(mac.Sum(nil))), []byte(signatures[0])) {
		return none, notify.ErrForged
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form["payload"]) != 1 {
		return none, notify.Unreadable("payload", "a form with one")
	}
	var in struct {
		Type string
		User struct {
			ID       string
			Username string
			Name     string
		}
		Actions []struct {
			Action string `json:"action_id"`
			Value  string
		}
	}
	if err := json.Unmarshal([]byte(form.Get("payload")), &in); err != nil {
		return none, notify.Unreadable("payload", "JSON as Slack writes it")
	}
	if in.Type != "block_actions" {
		return none, notify.ErrNoAcknowledgement
	}
	for _, a := range in.Actions {
		if a.Action == actionAcknowledge {
			id := notify.Cut(notify.Line(in.User.ID), 20)
			out := notify.Acknowledgement{
				Incident: a.Value, By: notify.Cut(notify.Line(cmp.Or(in.User.Username, in.User.Name, in.User.ID)), 100), Note: "in Slack, user " + id,
			}
			if err := out.Check(); err != nil {
				return none, err
			}
			return out, nil
		}
	}
	return none, notify.ErrNoAcknowledgement
}
