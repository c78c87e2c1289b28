package auth

import (
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Kind says what a principal is.
type Kind string

// The kinds.
const (
	Person  Kind = "person"
	Service Kind = "service" // an account that programs use; it has no password
)

// Principal is somebody who can be allowed something. Its name and what follows is personal: it stands under [Subject] and can be
// forgotten, and nobody can sign in by a name that is. The id stands in events and in lists for good: let it be random, not a name.
type Principal struct {
	ID       string `json:"id"` // as pool.ValidName
	Kind     Kind   `json:"kind"`
	Project  string `json:"project,omitempty"`  // that a service account lies in: its admins see to it, and it may nothing outside of it
	Disabled bool   `json:"disabled,omitempty"` // nothing it holds is good

	Name  string `json:"name,omitempty"`  // to sign in with: unique, printable, no spaces, compared as it is
	Email string `json:"email,omitempty"` // for people to read; nothing is decided by it
	Login string `json:"login,omitempty"` // of the user that is made for it on machines, see State.Guest

	// Generation is the revision at which all that it held was last made void: a password changed, a sign-out everywhere, its own making.
	Generation pool.Revision `json:"generation,omitempty"`
}

// Valid reports, as an error, what is malformed.
func (p Principal) Valid() error {
	if err := validID(p.ID); err != nil {
		return err
	}
	switch {
	case p.Kind != Person && p.Kind != Service:
		return invalid("kind", string(p.Kind), "person or service")
	case p.Kind == Person && p.Project != "":
		return invalid("project", p.Project, "none for people: they are bound to projects")
	case p.Project != "" && pool.ValidName(p.Project) != nil:
		return invalid("project", p.Project, "a project's name")
	case p.Kind == Person && p.Name == "":
		return invalid("name", "", "a name to sign in with")
	case pool.ValidText(p.Name, 128) != nil || strings.Contains(p.Name, " "):
		return invalid("name", p.Name, "printable, no spaces, at most 128 bytes")
	case pool.ValidText(p.Email, 254) != nil:
		return invalid("email", "", "printable text of at most 254 bytes")
	case p.Login != "" && pool.ValidUser(p.Login) != nil:
		return invalid("login", p.Login, "a portable user name of at most 32 bytes")
	}
	return nil
}

func validID(s string) error {
	if pool.ValidName(s) != nil {
		return invalid("id", s, "a letter or digit, then letters, digits, '.', '-', '_', at most 63 bytes")
	}
	return nil
}

func invalid(field, value, want string) error {
	return &pool.Error{Kind: pool.ErrInvalid, Field: field, Value: value, Want: want}
}

const subjectPrefix = "principal/"

// Subject is that of what is personal to a principal, for pool.Ledger's Forget.
func Subject(principal string) string { return subjectPrefix + principal }

func subjectOf(subject string) (principal string, ok bool) {
	return strings.CutPrefix(subject, subjectPrefix)
}

// Binding says that a principal, or whoever is in a group, has a role in a scope.
type Binding struct {
	ID        string `json:"id"`
	Principal string `json:"principal,omitempty"` // or Group
	Group     string `json:"group,omitempty"`     // as an Identity has it
	Role      Role   `json:"role"`
	Scope     Scope  `json:"scope"`
}

// Valid reports, as an error, what is malformed.
func (b Binding) Valid() error {
	if err := validID(b.ID); err != nil {
		return err
	}
	if (b.Principal == "") == (b.Group == "") {
		return invalid("principal", b.Principal, "a principal or a group")
	}
	if b.Principal != "" && pool.ValidName(b.Principal) != nil {
		return invalid("principal", b.Principal, "a principal's id")
	}
	if pool.ValidText(b.Group, 255) != nil {
		return invalid("group", b.Group, "printable text of at most 255 bytes")
	}
	if err := b.Role.Valid(); err != nil {
		return err
	}
	return b.Scope.Valid()
}

// Password is what is known of one.
type Password struct {
	Hash    string        `json:"hash,omitempty"` // as auth/password makes it; empty once it is forgotten
	Changed pool.Revision `json:"changed"`
}

// SecondFactor is what is known of somebody's second factor: that there is one, even once the rest is forgotten, when nobody can sign in
// with it any more.
type SecondFactor struct {
	Secret   []byte        `json:"secret,omitempty"`   // of auth/totp; an embedder may encrypt it
	Recovery []string      `json:"recovery,omitempty"` // digests of codes
	Used     []int         `json:"used,omitempty"`     // which of them have been
	Changed  pool.Revision `json:"changed"`
}

// String says nothing, so that what is printed by mistake is no loss.
func (Password) String() string { return "[password]" }

// GoString is String.
func (Password) GoString() string { return "[password]" }

// String says nothing, likewise.
func (SecondFactor) String() string { return "[second factor]" }

// GoString is String.
func (SecondFactor) GoString() string { return "[second factor]" }

// Key is a public SSH key of somebody.
type Key struct {
	ID        string    `json:"id"`
	Principal string    `json:"principal"`
	NotBefore time.Time `json:"not_before,omitzero"` // zero: from now on
	Expires   time.Time `json:"expires,omitzero"`    // zero: never

	// Line is the key as OpenSSH's authorized_keys has it, without options. It is personal; make it with auth/sshkey, which knows more
	// than is checked here.
	Line string `json:"line,omitempty"`
}

// Valid reports, as an error, what is malformed.
func (k Key) Valid() error {
	if err := validID(k.ID); err != nil {
		return err
	}
	if !k.Expires.IsZero() && !k.NotBefore.Before(k.Expires) {
		return invalid("expires", k.Expires.UTC().Format(time.RFC3339), "after not_before")
	}
	if len(k.Line) > MaxLine {
		return invalid("line", "", "at most 4096 bytes")
	}
	return pool.InField("line", pool.ValidSSHKey(k.Line))
}

// Good reports whether the key is to be put on machines that are made at that moment.
func (k Key) Good(at time.Time) bool {
	return k.Line != "" && !at.Before(k.NotBefore) && (k.Expires.IsZero() || at.Before(k.Expires))
}

// record is all that is known of a principal. It is replaced, never changed.
type record struct {
	Principal
	Password *Password     `json:"password,omitempty"`
	Second   *SecondFactor `json:"second,omitempty"`
	Bindings []Binding     `json:"bindings,omitempty"` // in the order in which they were made, as the others
	Tokens   []Token       `json:"tokens,omitempty"`
	Keys     []Key         `json:"keys,omitempty"`
	Passkeys []Passkey     `json:"passkeys,omitempty"`
}

func (r *record) token(id string) (Token, bool) {
	for _, t := range r.Tokens {
		if t.ID == id {
			return t, true
		}
	}
	return Token{}, false
}

// forget takes away what is personal.
func (r *record) forget() {
	r.Name, r.Email, r.Login = "", "", ""
	if r.Password != nil {
		r.Password = &Password{Changed: r.Password.Changed}
	}
	if r.Second != nil {
		r.Second = &SecondFactor{Used: r.Second.Used, Changed: r.Second.Changed}
	}
	r.Keys = slices.Clone(r.Keys)
	for n := range r.Keys {
		r.Keys[n].Line = ""
	}
	r.Passkeys = slices.Clone(r.Passkeys)
	for n := range r.Passkeys {
		r.Passkeys[n] = r.Passkeys[n].forget()
	}
}
