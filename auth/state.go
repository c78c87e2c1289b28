package auth

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Name is that of the part, with which its kinds of event begin.
const Name = "auth"

// The kinds of event. What is personal or secret in them is private, under [Subject].
const (
	PrincipalPut      = "auth.principal.put"
	PrincipalRemoved  = "auth.principal.removed"
	PrincipalDisabled = "auth.principal.disabled" // or enabled again
	PrincipalReset    = "auth.principal.reset"    // all that it held is void, but for its API tokens
	PasswordSet       = "auth.password.set"       // #nosec G101 -- a kind of event
	SecondSet         = "auth.second.set"
	SecondRemoved     = "auth.second.removed"
	RecoveryUsed      = "auth.recovery.used"
	BindingPut        = "auth.binding.put"
	BindingRemoved    = "auth.binding.removed"
	TokenPut          = "auth.token.put"     // #nosec G101 -- likewise
	TokenRemoved      = "auth.token.removed" // #nosec G101 -- likewise
	KeyPut            = "auth.key.put"
	KeyRemoved        = "auth.key.removed"
	PasskeyPut        = "auth.passkey.put"     // #nosec G101 -- likewise
	PasskeyRemoved    = "auth.passkey.removed" // #nosec G101 -- likewise
)

// fact is the data of all kinds of event; each uses some of it.
type fact struct {
	ID        string     `json:"id,omitempty"`        // of the binding, token, key or passkey
	Principal string     `json:"principal,omitempty"` // concerned
	Put       *Principal `json:"put,omitempty"`       // without what is personal
	Disabled  bool       `json:"disabled,omitempty"`
	Same      bool       `json:"same,omitempty"` // the same password, hashed anew
	Code      int        `json:"code,omitempty"` // of the recovery codes
	Binding   *Binding   `json:"binding,omitempty"`
	Token     *Token     `json:"token,omitempty"`
	Key       *Key       `json:"key,omitempty"` // without the line
}

// private is what of an event may be forgotten.
type private struct {
	Name     string   `json:"name,omitempty"`
	Email    string   `json:"email,omitempty"`
	Login    string   `json:"login,omitempty"`
	Hash     string   `json:"hash,omitempty"`
	Secret   []byte   `json:"secret,omitempty"`
	Recovery []string `json:"recovery,omitempty"`
	Line     string   `json:"line,omitempty"`
	Passkey  *Passkey `json:"passkey,omitempty"` // without ids and times
}

// State is what the ledger knows of principals and what they may do: a [pool.Part], immutable, safe for concurrent use. That of [New] is
// of a ledger that knows nobody, in which nobody may do anything.
type State struct {
	lineage func(*pool.State) Lineage // of the books that commands are decided on; not written down

	principals sharded[*record]
	names      sharded[string]    // id by name
	tokens     sharded[string]    // principal by the id of a token
	passkeys   sharded[string]    // principal by what an authenticator calls a passkey
	bindings   sharded[string]    // principal by the id of a binding; empty for those of groups
	groups     sharded[[]Binding] // by group
}

// New returns the State of a ledger that knows nobody. Lineage says how projects lie in one another in the books that a command is decided
// on; nil: [LineageOf].
func New(lineage func(*pool.State) Lineage) *State { return &State{lineage: lineage} }

// Of returns the State in the books; one that knows nobody if they have none.
func Of(st *pool.State) *State {
	if p, ok := st.Part(Name); ok {
		if s, ok := p.(*State); ok {
			return s
		}
	}
	return New(nil)
}

// Name implements pool.Part.
func (s *State) Name() string { return Name }

// Principal returns the principal of that id.
func (s *State) Principal(id string) (Principal, bool) {
	if r, ok := s.principals.get(id); ok {
		return r.Principal, true
	}
	return Principal{}, false
}

// Named returns the principal with that name.
func (s *State) Named(name string) (Principal, bool) {
	id, ok := s.names.get(name)
	if !ok {
		return Principal{}, false
	}
	return s.Principal(id)
}

// Principals yields all of them by id.
func (s *State) Principals() iter.Seq[Principal] {
	return func(yield func(Principal) bool) {
		for _, r := range s.principals.all() {
			if !yield(r.Principal) {
				return
			}
		}
	}
}

// Password returns what is known of a principal's.
func (s *State) Password(principal string) (Password, bool) {
	if r, ok := s.principals.get(principal); ok && r.Password != nil {
		return *r.Password, true
	}
	return Password{}, false
}

