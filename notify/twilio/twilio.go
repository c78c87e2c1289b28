// Package twilio sends text messages to a telephone by Twilio (Twilio's documentation: "Messages resource", and the OpenAPI file that it publishes).
//
// A message is its title, what there is room for and a link: one SMS of at most Config.Most characters. It costs money per segment, 160 characters of
// the GSM alphabet or 70 of any other, so that the zero value allows 320. Twilio knows no message again: one whose answer was lost can arrive twice.
// Telephones make links of what looks like one in a name.
//
// The limit that is kept is Twilio's, 1,600 characters, in UTF-16 code units. A pass of the tests shows that requests are as the documents say, not that
// the service takes them or that a telephone rings: a 201 means that the message is queued.
package twilio

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/berthage/berthage/notify"
)

// MaxBody is the most characters of a message.
const MaxBody = 1600

// Endpoint is the public service.
const Endpoint = "https://api.twilio.com"

// Config says whom to tell.
type Config struct {
	Account  string        // its SID: "AC..."
	Key      string        // the SID of an API key: "SK..."; empty: Secret is the account's token
	Secret   notify.Secret // of the key, or the account's token
	From     string        // a number as E.164 has it, "+15005550006", or the SID of a messaging service: "MG..."
	To       string        // a number as E.164 has it
	Most     int           // characters of a message, 20 to MaxBody; 0: 320
	Endpoint string        // empty: Endpoint
	HTTP     *notify.Client
}

// Notifier implements notify.Notifier.
type Notifier struct {
	c   Config
	url notify.Secret
}

// New checks the configuration and sends nothing. Errors are pool.ErrInvalid.
func New(c Config) (*Notifier, error) {
	c.Key, c.Most = cmp.Or(c.Key, c.Account), cmp.Or(c.Most, 320)
	switch {
	case !isSID(c.Account, "AC"):
		return nil, notify.Invalid("account", `"AC" and 32 hexadecimal digits`)
	case !isSID(c.Key, "SK") && c.Key != c.Account:
		return nil, notify.Invalid("key", `"SK" and 32 hexadecimal digits`)
	case c.Secret.Empty():
		return nil, notify.Invalid("secret", "that of the key, or the account's token")
	case !isNumber(c.From) && !isSID(c.From, "MG"):
		return nil, notify.Invalid("from", `"+" and 2 to 15 digits, or "MG" and 32 hexadecimal digits`)
	case !isNumber(c.To):
		return nil, notify.Invalid("to", `"+" and 2 to 15 digits`)
	case c.Most < 20 || c.Most > MaxBody:
		return nil, notify.Invalid("most", "20 to 1600")
	}
	u := notify.NewSecret(strings.TrimRight(cmp.Or(c.Endpoint, Endpoint), "/") + "/2010-04-01/Accounts/" + c.Account + "/Messages.json")
	if err := notify.CheckURL("endpoint", u); err != nil {
		return nil, err
	}
	if c.HTTP == nil {
		c.HTTP = notify.NewClient(notify.ClientConfig{})
	}
	return &Notifier{c, u}, nil
}

func isSID(s, prefix string) bool {
	hex, ok := strings.CutPrefix(s, prefix)
	return ok && len(hex) == 32 && !strings.ContainsFunc(hex, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
}

func isNumber(s string) bool {
	digits, ok := strings.CutPrefix(s, "+")
	return ok && len(digits) >= 2 && len(digits) <= 15 && digits[0] != '0' && !strings.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
}

// Notify implements notify.Notifier.
func (n *Notifier) Notify(ctx context.Context, m notify.Message) error {
	if err := m.Check(); err != nil || m.Moot() {
		return err
	}
	form := url.Values{"To": {n.c.To}, "Body": {m.Brief(n.c.Most, notify.Units)}}
	if isSID(n.c.From, "MG") {
		form.Set("MessagingServiceSid", n.c.From)
	} else {
		form.Set("From", n.c.From)
	}
	credentials := base64.StdEncoding.EncodeToString([]byte(n.c.Key + ":" + n.c.Secret.Reveal()))
	answer, err := n.c.HTTP.Do(ctx, notify.Request{
		Op: "twilio: send", URL: n.url, Body: []byte(form.Encode()), Secrets: []notify.Secret{n.c.Secret},
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Authorization": {"Basic " + credentials}},
	})
	var e *notify.Error
	var in struct {
		Code int `json:"code"`
	}
	if errors.As(err, &e) && json.Unmarshal(answer.Body, &in) == nil && slices.Contains(unreachable(), in.Code) {
		e.Kind = notify.ErrBroken
	}
	return err
}

// unreachable are Twilio's codes for a number that cannot be sent to, or from: 21211 and 21614 not a number for text messages, 21610 it has
// unsubscribed, 21408 and 21612 not from here, 21603 and 21606 no such sender, 21608 not verified in a trial.
func unreachable() []int { return []int{21211, 21408, 21603, 21606, 21608, 21610, 21612, 21614} }
