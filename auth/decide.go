package auth

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Command is what is asked of the State; exactly one of the fields after Program is set. It is decided on the revision that its events are
// appended to, and so is whether it is allowed.
type Command struct {
	By      *Identity `json:"by,omitempty"`      // who asks; what they may not is refused
	Program bool      `json:"program,omitempty"` // instead of By: the program itself, which may everything

	Put     *Principal     `json:"put,omitempty"`     // added, or as it is from now on; neither disables nor enables
	Remove  string         `json:"remove,omitempty"`  // a principal, with all that it has
	Disable string         `json:"disable,omitempty"` // a principal
	Enable  string         `json:"enable,omitempty"`
	Reset   string         `json:"reset,omitempty"` // a principal: all that it has signed in with is void, but for API tokens
	Set     *SetPassword   `json:"set,omitempty"`   // alone, or with Put, of the person that is added: both or neither
	Second  *SetSecond     `json:"second,omitempty"`
	Drop    string         `json:"drop,omitempty"` // a principal's second factor
	Recover *UseRecovery   `json:"recover,omitempty"`
	Bind    *Binding       `json:"bind,omitempty"`
	Unbind  string         `json:"unbind,omitempty"` // a binding
	Token   *Token         `json:"token,omitempty"`  // added
	Revoke  string         `json:"revoke,omitempty"` // a token
	Key     *Key           `json:"key,omitempty"`    // added, or as it is from now on
	Take    *PrincipalsKey `json:"take,omitempty"`   // away
}

// SetPassword is that a principal has another password, which makes void what it has signed in with.
type SetPassword struct {
	Principal string `json:"principal"`
	Hash      string `json:"hash"` // as auth/password makes it

	// Same: it is the password that it had at revision If, hashed anew. Nothing is made void, and only the program does so.
	Same bool          `json:"same,omitempty"`
	If   pool.Revision `json:"if,omitempty"`
}

// SetSecond is that a principal has another second factor.
type SetSecond struct {
	Principal string   `json:"principal"`
	Secret    []byte   `json:"secret"`
	Recovery  []string `json:"recovery,omitempty"` // digests of codes, as auth/totp makes them
}

// String says nothing, so that what is printed by mistake is no loss.
func (SetPassword) String() string { return "[password]" }

// GoString is String.
func (SetPassword) GoString() string { return "[password]" }

// String says nothing, likewise.
func (SetSecond) String() string { return "[second factor]" }

// GoString is String.
func (SetSecond) GoString() string { return "[second factor]" }

// UseRecovery is that one of a principal's recovery codes is used up. A second time it is pool.ErrConflict.
type UseRecovery struct {
	Principal string        `json:"principal"`
	Code      int           `json:"code"`
	If        pool.Revision `json:"if"` // SecondFactor.Changed when the code was compared
}

// PrincipalsKey names a key.
type PrincipalsKey struct {
	Principal string `json:"principal"`
	ID        string `json:"id"`
}

// Bounds on what is kept.
const (
	MaxPrincipals = 100_000
	MaxBindings   = 100_000 // of all
	MaxGroupBinds = 1000    // of one group
	MaxBound      = 200     // of one principal
	MaxTokens     = 50      // of one principal, which have not expired
	MaxKeys       = 20      // of one principal
	MaxLine       = 4096    // bytes of a key
	MaxRecovery   = 20      // codes
	MaxSecret     = 512     // bytes of the secret of a second factor
	MaxCommand    = 256 << 10
)

