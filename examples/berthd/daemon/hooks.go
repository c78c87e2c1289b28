package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/berthage/berthage/examples/berthd/edge"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/examples/berthd/receivers"
	"github.com/berthage/berthage/notify"
	"github.com/berthage/berthage/notify/pagerduty"
	"github.com/berthage/berthage/notify/slack"
	"github.com/berthage/berthage/pool"
)

// Hooks are where services say that somebody has acknowledged there. No session leads to them: a request counts if it is signed with a
// secret that a receiver shares with its service. Wrong ones are counted apart from wrong tokens, so that a service which has the wrong secret keeps nobody out who
// comes from the same address, and the other way round.

// said is what somebody has said at a service, and the receivers that have the secret with which it is signed: they may say it of what they were told.
type said struct {
	notify.Acknowledgement
	by []string
}

// slackHook takes what Slack sends when a button is pressed. Slack does not say of which receiver it was, so that the secrets of all are tried.
func (d *Daemon) slackHook(w http.ResponseWriter, r *http.Request) {
	d.hook(w, r, "slack", func(again func() *http.Request) (said, error) {
		var secrets []notify.Secret
		by := make(map[string][]string) // receivers of the same app have the same
		for _, one := range d.known() {
			if one.Type != "slack" && one.Type != "slack-webhook" {
				continue
			}
			for _, s := range one.Secrets["signing_secret"] {
				if by[s.Reveal()] == nil {
					secrets = append(secrets, s)
				}
				by[s.Reveal()] = append(by[s.Reveal()], one.Name)
			}
		}
		for _, s := range secrets {
			if a, err := slack.Interaction(s, again(), time.Now()); !errors.Is(err, notify.ErrForged) {
				return said{a, by[s.Reveal()]}, err
			}
		}
		return said{}, notify.ErrForged
	})
}

// pagerDutyHook takes what PagerDuty sends about the incidents of a receiver. Of a name that there is not it says what it says of a wrong signature.
func (d *Daemon) pagerDutyHook(w http.ResponseWriter, r *http.Request) {
	d.hook(w, r, "pagerduty", func(again func() *http.Request) (said, error) {
		name := r.PathValue("receiver")
		var secrets []notify.Secret
		for _, one := range d.known() {
			if one.Type == "pagerduty" && one.Name == name {
				secrets = one.Secrets["webhook_secret"]
			}
		}
		if len(secrets) == 0 {
			return said{}, notify.ErrForged
		}
		a, err := pagerduty.Webhook(secrets, again())
		return said{a, []string{name}}, err
	})
}

// known returns all receivers with their secrets, but for those that are sealed with another key.
func (d *Daemon) known() (all []receivers.Receiver) {
	m := d.manager.Messages()
	for _, s := range m.Receivers() {
		if s.Configured {
			all = append(all, d.configured[s.Name])
			continue
		}
		r, ok := m.Receiver(s.Name)
		if secrets, err := d.keys.Open(r.Name, r.Type, r.Sealed); ok && err == nil {
			all = append(all, receivers.Receiver{Name: r.Name, Type: r.Type, Settings: r.Settings, Secrets: secrets})
		}
	}
	return all
}

// hookTimeout bounds how long a service waits; Slack gives up after three seconds.
const hookTimeout = 20 * time.Second

// hook reads an acknowledgement, which costs nothing while the address has been wrong too often here, and carries it out in the name of who the service says it was. What there is nothing to acknowledge of any more is
// done.
func (d *Daemon) hook(w http.ResponseWriter, r *http.Request, service string, read func(again func() *http.Request) (said, error)) {
	ctx, cancel := context.WithTimeout(r.Context(), hookTimeout)
	defer cancel()
	err := d.knocks.Admit(r)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(io.LimitReader(r.Body, edge.MaxBody))
	}
	var a said
	if err == nil {
		a, err = read(func() *http.Request {
			again := r.Clone(ctx)
			again.Body = io.NopCloser(bytes.NewReader(body))
			return again
		})
		switch {
		case errors.Is(err, notify.ErrForged):
			d.knocks.Blame(r)
			err = problem.Unauthorized.New("the signature is not one of a receiver's service")
		case errors.Is(err, pool.ErrInvalid):
			err = problem.Malformed.New("it is signed, and not what the service would say")
		case err == nil:
			edge.From(r.Context()).Actor = service
			err = d.acknowledge(ctx, service, edge.From(r.Context()).ID, a)
		}
	}
	if err == nil || errors.Is(err, notify.ErrNoAcknowledgement) || errors.Is(err, pool.ErrNotFound) {
		w.WriteHeader(http.StatusOK)
		return
	}
	p := *problem.From(err)
	p.RequestID = edge.From(r.Context()).ID
	p.Write(w)
}

// acknowledge does what somebody has said at a service, if it is of what was told there: whoever knows a receiver's secret speaks for it, and not for the others. Their
// name there is no name of ours, and says so.
func (d *Daemon) acknowledge(ctx context.Context, service, cause string, a said) (err error) {
	m := d.manager.As(service+":"+a.By, cause).Messages()
	if told, ok := m.Told(a.Incident); ok && !slices.Contains(a.by, told) {
		d.log.Warn("somebody acknowledges at a receiver what another one was told; nothing is done", "service", service, "receivers", a.by, "told", told, "request_id", cause)
		return notify.ErrNoAcknowledgement
	}
	if a.Withdrawn {
		_, err = m.Unacknowledge(ctx, a.Incident)
	} else {
		_, err = m.Acknowledge(ctx, a.Incident, a.Note)
	}
	return err
}
