package quota

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
)

// PartName is the name of Requests as a pool.Part, with which its kinds of event begin.
const PartName = "quota"

// The kinds of event of Requests.
const (
	KindAsked   = "quota.asked"   // Ask
	KindDecided = "quota.decided" // Decision; where it is granted the project's new limits stand in the same batch
)

// Status is what has become of a request.
type Status string

// The states of a request; all but Open are for ever.
const (
	Open      Status = "open"
	Granted   Status = "granted"
	Refused   Status = "refused"
	Withdrawn Status = "withdrawn"
)

// Ask asks for higher limits. ID is the asker's: the same again is the same request, in one project.
type Ask struct {
	Project string         `json:"project"`
	ID      string         `json:"id"`              // as pool.ValidName
	Owner   string         `json:"owner,omitempty"` // whose limits within the project are to be raised; empty: the project's own
	Quota   pool.Resources `json:"quota"`           // what they are to be, of 1 to 16 classes that are limited now
	Reason  string         `json:"reason"`          // printable, 1 to 1000 bytes
}

// Decision ends a request that is open. Granted, it raises the limits; Quota is then what is granted where that is less than was asked for.
type Decision struct {
	Project string         `json:"project"`
	ID      string         `json:"id"`
	Status  Status         `json:"status"`           // Granted, Refused or Withdrawn
	Quota   pool.Resources `json:"quota,omitempty"`  // of Granted: at most what was asked for, class by class; none: all of it
	Reason  string         `json:"reason,omitempty"` // printable, at most 1000 bytes; a refusal has one
}

// Request is a request with what has become of it.
type Request struct {
	Ask
	Status   Status        `json:"status"`
	By       string        `json:"by"` // actor of the event
	At       time.Time     `json:"at"`
	Revision pool.Revision `json:"revision"` // at which it was asked

	DecidedBy string         `json:"decided_by,omitempty"`
	DecidedAt time.Time      `json:"decided_at,omitzero"`
	Given     pool.Resources `json:"given,omitempty"`  // of Granted: the limits that were given
	Answer    string         `json:"answer,omitempty"` // the decision's Reason
}

// Bounds of requests.
const (
	MaxOpen     = 16   // that are open in one project
	MaxOpenAll  = 2000 // in all
	MaxRequests = 5000 // kept; beyond that those that were decided first are forgotten here, and stand in the ledger only
	maxClasses  = 16
	maxReason   = 1000
)

// Requests are the requests to raise quotas, as a pool.Part: they are asked and decided in the ledger, where who asked and who decided
// is written with everything else. It is immutable; the zero value has none.
type Requests struct {
	all map[requestKey]*Request
}

type requestKey struct{ project, id string }

func (a *Ask) key() requestKey { return requestKey{a.Project, a.ID} }

// Name implements pool.Part.
func (Requests) Name() string { return PartName }

// Of returns the requests of a project, or of all where it is empty: the newest first.
func (r Requests) Of(project string) []Request {
	out := []Request{}
	for _, q := range r.all {
		if project == "" || q.Project == project {
			out = append(out, q.clone())
		}
	}
	slices.SortFunc(out, func(a, b Request) int { return -compare(&a, &b) })
	return out
}

// Get returns a request.
func (r Requests) Get(project, id string) (Request, bool) {
	q, ok := r.all[requestKey{project, id}]
	if !ok {
		return Request{}, false
	}
	return q.clone(), true
}

func (q *Request) clone() Request {
	c := *q
	c.Quota, c.Given = maps.Clone(q.Quota), maps.Clone(q.Given)
	return c
}

func compare(a, b *Request) int {
	return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Project, b.Project), cmp.Compare(a.ID, b.ID))
}

// Command is what Decide takes: one of its fields is set.
type Command struct {
	Ask    *Ask      `json:"ask,omitempty"`
	Decide *Decision `json:"decide,omitempty"`
}

// Decide returns the events that follow from a Command, as JSON. It is pure.
func (r Requests) Decide(st *pool.State, command json.RawMessage, _ time.Time) ([]pool.Event, error) {
	c, err := read[Command](command)
	switch {
	case err != nil:
		return nil, err
	case c.Ask != nil && c.Decide == nil:
		return r.ask(st, c.Ask)
	case c.Decide != nil && c.Ask == nil:
		return r.decide(st, c.Decide)
	}
	return nil, invalid("command", "", "one of ask and decide")
}