// Decide makes the State a berthage.Decider: it returns the events that follow from a command in JSON, a [Command], without what only
// whoever appends them knows; none when there is nothing to change. Without books (nil) projects do not lie in one another. Errors are *pool.Error and *Refusal, with nothing secret in them.
func (s *State) Decide(st *pool.State, command json.RawMessage, at time.Time) ([]pool.Event, error) {
	if len(command) > MaxCommand {
		return nil, invalid("command", "", "at most 256 KiB")
	}
	var c Command
	if err := read(command, &c); err != nil {
		return nil, err
	}
	if (c.By == nil) == !c.Program {
		return nil, invalid("by", "", "who asks, or that the program itself does")
	}
	d := decision{s: s, by: c.By, projects: s.projects(st), at: at}
	var set []func() error
	add := func(is bool, f func() error) {
		if is {
			set = append(set, f)
		}
	}
	first := c.Put != nil && c.Set != nil
	add(first, func() error { return d.first(*c.Put, *c.Set) })
	add(c.Put != nil && !first, func() error { return d.put(*c.Put) })
	add(c.Remove != "", func() error { return d.remove(c.Remove) })
	add(c.Disable != "", func() error { return d.disable(c.Disable, true) })
	add(c.Enable != "", func() error { return d.disable(c.Enable, false) })
	add(c.Reset != "", func() error { return d.reset(c.Reset) })
	add(c.Set != nil && !first, func() error { return d.password(*c.Set) })
	add(c.Second != nil, func() error { return d.second(*c.Second) })
	add(c.Drop != "", func() error { return d.drop(c.Drop) })
	add(c.Recover != nil, func() error { return d.recover(*c.Recover) })
	add(c.Bind != nil, func() error { return d.bind(*c.Bind) })
	add(c.Unbind != "", func() error { return d.unbind(c.Unbind) })
	add(c.Token != nil, func() error { return d.token(*c.Token) })
	add(c.Revoke != "", func() error { return d.revoke(c.Revoke) })
	add(c.Key != nil, func() error { return d.key(*c.Key) })
	add(c.Take != nil, func() error { return d.take(*c.Take) })
	if len(set) != 1 {
		return nil, invalid("command", "", "exactly one command of a kind that this version knows")
	}
	if err := set[0](); err != nil {
		return nil, err
	}
	if err := d.administrable(); err != nil {
		return nil, err
	}
	return d.events, nil
}

// decision is a command being decided.
type decision struct {
	s        *State
	by       *Identity
	projects Lineage
	at       time.Time
	events   []pool.Event
}

// may refuses what the one who asks may not. It comes before anything is said about what there is.
func (d *decision) may(v Verb, r Resource, project, owner string) error {
	if d.by == nil {
		return nil
	}
	q := Request{By: *d.by, Verb: v, Thing: Thing{Resource: r, Project: project, Owner: owner}}
	return d.s.Access(d.projects, q, d.at).Err(q)
}

// of is may for something of a principal's.
func (d *decision) of(v Verb, r Resource, principal string) (*record, error) {
	p, ok := d.s.principals.get(principal)
	project := ""
	if ok {
		project = p.Project
	}
	if err := d.may(v, r, project, principal); err != nil {
		return nil, err
	}
	if !ok {
		return nil, &pool.Error{Kind: pool.ErrNotFound, Field: "principal", Value: principal}
	}
	return p, nil
}

// add appends an event about a principal.
func (d *decision) add(kind string, f fact, p private) error {
	e, err := pool.PartEvent(kind, 1, f)
	if err != nil {
		return err
	}
	b, err := json.Marshal(p)
	if err != nil {
		return &pool.Error{Kind: pool.ErrInvalid, Field: kind}
	}
	subject := f.Principal
	if f.Put != nil {
		subject = f.Put.ID
	}
	if string(b) != "{}" {
		e.Private, e.Subject = b, Subject(subject)
	}
	d.events = append(d.events, e)
	return nil
}