// Second returns what is known of a principal's second factor; false: it has none.
func (s *State) Second(principal string) (SecondFactor, bool) {
	if r, ok := s.principals.get(principal); ok && r.Second != nil {
		f := *r.Second
		f.Secret, f.Recovery, f.Used = bytes.Clone(f.Secret), slices.Clone(f.Recovery), slices.Clone(f.Used)
		return f, true
	}
	return SecondFactor{}, false
}

// Bindings yields all of them: those of principals by principal, and then those of groups by group.
func (s *State) Bindings() iter.Seq[Binding] {
	return func(yield func(Binding) bool) {
		for _, r := range s.principals.all() {
			for _, b := range r.Bindings {
				if !yield(b) {
					return
				}
			}
		}
		for _, bs := range s.groups.all() {
			for _, b := range bs {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// bindingsOf yields those that an identity has, by itself and by its groups.
func (s *State) bindingsOf(by Identity) iter.Seq[Binding] {
	return func(yield func(Binding) bool) {
		if r, ok := s.principals.get(by.Principal); ok {
			for _, b := range r.Bindings {
				if !yield(b) {
					return
				}
			}
		}
		for _, g := range by.Groups {
			bs, _ := s.groups.get(g)
			for _, b := range bs {
				if !yield(b) {
					return
				}
			}
		}
	}
}

// Binding returns the binding of that id.
func (s *State) Binding(id string) (Binding, bool) {
	holder, ok := s.bindings.get(id)
	if !ok {
		return Binding{}, false
	}
	if holder != "" {
		r, _ := s.principals.get(holder)
		return find(r.Bindings, func(b Binding) bool { return b.ID == id })
	}
	for _, bs := range s.groups.all() {
		if b, ok := find(bs, func(b Binding) bool { return b.ID == id }); ok {
			return b, true
		}
	}
	return Binding{}, false
}

// Tokens returns a principal's, in the order in which they were made, without those that have expired being left out.
func (s *State) Tokens(principal string) []Token {
	r, ok := s.principals.get(principal)
	if !ok {
		return nil
	}
	return slices.Clone(r.Tokens)
}

// Token returns the token of that id.
func (s *State) Token(id string) (Token, bool) {
	holder, ok := s.tokens.get(id)
	if !ok {
		return Token{}, false
	}
	r, _ := s.principals.get(holder)
	return r.token(id)
}

// Keys returns a principal's, in the order in which they were made.
func (s *State) Keys(principal string) []Key {
	r, ok := s.principals.get(principal)
	if !ok {
		return nil
	}
	return slices.Clone(r.Keys)
}

// Passkeys returns a principal's, in the order in which they were registered.
func (s *State) Passkeys(principal string) []Passkey {
	r, ok := s.principals.get(principal)
	if !ok {
		return nil
	}
	out := make([]Passkey, len(r.Passkeys))
	for n, k := range r.Passkeys {
		out[n] = k.clone()
	}
	return out
}

// Guest returns the user, and the keys that are good at that moment, for a machine that is made for a principal; login is the user of
// those who have not chosen one, empty for that of the image.
func (s *State) Guest(principal, login string, at time.Time) pool.Guest {
	r, ok := s.principals.get(principal)
	if !ok || r.Disabled {
		return pool.Guest{}
	}
	g := pool.Guest{User: login}
	if r.Login != "" {
		g.User = r.Login
	}
	for _, k := range r.Keys {
		if k.Good(at) {
			g.SSHKeys = append(g.SSHKeys, k.Line)
		}
	}
	return g
}

// About returns which thing an event of the part is about, for whoever shows events to those who may read it; false for an event of another
// kind. What it was before it was removed is asked of the State before.
func (s *State) About(e *pool.Event) (Thing, bool) {
	var f fact
	kind, ok := strings.CutPrefix(e.Kind, Name+".")
	if !ok || read(e.Data, &f) != nil {
		return Thing{}, false
	}
	of, _, _ := strings.Cut(kind, ".")
	resource, ok := map[string]Resource{
		"principal": Users, "password": Credentials, "second": Credentials, "recovery": Credentials, "binding": Bindings, "token": Tokens, "key": Keys,
		"passkey": Credentials,
	}[of]
	t := Thing{Resource: resource, Owner: f.Principal}
	switch {
	case f.Put != nil:
		t.Owner, t.Project = f.Put.ID, f.Put.Project
	case f.Binding != nil:
		t.Owner, t.Project = f.Binding.Principal, f.Binding.Scope.Project
	case resource == Bindings:
		b, _ := s.Binding(f.ID)
		t.Project = b.Scope.Project
	default:
		p, _ := s.Principal(f.Principal)
		t.Project = p.Project
	}
	return t, ok
}

func find[T any](in []T, is func(T) bool) (T, bool) {
	if n := slices.IndexFunc(in, is); n >= 0 {
		return in[n], true
	}
	var none T
	return none, false
}

// saved is the State in a snapshot.
type saved struct {
	Principals []*record `json:"principals,omitempty"`
	Groups     []Binding `json:"groups,omitempty"`
}

// Save implements pool.Part.
func (s *State) Save() ([]byte, error) {
	if s.principals.n == 0 && s.bindings.n == 0 {
		return nil, nil
	}
	var out saved
	for _, r := range s.principals.all() {
		out.Principals = append(out.Principals, r)
	}
	for _, bs := range s.groups.all() {
		out.Groups = append(out.Groups, bs...)
	}
	return json.Marshal(out)
}

// Load implements pool.Part.
func (s *State) Load(b []byte) (pool.Part, error) {
	var in saved
	if err := read(b, &in); err != nil {
		return nil, err
	}
	n := New(s.lineage)
	for _, r := range in.Principals {
		if r == nil || r.ID == "" {
			return nil, invalid("principals", "", "principals with an id")
		}
		if _, twice := n.principals.get(r.ID); twice {
			return nil, invalid("principals", r.ID, "every principal once")
		}
		n.load(r)
	}
	for _, b := range in.Groups {
		n.putGroup(b)
	}
	return n, nil
}

// load adds a principal to a State of which nobody has seen anything yet.
func (s *State) load(r *record) {
	s.principals.set(r.ID, r)
	if r.Name != "" {
		s.names.set(r.Name, r.ID)
	}
	for _, t := range r.Tokens {
		s.tokens.set(t.ID, r.ID)
	}
	for _, k := range r.Passkeys {
		if !k.forgotten() {
			s.passkeys.set(string(k.Credential), r.ID)
		}
	}
	for _, b := range r.Bindings {
		s.bindings.set(b.ID, r.ID)
	}
}

// put replaces what is known of a principal, on a State that nobody else sees yet.
func (s *State) put(r *record) {
	if old, ok := s.principals.get(r.ID); ok {
		s.drop(old)
	}
	s.principals = s.principals.with(r.ID, r)
	if r.Name != "" {
		s.names = s.names.with(r.Name, r.ID)
	}
	for _, t := range r.Tokens {
		s.tokens = s.tokens.with(t.ID, r.ID)
	}
	for _, k := range r.Passkeys {
		if !k.forgotten() {
			s.passkeys = s.passkeys.with(string(k.Credential), r.ID)
		}
	}
	for _, b := range r.Bindings {
		s.bindings = s.bindings.with(b.ID, r.ID)
	}
}

// drop takes a principal away, likewise.
func (s *State) drop(r *record) {
	s.principals = s.principals.without(r.ID)
	if id, ok := s.names.get(r.Name); ok && id == r.ID {
		s.names = s.names.without(r.Name)
	}
	for _, t := range r.Tokens {
		s.tokens = s.tokens.without(t.ID)
	}
	for _, k := range r.Passkeys {
		s.passkeys = s.passkeys.without(string(k.Credential))
	}
	for _, b := range r.Bindings {
		s.bindings = s.bindings.without(b.ID)
	}
}

func (s *State) putGroup(b Binding) {
	bs, _ := s.groups.get(b.Group)
	s.groups = s.groups.with(b.Group, replaced(bs, b, func(o Binding) bool { return o.ID == b.ID }))
	s.bindings = s.bindings.with(b.ID, "")
}

// replaced returns a list with v in the place of what it replaces, or at its end.
func replaced[T any](in []T, v T, same func(T) bool) []T {
	out := slices.Clone(in)
	if n := slices.IndexFunc(out, same); n >= 0 {
		out[n] = v
		return out
	}
	return append(out, v)
}

func removed[T any](in []T, is func(T) bool) []T { return slices.DeleteFunc(slices.Clone(in), is) }

// read is pool.PartData without the cause, which may quote what is secret.
func read(b []byte, into any) error {
	if pool.PartData(b, into) != nil {
		return &pool.Error{Kind: pool.ErrInvalid, Want: "JSON of this kind"}
	}
	return nil
}
