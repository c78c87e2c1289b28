package auth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Identity is who speaks, as an [Authenticator] found out. The zero value is nobody. An embedder that makes one itself must be as sure
// as if it had asked for a password.
type Identity struct {
	Principal string   `json:"principal"`        // id of a Principal
	Groups    []string `json:"groups,omitempty"` // that whoever vouches for it says it is in, such as "corp:operators"

	// Whole: it speaks with all rights of its principal. Otherwise only with those that one of Limits has too, so that without any it
	// speaks with none.
	Whole  bool    `json:"whole,omitempty"`
	Limits []Limit `json:"limits,omitempty"`

	Generation pool.Revision `json:"generation,omitempty"` // Principal.Generation when it was authenticated
	Token      string        `json:"token,omitempty"`      // id of the API token that it came with
	Expires    time.Time     `json:"expires,omitzero"`     // of the credentials; zero: they do not
}

// Limit bounds what a token can do: at most what the role could in the scope, and never more than its owner may at that moment.
type Limit struct {
	Role  Role  `json:"role"`
	Scope Scope `json:"scope"`
}

// Valid reports, as an error, what cannot be meant.
func (l Limit) Valid() error {
	if err := l.Role.Valid(); err != nil {
		return err
	}
	return l.Scope.Valid()
}

// Thing is what a request is about. For something that is to be made, it is what would be; for a list, use [State.View].
type Thing struct {
	Resource Resource
	Project  string // that it lies in; empty: in none
	Owner    string // principal who made it, or whose it is; empty: nobody's
}

// Request is a question to an [Authorizer].
type Request struct {
	By    Identity
	Verb  Verb // exactly one
	Thing Thing
}

// Authenticator finds out whose credentials these are. An error that is not ErrUnauthenticated says that nothing could be found out, which
// lets nobody in either. Implementations are safe for concurrent use.
type Authenticator interface {
	Authenticate(ctx context.Context, c Credential) (Identity, error)
}

// Authorizer says whether a request is allowed: nil, or a *Refusal, or what kept it from deciding, which allows nothing. Implementations
// are safe for concurrent use.
type Authorizer interface {
	Authorize(ctx context.Context, r Request) error
}

// The kinds of refusal. Test for them with errors.Is.
var (
	// ErrUnauthenticated: it is not known who asks.
	ErrUnauthenticated = errors.New("not authenticated")
	// ErrForbidden: who asks may not.
	ErrForbidden = errors.New("not allowed")
	// ErrThrottled: too many have failed; Refusal.Wait says for how long.
	ErrThrottled = errors.New("too many attempts")
)

// Reason is why a request is refused.
type Reason string

// The reasons. The first ones are an Authenticator's, or of an Identity that was good and is so no more.
const (
	NoCredentials  Reason = "no credentials"
	BadCredentials Reason = "the credentials are not right"
	Expired        Reason = "the credentials have expired"
	Revoked        Reason = "the credentials have been revoked"
	NoPrincipal    Reason = "no such principal"
	Disabled       Reason = "the principal is disabled"
	Throttled      Reason = "too many attempts have failed"

	NotInTable   Reason = "nobody may"
	NoBinding    Reason = "nothing is bound to the principal"
	OutOfScope   Reason = "it lies outside of what the principal is bound to"
	NotByRole    Reason = "the role does not allow it"
	NotOwn       Reason = "it is somebody else's"
	OutOfLimits  Reason = "the token does not allow it"
	NotByToken   Reason = "no token allows it; sign in"
	WouldLockOut Reason = "nobody could administer any more"
)

// Refusal is the error of a request that is refused. It says nothing about the thing that the request does not say.
type Refusal struct {
	Kind   error // ErrUnauthenticated, ErrForbidden or ErrThrottled
	Reason Reason
	Verb   Verb     // of ErrForbidden
	On     Resource // of ErrForbidden

	// Hidden: the principal may not know that there is such a thing. Answer as if there were none.
	Hidden bool
	Wait   time.Duration // of ErrThrottled
	Cause  error         // for the log; not in the message
}

// Error implements error.
func (r *Refusal) Error() string {
	var b strings.Builder
	if r.On != "" {
		b.WriteString(r.Verb.String() + " " + string(r.On) + ": ")
	}
	b.WriteString(r.Kind.Error())
	b.WriteString(": " + string(r.Reason))
	return b.String()
}

// Unwrap makes errors.Is and errors.As see the kind and the cause.
func (r *Refusal) Unwrap() []error {
	if r.Cause == nil {
		return []error{r.Kind}
	}
	return []error{r.Kind, r.Cause}
}

// Access is what was decided about a request.
type Access struct {
	Allowed bool
	Reason  Reason // why not
	Binding string // that allows it; empty where none is needed
	Hidden  bool   // of what is refused: see Refusal.Hidden
}

// Err returns nil, or the *Refusal.
func (a Access) Err(r Request) error {
	if a.Allowed {
		return nil
	}
	kind := ErrForbidden
	switch a.Reason {
	case NoPrincipal, Disabled, Revoked, Expired:
		kind = ErrUnauthenticated
	}
	return &Refusal{Kind: kind, Reason: a.Reason, Verb: r.Verb, On: r.Thing.Resource, Hidden: a.Hidden}
}