func (d *decision) put(p Principal) error {
	old, ok := d.s.principals.get(p.ID)
	verb, project := Create, p.Project
	if ok {
		verb, project = Update, old.Project
		if old.Name != p.Name {
			verb = Operate
		}
	}
	owner := p.ID
	if !ok {
		owner = ""
	}
	if err := d.may(verb, Users, project, owner); err != nil {
		return err
	}
	if err := p.Valid(); err != nil {
		return err
	}
	if ok && p.Generation == 0 {
		p.Generation = old.Generation
	}
	switch {
	case ok && (old.Kind != p.Kind || old.Project != p.Project):
		return &pool.Error{Kind: pool.ErrExists, Field: "principal", Value: p.ID, Want: "the kind and the project that it has"}
	case ok && (old.Disabled != p.Disabled || old.Generation != p.Generation), !ok && (p.Disabled || p.Generation != 0):
		return invalid("disabled", "", "as it is: that is changed by a command of its own")
	case !ok && d.s.principals.n >= MaxPrincipals:
		return invalid("principals", "", "at most 100000")
	case ok && old.Principal == p:
		return nil
	}
	if id, taken := d.s.names.get(p.Name); taken && p.Name != "" && id != p.ID {
		return &pool.Error{Kind: pool.ErrExists, Field: "name", Want: "a name that nobody else has"}
	}
	bare := p
	bare.Name, bare.Email, bare.Login, bare.Generation, bare.Disabled = "", "", "", 0, false
	return d.add(PrincipalPut, fact{Put: &bare}, private{Name: p.Name, Email: p.Email, Login: p.Login})
}

func (d *decision) remove(id string) error {
	if _, err := d.of(Delete, Users, id); err != nil {
		return err
	}
	return d.add(PrincipalRemoved, fact{Principal: id}, private{})
}

func (d *decision) disable(id string, disabled bool) error {
	p, err := d.of(Operate, Users, id)
	if err != nil || p.Disabled == disabled {
		return err
	}
	return d.add(PrincipalDisabled, fact{Principal: id, Disabled: disabled}, private{})
}

func (d *decision) reset(id string) error {
	if _, err := d.of(Delete, Sessions, id); err != nil {
		return err
	}
	return d.add(PrincipalReset, fact{Principal: id}, private{})
}

// first adds a person with its first password.
func (d *decision) first(p Principal, c SetPassword) error {
	if err := d.put(p); err != nil {
		return err
	}
	if err := d.may(Update, Credentials, p.Project, p.ID); err != nil {
		return err
	}
	if _, known := d.s.principals.get(p.ID); known || c.Principal != p.ID {
		return invalid("set", "", "the first password of the person that is added")
	}
	return d.set(&record{Principal: p}, c)
}

func (d *decision) password(c SetPassword) error {
	p, err := d.of(Update, Credentials, c.Principal)
	if err != nil {
		return err
	}
	return d.set(p, c)
}

// set sets the password of a principal as it is.
func (d *decision) set(p *record, c SetPassword) error {
	switch {
	case p.Kind != Person:
		return invalid("principal", c.Principal, "a person: service accounts have tokens")
	case !isHash(c.Hash):
		return invalid("hash", "", "a hash by argon2id or bcrypt, as auth/password makes it")
	case c.Same && d.by != nil:
		return invalid("same", "", "nothing: only the program says so")
	case c.Same && (p.Password == nil || p.Password.Changed != c.If):
		return &pool.Error{Kind: pool.ErrConflict, Field: "if", Want: "the revision of the present password"}
	}
	return d.add(PasswordSet, fact{Principal: c.Principal, Same: c.Same}, private{Hash: c.Hash})
}

// isHash reports whether s looks like a hash, so that no password is written down by mistake.
func isHash(s string) bool {
	if len(s) < 50 || len(s) > 255 || pool.ValidText(s, 255) != nil {
		return false
	}
	for _, prefix := range []string{"$argon2id$v=19$", "$2a$", "$2b$", "$2y$"} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}