func (r Requests) ask(st *pool.State, a *Ask) ([]pool.Event, error) {
	p, ok := st.Project(a.Project)
	if !ok {
		return nil, notFound("project", a.Project)
	}
	if old, there := r.all[a.key()]; there {
		if old.Owner != a.Owner || old.Reason != a.Reason || !maps.Equal(old.Quota, a.Quota) {
			return nil, &pool.Error{Kind: pool.ErrExists, Field: "id", Value: a.ID, Want: "an id of its own for each request"}
		}
		return nil, nil
	}
	if err := pool.ValidName(a.ID); err != nil {
		return nil, invalid("id", a.ID, "letters, digits, '.', '-', '_', at most 63 bytes")
	}
	limits := p.Quota
	if a.Owner != "" {
		if err := pool.ValidOwner(a.Owner); err != nil {
			return nil, err
		}
		limits = p.LimitsOf(a.Owner)
	}
	if err := validReason(a.Reason, true); err != nil {
		return nil, err
	}
	if err := a.Quota.Valid(); err != nil {
		return nil, pool.InField("quota", err)
	}
	if len(a.Quota) == 0 || len(a.Quota) > maxClasses {
		return nil, invalid("quota", strconv.Itoa(len(a.Quota)), "1 to "+strconv.Itoa(maxClasses)+" classes")
	}
	for _, c := range slices.Sorted(maps.Keys(a.Quota)) {
		if limit, limited := limits[c]; !limited || a.Quota[c] <= limit {
			return nil, invalid("quota."+string(c), c.Format(a.Quota[c]), "more than the present limit, of a class that has one")
		}
	}
	open, here := 0, 0
	for k, q := range r.all {
		if q.Status == Open {
			open++
			if k.project == a.Project {
				here++
			}
		}
	}
	if here >= MaxOpen || open >= MaxOpenAll {
		return nil, &pool.Error{Kind: pool.ErrUnavailable, Field: "request", Want: "fewer requests that are open; withdraw one, or wait for a decision"}
	}
	return events(KindAsked, a)
}

func (r Requests) decide(st *pool.State, d *Decision) ([]pool.Event, error) {
	q, ok := r.all[requestKey{d.Project, d.ID}]
	if !ok {
		return nil, notFound("request", d.ID)
	}
	if err := validReason(d.Reason, d.Status == Refused); err != nil {
		return nil, err
	}
	switch {
	case d.Status != Granted && d.Status != Refused && d.Status != Withdrawn:
		return nil, invalid("status", string(d.Status), "granted, refused or withdrawn")
	case d.Status != Granted && len(d.Quota) > 0:
		return nil, invalid("quota", "", "none, since nothing is granted")
	case q.Status == d.Status && (len(d.Quota) == 0 || maps.Equal(d.Quota, q.Given)):
		return nil, nil
	case q.Status != Open:
		return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "request", Value: d.ID, Want: "one that is open, not " + string(q.Status)}
	}
	if d.Status != Granted {
		return events(KindDecided, d)
	}
	p, ok := st.Project(d.Project)
	if !ok {
		return nil, notFound("project", d.Project)
	}
	given := *d
	if len(d.Quota) == 0 {
		given.Quota = q.Quota
	}
	for _, c := range slices.Sorted(maps.Keys(given.Quota)) {
		if asked, ok := q.Quota[c]; !ok || given.Quota[c] > asked || given.Quota[c] < 0 {
			return nil, invalid("quota."+string(c), c.Format(given.Quota[c]), "at most what was asked for, of the classes that were asked for")
		}
	}
	out, err := events(KindDecided, &given)
	if err != nil {
		return nil, err
	}
	raised := raise(p.Project.Clone(), q.Owner, given.Quota)
	if raised.Equal(p.Project) {
		return out, nil
	}
	if err := raised.Valid(); err != nil {
		return nil, err
	}
	e, err := pool.NewEvent(pool.KindProjectPut, &raised)
	return append(out, e), err
}

// raise returns the project with higher limits. What has been raised further in the meantime, or is not limited any more, stays.
func raise(p pool.Project, owner string, to pool.Resources) pool.Project {
	limits, now := p.Quota, p.Quota
	if owner != "" {
		limits, now = p.Users[owner], p.LimitsOf(owner)
		if limits == nil {
			limits = make(pool.Resources)
		}
	}
	for c, n := range to {
		if limit, limited := now[c]; limited && n > limit {
			limits[c] = n
		}
	}
	if owner != "" && len(limits) > 0 {
		if p.Users == nil {
			p.Users = make(map[string]pool.Resources)
		}
		p.Users[owner] = limits
	}
	return p
}