// Access decides a request on what is known. It is pure: the same State, projects, request and moment give the same.
func (s *State) Access(projects Lineage, r Request, now time.Time) Access {
	if reason := s.good(r.By, now); reason != "" {
		return Access{Reason: reason, Hidden: true}
	}
	row, ok := rowOf(r.Thing.Resource)
	path, known := projects.path(r.Thing.Project)
	if !ok || !r.Verb.one() || !known {
		return Access{Reason: NotInTable, Hidden: true}
	}
	a := s.decide(row, path, r)
	if !a.Allowed && r.Verb != Read {
		r.Verb = Read
		a.Hidden = !s.decide(row, path, r).Allowed
	} else {
		a.Hidden = !a.Allowed
	}
	return a
}

// Good returns nil for as long as an identity is to be heard, and otherwise the *Refusal: for whoever holds one for longer than a request.
func (s *State) Good(by Identity, now time.Time) error {
	if why := s.good(by, now); why != "" {
		return Unauthenticated(why, nil)
	}
	return nil
}

// good returns why an identity is not, or is no more, to be heard; empty if it is.
func (s *State) good(by Identity, now time.Time) Reason {
	p, ok := s.principals.get(by.Principal)
	switch {
	case !ok:
		return NoPrincipal
	case p.Disabled:
		return Disabled
	case by.Generation != p.Generation:
		return Revoked
	case !by.Expires.IsZero() && !now.Before(by.Expires):
		return Expired
	case by.Token != "":
		t, ok := p.token(by.Token)
		if !ok {
			return Revoked
		}
		if t.expired(now) {
			return Expired
		}
	}
	return ""
}

func (s *State) decide(row Row, path []string, r Request) Access {
	own := r.Thing.Owner != "" && r.Thing.Owner == r.By.Principal
	a := s.bound(row, path, own, r)
	switch {
	case !a.Allowed || r.By.Whole:
		return a
	case wantsWhole(row.Resource, r.Verb):
		return Access{Reason: NotByToken}
	}
	for _, l := range r.By.Limits {
		anyones, owns := row.may(l.Role)
		if own {
			anyones |= owns | row.Self
		}
		if row.Shared&r.Verb != 0 || anyones&r.Verb != 0 && l.Scope.covers(r.Verb, path, own) {
			return a
		}
	}
	return Access{Reason: OutOfLimits}
}

// bound decides by what the principal and its groups are bound to.
func (s *State) bound(row Row, path []string, own bool, r Request) Access {
	if own && row.Self&r.Verb != 0 {
		return Access{Allowed: true}
	}
	why := NoBinding
	p, _ := s.principals.get(r.By.Principal)
	for b := range s.bindingsOf(r.By) {
		if row.Shared&r.Verb != 0 {
			return Access{Allowed: true, Binding: b.ID}
		}
		if p.Project != "" && !slices.Contains(path, p.Project) {
			return Access{Reason: OutOfScope} // or a project's admins would have what its service account was given elsewhere
		}
		anyones, owns := row.may(b.Role)
		within := b.Scope.covers(r.Verb, path, own)
		switch {
		case within && (anyones&r.Verb != 0 || own && owns&r.Verb != 0):
			return Access{Allowed: true, Binding: b.ID}
		case owns&r.Verb != 0 && !own && (within || b.Scope.covers(r.Verb, path, true)):
			why = NotOwn
		case within && why != NotOwn:
			why = NotByRole
		case why == NoBinding:
			why = OutOfScope
		}
	}
	return Access{Reason: why}
}

// View says which things of a resource an identity may read, for lists, counts and streams. It is good for as long as nothing changes
// that it was made from; the zero value shows nothing.
type View struct {
	s        *State
	projects Lineage
	by       Identity
	row      Row
	paths    map[string][]string // of projects, as far as they were needed
}

// View returns what an identity may read of a resource; nothing if it is not to be heard at all. It is for one goroutine.
func (s *State) View(projects Lineage, by Identity, r Resource, now time.Time) View {
	row, ok := rowOf(r)
	if !ok || s.good(by, now) != "" {
		return View{}
	}
	return View{s, projects, by, row, make(map[string][]string)}
}

// Shows reports whether a thing in that project with that owner may be read, as [State.Access] would say.
func (v View) Shows(project, owner string) bool {
	if v.s == nil {
		return false
	}
	path, ok := v.paths[project]
	if !ok {
		if path, ok = v.projects.path(project); !ok {
			return false
		}
		v.paths[project] = path
	}
	return v.s.decide(v.row, path, Request{By: v.by, Verb: Read, Thing: Thing{Project: project, Owner: owner}}).Allowed
}

// Books is an [Authorizer] on a State that is kept up to date elsewhere.
type Books struct {
	// Read has what is known now looked at, and how projects lie in one another, for the length of a call. Without a call, and with an
	// error, everything is refused: return one, too, when what is known is too old to be relied on.
	Read func(ctx context.Context, look func(*State, Lineage)) error
}

// Authorize implements Authorizer.
func (b Books) Authorize(ctx context.Context, r Request) error {
	a := Access{Reason: NotInTable, Hidden: true}
	if err := b.Read(ctx, func(s *State, projects Lineage) { a = s.Access(projects, r, time.Now()) }); err != nil {
		return err
	}
	return a.Err(r)
}
