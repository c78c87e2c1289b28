package main

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/alert"
)

// mostBody is the most bytes of a request that are read.
const mostBody = 16 << 20

// api serves version 2 of Alertmanager's API.
type api struct {
	*teller
	peer  string // as which this process is its own cluster; empty: there is none
	began time.Time
}

func (a api) handler(prefix string) http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"GET /api/v2/status":          a.status,
		"GET /api/v2/receivers":       a.receivers,
		"GET /api/v2/alerts":          a.listAlerts,
		"POST /api/v2/alerts":         a.postAlerts,
		"GET /api/v2/alerts/groups":   a.groups,
		"GET /api/v2/silences":        a.listSilences,
		"POST /api/v2/silences":       a.postSilence,
		"GET /api/v2/silence/{id}":    a.silence,
		"DELETE /api/v2/silence/{id}": a.deleteSilence,
		"POST /-/reload":              func(*http.Request) (any, error) { return nil, a.reload() },
		"GET /-/ready":                func(*http.Request) (any, error) { return nil, nil },
		"GET /-/healthy":              func(*http.Request) (any, error) { return nil, nil },
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, mostBody)
			answer, err := handle(r)
			if err != nil {
				status := http.StatusBadRequest
				if errors.Is(err, alert.ErrNotFound) {
					status = http.StatusNotFound
				}
				a.log.Debug("Refused", "path", r.URL.Path, "error", err)
				write(w, status, err.Error())
				return
			}
			write(w, http.StatusOK, answer)
		})
	}
	return http.StripPrefix(prefix, mux)
}

func write(w http.ResponseWriter, status int, answer any) {
	if answer == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // who asked has gone
}

// query is what a list is asked for.
type query struct {
	url.Values
	match    alert.Matchers
	receiver *regexp.Regexp
}

func (t *teller) query(r *http.Request) (query, error) {
	q := query{Values: r.URL.Query(), receiver: regexp.MustCompile("")}
	var err error
	if q.match, err = t.names.matchers(q.Values["filter"]...); err != nil {
		return query{}, err
	}
	if text := q.Get("receiver"); text != "" {
		if q.receiver, err = regexp.Compile("^(?:" + text + ")$"); err != nil {
			return query{}, err
		}
	}
	return q, nil
}

// wants says whether what has a property is asked for, as it is unless the parameter says no.
func (q query) wants(property string) bool { return q.Get(property) != "false" }

type named struct {
	Name string `json:"name"`
}

func (a api) receivers(*http.Request) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := []named{}
	for _, name := range a.config.receivers {
		all = append(all, named{name})
	}
	return all, nil
}

func (a api) status(*http.Request) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	cluster := map[string]any{"status": "disabled", "peers": []any{}}
	if a.peer != "" {
		cluster = map[string]any{"status": "ready", "name": a.ledger, "peers": []any{map[string]string{"name": a.ledger, "address": a.peer}}}
	}
	return map[string]any{
		"cluster": cluster, "config": map[string]string{"original": a.config.text}, "uptime": a.began,
		"versionInfo": map[string]string{"version": "", "revision": "", "branch": "", "buildUser": "", "buildDate": "", "goVersion": runtime.Version()},
	}, nil
}

// alertJSON is an alert as it comes and goes.
type alertJSON struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

// shown is an alert with what has become of it.
type shown struct {
	alertJSON
	UpdatedAt   time.Time `json:"updatedAt"`
	Fingerprint string    `json:"fingerprint"`
	Receivers   []named   `json:"receivers"`
	Status      struct {
		State       string   `json:"state"`
		SilencedBy  []string `json:"silencedBy"`
		InhibitedBy []string `json:"inhibitedBy"`
		MutedBy     []string `json:"mutedBy"`
	} `json:"status"`
}