func (d *decision) second(c SetSecond) error {
	p, err := d.of(Update, Credentials, c.Principal)
	switch {
	case err != nil:
		return err
	case p.Kind != Person:
		return invalid("principal", c.Principal, "a person: service accounts have tokens")
	case len(c.Secret) < 16 || len(c.Secret) > MaxSecret:
		return invalid("secret", "", "16 to 512 bytes")
	case len(c.Recovery) > MaxRecovery:
		return invalid("recovery", "", "at most 20 codes")
	}
	for _, code := range c.Recovery {
		if len(code) != 64 || strings.Trim(code, "0123456789abcdef") != "" {
			return invalid("recovery", "", "digests of codes, as auth/totp makes them")
		}
	}
	return d.add(SecondSet, fact{Principal: c.Principal}, private{Secret: c.Secret, Recovery: c.Recovery})
}

func (d *decision) drop(principal string) error {
	p, err := d.of(Update, Credentials, principal)
	if err != nil || p.Second == nil {
		return err
	}
	return d.add(SecondRemoved, fact{Principal: principal}, private{})
}

func (d *decision) recover(c UseRecovery) error {
	p, err := d.of(Update, Credentials, c.Principal)
	switch {
	case err != nil:
		return err
	case p.Second == nil || p.Second.Changed != c.If:
		return &pool.Error{Kind: pool.ErrConflict, Field: "if", Want: "the revision of the present second factor"}
	case c.Code < 0 || c.Code >= len(p.Second.Recovery):
		return &pool.Error{Kind: pool.ErrNotFound, Field: "code"}
	}
	for _, used := range p.Second.Used {
		if used == c.Code {
			return &pool.Error{Kind: pool.ErrConflict, Field: "code", Want: "one that has not been used"}
		}
	}
	return d.add(RecoveryUsed, fact{Principal: c.Principal, Code: c.Code}, private{})
}

func (d *decision) bind(b Binding) error {
	if err := d.may(Create, Bindings, b.Scope.Project, ""); err != nil {
		return err
	}
	if err := b.Valid(); err != nil {
		return err
	}
	if old, ok := d.s.Binding(b.ID); ok {
		if old == b {
			return nil
		}
		return &pool.Error{Kind: pool.ErrExists, Field: "binding", Value: b.ID, Want: "another id: a binding does not change"}
	}
	bound := 0
	if b.Group != "" {
		bs, _ := d.s.groups.get(b.Group)
		bound = len(bs)
	} else {
		p, ok := d.s.principals.get(b.Principal)
		if !ok {
			return &pool.Error{Kind: pool.ErrNotFound, Field: "principal", Value: b.Principal}
		}
		bound = len(p.Bindings)
		if path, ok := d.projects.path(b.Scope.Project); p.Project != "" && (!ok || !slices.Contains(path, p.Project)) {
			return invalid("scope", b.Scope.Project, "a project in which the service account lies, or one below it")
		}
	}
	if d.s.bindings.n >= MaxBindings || b.Group != "" && bound >= MaxGroupBinds || b.Group == "" && bound >= MaxBound {
		return invalid("bindings", "", "at most 200 of a principal, 1000 of a group, 100000 of all")
	}
	return d.add(BindingPut, fact{Principal: b.Principal, Binding: &b}, private{})
}

func (d *decision) unbind(id string) error {
	b, ok := d.s.Binding(id)
	if err := d.may(Delete, Bindings, b.Scope.Project, ""); err != nil {
		return err
	}
	if !ok {
		return &pool.Error{Kind: pool.ErrNotFound, Field: "binding", Value: id}
	}
	return d.add(BindingRemoved, fact{ID: id, Principal: b.Principal}, private{})
}