func events(kind string, data any) ([]pool.Event, error) {
	e, err := pool.PartEvent(kind, 1, data)
	return []pool.Event{e}, err
}

// Fold implements pool.Part. Who asks and who decides are the actors of the events.
func (r Requests) Fold(e *pool.Event) (pool.Part, error) {
	if e.Kind == pool.KindForgotten { // ids of principals stand in the envelopes, and are no personal data
		return r, nil
	}
	if e.Version != 1 {
		return nil, &pool.Error{Kind: pool.ErrUnknownKind, Field: "kind", Value: e.Kind}
	}
	switch e.Kind {
	case KindAsked:
		a, err := read[Ask](e.Data)
		if err != nil {
			return nil, err
		}
		if _, there := r.all[a.key()]; there {
			return nil, &pool.Error{Kind: pool.ErrExists, Field: "request", Value: a.ID}
		}
		return r.with(&Request{Ask: *a, Status: Open, By: e.Actor, At: e.Time, Revision: e.Revision}), nil
	case KindDecided:
		d, err := read[Decision](e.Data)
		if err != nil {
			return nil, err
		}
		old, there := r.all[requestKey{d.Project, d.ID}]
		if !there {
			return nil, notFound("request", d.ID)
		}
		if old.Status != Open || d.Status == Open {
			return nil, &pool.Error{Kind: pool.ErrWrongState, Field: "request", Value: d.ID, Want: "one that is open"}
		}
		q := *old
		q.Status, q.DecidedBy, q.DecidedAt, q.Given, q.Answer = d.Status, e.Actor, e.Time, d.Quota, d.Reason
		return r.with(&q), nil
	}
	return nil, &pool.Error{Kind: pool.ErrUnknownKind, Field: "kind", Value: e.Kind}
}

// with returns the requests with one more, or another in the place of one, and without the oldest of those that are decided if
// there are too many.
func (r Requests) with(q *Request) Requests {
	n := Requests{maps.Clone(r.all)}
	if n.all == nil {
		n.all = make(map[requestKey]*Request)
	}
	n.all[q.key()] = q
	if len(n.all) > MaxRequests {
		var oldest *Request
		for _, o := range n.all {
			if o.Status != Open && o != q && (oldest == nil || cmp.Or(o.DecidedAt.Compare(oldest.DecidedAt), compare(o, oldest)) < 0) {
				oldest = o
			}
		}
		if oldest != nil {
			delete(n.all, oldest.key())
		}
	}
	return n
}

// Look implements pool.Onlooker: the requests of a project that is removed are not shown to whoever has one of that name later.
func (r Requests) Look(_ *pool.State, e *pool.Event, payload any) (pool.Part, bool) {
	if len(r.all) == 0 || e.Kind != pool.KindProjectRemoved {
		return r, false
	}
	name := payload.(*pool.Named).Name
	n := Requests{maps.Clone(r.all)}
	maps.DeleteFunc(n.all, func(k requestKey, _ *Request) bool { return k.project == name })
	return n, len(n.all) != len(r.all)
}

// Save implements pool.Part.
func (r Requests) Save() ([]byte, error) {
	if len(r.all) == 0 {
		return nil, nil
	}
	all := slices.SortedFunc(maps.Values(r.all), compare)
	return json.Marshal(all)
}

// Load implements pool.Part.
func (Requests) Load(saved []byte) (pool.Part, error) {
	all, err := read[[]*Request](saved)
	if err != nil {
		return nil, err
	}
	r := Requests{make(map[requestKey]*Request)}
	for _, q := range *all {
		if q == nil || r.all[q.key()] != nil {
			return nil, invalid("request", "", "each request once")
		}
		r.all[q.key()] = q
	}
	return r, nil
}

func read[T any](b []byte) (*T, error) {
	v := new(T)
	if err := pool.PartData(b, v); err != nil {
		return nil, err
	}
	return v, nil
}

func validReason(s string, wanted bool) error {
	if wanted && s == "" || pool.ValidText(s, maxReason) != nil {
		return invalid("reason", s, "printable text in one line, at most "+strconv.Itoa(maxReason)+" bytes, and not empty where one is needed")
	}
	return nil
}

func invalid(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

func notFound(what, value string) error {
	return &pool.Error{Kind: pool.ErrNotFound, Field: what, Value: value}
}