func (t *teller) shown(g given, targets []alert.Target, causes []alert.Cause) shown {
	annotations := g.Annotations
	if annotations == nil {
		annotations = map[string]string{}
	}
	s := shown{
		alertJSON: alertJSON{g.Labels.Map(), annotations, g.Fired, g.end(), g.generator},
		UpdatedAt: g.Updated, Fingerprint: fingerprint(g.Labels), Receivers: []named{},
	}
	for _, target := range targets {
		s.Receivers = append(s.Receivers, named{t.receiver(target)})
	}
	by := &s.Status
	by.State, by.SilencedBy, by.InhibitedBy, by.MutedBy = "active", []string{}, []string{}, []string{}
	for _, cause := range causes {
		by.State = "suppressed"
		switch cause.By {
		case alert.BySilence:
			by.SilencedBy = append(by.SilencedBy, cause.Name)
		case alert.ByInhibition:
			by.InhibitedBy = append(by.InhibitedBy, fingerprint(cause.From))
		default:
			by.MutedBy = append(by.MutedBy, cause.Name)
		}
	}
	return s
}

// receiver returns the receiver to which a target belongs.
func (t *teller) receiver(target alert.Target) string {
	return t.config.ways[target.Receivers[0].Name].receiver // the root has one, and a receiver has at least one way
}

// asked says whether a query asks for an alert that is there now.
func (q query) asked(s shown, now time.Time) bool {
	return !s.EndsAt.Before(now) && (q.wants("active") || s.Status.State != "active") &&
		(q.wants("silenced") || len(s.Status.SilencedBy) == 0) && (q.wants("inhibited") || len(s.Status.InhibitedBy) == 0)
}

func (a api) listAlerts(r *http.Request) (any, error) {
	q, err := a.query(r)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now, all := time.Now(), []shown{}
	causes := a.dispatcher().CausesOf(&a.state, a.list())
	for l, g := range a.alerts {
		targets := a.dispatcher().Route(l)
		s := a.shown(g, targets, causes(alert.Target{}, l, now))
		if q.match.Match(l) && q.asked(s, now) && slices.ContainsFunc(s.Receivers, func(n named) bool { return q.receiver.MatchString(n.Name) }) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b shown) int { return strings.Compare(a.Fingerprint, b.Fingerprint) })
	return all, nil
}

func (a api) groups(r *http.Request) (any, error) {
	q, err := a.query(r)
	if err != nil {
		return nil, err
	}
	type group struct {
		Labels   map[string]string `json:"labels"`
		Receiver named             `json:"receiver"`
		Alerts   []shown           `json:"alerts"`
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now, all := time.Now(), []group{}
	causes := a.dispatcher().CausesOf(&a.state, a.list())
	for _, g := range a.dispatcher().Groups(a.list()) {
		out := group{g.Labels.Map(), named{a.receiver(g.Target)}, nil}
		for _, one := range g.Alerts {
			s := a.shown(a.alerts[one.Labels], a.dispatcher().Route(one.Labels), causes(g.Target, one.Labels, now))
			if q.match.Match(one.Labels) && q.asked(s, now) && (q.wants("muted") || len(s.Status.MutedBy) == 0) {
				out.Alerts = append(out.Alerts, s)
			}
		}
		if len(out.Alerts) > 0 && q.receiver.MatchString(out.Receiver.Name) {
			all = append(all, out)
		}
	}
	return all, nil
}

// postAlerts takes those alerts that can be, and says what was wrong with the others.
func (a api) postAlerts(r *http.Request) (any, error) {
	var posted []alertJSON
	if err := json.NewDecoder(r.Body).Decode(&posted); err != nil {
		return nil, err
	}
	now := time.Now()
	var errs []error
	for _, p := range posted {
		l, err := a.labels(p.Labels)
		if err != nil {
			errs = append(errs, fmt.Errorf("invalid label set: %w", err))
			continue
		}
		errs = append(errs, a.give(alert.Given{Labels: l, Annotations: p.Annotations, Starts: p.StartsAt, Ends: p.EndsAt}, p.GeneratorURL, now))
	}
	a.planAgain()
	return nil, errors.Join(errs...)
}

func (t *teller) labels(labels map[string]string) (alert.Labels, error) {
	for name := range labels {
		if err := t.names.name(name); err != nil {
			return alert.Labels{}, err
		}
	}
	return alert.NewLabels(labels)
}

// silenceJSON is a silence as it comes and goes.
type silenceJSON struct {
	ID        string        `json:"id,omitempty"`
	Matchers  []matcherJSON `json:"matchers"`
	StartsAt  time.Time     `json:"startsAt"`
	EndsAt    time.Time     `json:"endsAt"`
	CreatedBy string        `json:"createdBy"`
	Comment   string        `json:"comment"`
	UpdatedAt time.Time     `json:"updatedAt,omitzero"`
	Status    *statusJSON   `json:"status,omitempty"`
}

type matcherJSON struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual *bool  `json:"isEqual,omitempty"` // left out: true
}