func (d *decision) token(t Token) error {
	p, err := d.of(Create, Tokens, t.Principal)
	if err != nil {
		return err
	}
	if p.Kind == Person && d.by != nil && d.by.Principal != p.ID {
		return &Refusal{Kind: ErrForbidden, Reason: NotOwn, Verb: Create, On: Tokens} // it would speak for somebody else
	}
	t.Created = time.Time{}
	t.Expires = t.Expires.UTC().Truncate(time.Second)
	if err := t.Valid(d.at); err != nil {
		return err
	}
	if old, ok := d.s.Token(t.ID); ok {
		if old.Hash == t.Hash && old.Principal == t.Principal {
			return nil
		}
		return &pool.Error{Kind: pool.ErrExists, Field: "token", Value: t.ID}
	}
	good := 0
	for _, o := range p.Tokens {
		if o.expired(d.at) { // what nobody can use makes room
			if err := d.add(TokenRemoved, fact{ID: o.ID, Principal: p.ID}, private{}); err != nil {
				return err
			}
			continue
		}
		good++
	}
	if good >= MaxTokens {
		return invalid("tokens", "", "at most 50 of a principal")
	}
	return d.add(TokenPut, fact{Principal: p.ID, Token: &t}, private{})
}

func (d *decision) revoke(id string) error {
	t, ok := d.s.Token(id)
	if _, err := d.of(Delete, Tokens, t.Principal); err != nil {
		if !ok && d.by == nil {
			return &pool.Error{Kind: pool.ErrNotFound, Field: "token", Value: id}
		}
		return err
	}
	return d.add(TokenRemoved, fact{ID: id, Principal: t.Principal}, private{})
}

func (d *decision) key(k Key) error {
	p, err := d.of(Update, Keys, k.Principal)
	if err != nil {
		return err
	}
	k.NotBefore, k.Expires = wholeSeconds(k.NotBefore), wholeSeconds(k.Expires)
	if err := k.Valid(); err != nil {
		return err
	}
	for _, o := range p.Keys {
		switch {
		case o == k:
			return nil
		case o.ID != k.ID && sameKey(o.Line, k.Line):
			return &pool.Error{Kind: pool.ErrExists, Field: "key", Want: "one that is not there under another id"}
		}
	}
	if _, ok := find(p.Keys, func(o Key) bool { return o.ID == k.ID }); !ok && len(p.Keys) >= MaxKeys {
		return invalid("keys", "", "at most 20 of a principal")
	}
	line := k.Line
	k.Line = ""
	return d.add(KeyPut, fact{Principal: p.ID, Key: &k}, private{Line: line})
}

// sameKey reports whether two lines are of one key, whatever their comments say.
func sameKey(a, b string) bool {
	x, y := strings.SplitN(a, " ", 3), strings.SplitN(b, " ", 3)
	return len(x) > 1 && len(y) > 1 && x[0] == y[0] && x[1] == y[1]
}

func wholeSeconds(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}

func (d *decision) take(c PrincipalsKey) error {
	p, err := d.of(Delete, Keys, c.Principal)
	if err != nil {
		return err
	}
	if _, ok := find(p.Keys, func(o Key) bool { return o.ID == c.ID }); !ok {
		return &pool.Error{Kind: pool.ErrNotFound, Field: "key", Value: c.ID}
	}
	return d.add(KeyRemoved, fact{ID: c.ID, Principal: c.Principal}, private{})
}

// administrable refuses what would leave nobody who can say who may do what.
func (d *decision) administrable() error {
	less := false
	for _, e := range d.events {
		less = less || e.Kind == PrincipalRemoved || e.Kind == PrincipalDisabled || e.Kind == BindingRemoved
	}
	if !less || !d.s.administered() {
		return nil
	}
	after := d.s
	for _, e := range d.events {
		n, err := after.Fold(&e)
		if err != nil {
			return err
		}
		after = n.(*State)
	}
	if !after.administered() {
		return &Refusal{Kind: ErrForbidden, Reason: WouldLockOut}
	}
	return nil
}

// administered reports whether somebody who is not disabled, or a group, is admin of everything.
func (s *State) administered() bool {
	for b := range s.Bindings() {
		if b.Role == Admin && b.Scope.Everything {
			if p, ok := s.principals.get(b.Principal); b.Group != "" || ok && !p.Disabled {
				return true
			}
		}
	}
	return false
}