type statusJSON struct {
	State alert.SilencePhase `json:"state"`
}

func shownSilence(s alert.Silence, now time.Time) silenceJSON {
	out := silenceJSON{s.ID, nil, s.Starts, s.Ends, s.By, s.Note, s.Updated, &statusJSON{s.Phase(now)}}
	for _, m := range s.Matchers {
		equal := m.Op() == alert.Equal || m.Op() == alert.Match
		out.Matchers = append(out.Matchers, matcherJSON{m.Name(), m.Value(), m.Op() == alert.Match || m.Op() == alert.NotMatch, &equal})
	}
	return out
}

// listSilences lists the silences that have every matcher that is asked for: what is active first and that which ends first, then
// what begins first, then what has ended last.
func (a api) listSilences(r *http.Request) (any, error) {
	q, err := a.query(r)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now, all := time.Now(), []silenceJSON{}
	for _, s := range a.state.Silences() {
		has := func(want alert.Matcher) bool {
			return slices.ContainsFunc(s.Matchers, func(m alert.Matcher) bool { return m.String() == want.String() })
		}
		if q.wants(string(s.Phase(now))) && !slices.ContainsFunc(q.match, func(m alert.Matcher) bool { return !has(m) }) {
			all = append(all, shownSilence(s, now))
		}
	}
	order := []alert.SilencePhase{alert.SilenceActive, alert.SilencePending, alert.SilenceExpired}
	slices.SortStableFunc(all, func(a, b silenceJSON) int {
		if c := cmp.Compare(slices.Index(order, a.Status.State), slices.Index(order, b.Status.State)); c != 0 {
			return c
		}
		switch a.Status.State {
		case alert.SilencePending:
			return a.StartsAt.Compare(b.StartsAt)
		case alert.SilenceExpired:
			return b.EndsAt.Compare(a.EndsAt)
		}
		return a.EndsAt.Compare(b.EndsAt)
	})
	return all, nil
}

func (a api) silence(r *http.Request) (any, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.state.Silences() {
		if s.ID == r.PathValue("id") {
			return shownSilence(s, time.Now()), nil
		}
	}
	return nil, &alert.Error{Kind: alert.ErrNotFound, Field: "silence", Value: r.PathValue("id")}
}

func (a api) postSilence(r *http.Request) (any, error) {
	var posted silenceJSON
	if err := json.NewDecoder(r.Body).Decode(&posted); err != nil {
		return nil, err
	}
	want := alert.Silence{ID: posted.ID, Starts: posted.StartsAt, Ends: posted.EndsAt, By: posted.CreatedBy, Note: posted.Comment}
	for i, p := range posted.Matchers {
		op := alert.Equal
		switch equal := p.IsEqual == nil || *p.IsEqual; {
		case p.IsRegex && equal:
			op = alert.Match
		case p.IsRegex:
			op = alert.NotMatch
		case !equal:
			op = alert.NotEqual
		}
		m, err := alert.NewMatcher(p.Name, op, p.Value)
		if err = errors.Join(a.names.name(p.Name), err); err != nil {
			return nil, fmt.Errorf("invalid silence: invalid label matcher %d: %w", i, err)
		}
		want.Matchers = append(want.Matchers, m)
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	is, events, err := a.state.SetSilence(want, uuid(), now)
	if err != nil {
		return nil, fmt.Errorf("invalid silence: %w", err)
	}
	a.planAgain()
	return map[string]string{"silenceID": is.ID}, a.apply(events, now)
}

func (a api) deleteSilence(r *http.Request) (any, error) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	events, err := a.state.EndSilence(r.PathValue("id"), "", now)
	if err != nil {
		return nil, err
	}
	a.planAgain()
	return nil, a.apply(events, now)
}

// uuid returns a random UUID (RFC 9562, version 4), which is what clients take for a silence's ID.
func uuid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
