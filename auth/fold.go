package auth

import (
	"slices"

	"github.com/berthage/berthage/pool"
)

// Fold implements pool.Part. Of an event whose private part has been forgotten it takes what is left.
func (s *State) Fold(e *pool.Event) (pool.Part, error) {
	n := *s
	if e.Kind == pool.KindForgotten {
		return s.forgotten(e)
	}
	if e.Version != 1 {
		return nil, &pool.Error{Kind: pool.ErrUnknownKind, Field: "version", Value: e.Kind}
	}
	var f fact
	if err := read(e.Data, &f); err != nil {
		return nil, pool.InField(e.Kind, err)
	}
	var p private
	if e.Private != nil {
		if err := read(e.Private, &p); err != nil {
			return nil, pool.InField(e.Kind, err)
		}
	}
	switch e.Kind {
	case BindingPut, BindingRemoved:
		return &n, n.foldBinding(e.Kind, f)
	case PrincipalPut:
		if f.Put == nil || f.Put.ID == "" {
			return nil, pool.InField(e.Kind, invalid("put", "", "a principal"))
		}
		r := new(record)
		if old, ok := s.principals.get(f.Put.ID); ok {
			*r = *old
		} else {
			r.Generation = e.Revision // what one of the same id held before it was removed stays void
		}
		disabled, generation := r.Disabled, r.Generation
		r.Principal = *f.Put
		r.Name, r.Email, r.Login = p.Name, p.Email, p.Login
		r.Disabled, r.Generation = disabled, generation
		n.put(r)
		return &n, nil
	}
	old, ok := s.principals.get(f.Principal)
	if !ok {
		return nil, &pool.Error{Op: e.Kind, Kind: pool.ErrNotFound, Field: "principal", Value: f.Principal}
	}
	if e.Kind == PrincipalRemoved {
		n.drop(old)
		return &n, nil
	}
	r := *old
	if err := r.fold(e, f, p); err != nil {
		return nil, pool.InField(e.Kind, err)
	}
	n.put(&r)
	return &n, nil
}

// fold takes an event about a principal over into what is known of it.
func (r *record) fold(e *pool.Event, f fact, p private) error {
	switch e.Kind {
	case PrincipalDisabled:
		r.Disabled = f.Disabled
		r.Generation = e.Revision
	case PrincipalReset:
		r.Generation = e.Revision
	case PasswordSet:
		r.Password = &Password{Hash: p.Hash, Changed: e.Revision}
		if !f.Same {
			r.Generation = e.Revision
		}
	case SecondSet:
		r.Second = &SecondFactor{Secret: p.Secret, Recovery: p.Recovery, Changed: e.Revision}
		r.Generation = e.Revision
	case SecondRemoved:
		r.Second = nil
		r.Generation = e.Revision
	case RecoveryUsed:
		if r.Second != nil && !slices.Contains(r.Second.Used, f.Code) {
			second := *r.Second
			second.Used = append(slices.Clone(second.Used), f.Code)
			r.Second = &second
		}
	case TokenPut:
		if f.Token == nil || f.Token.ID == "" {
			return invalid("token", "", "a token")
		}
		t := *f.Token
		t.Created = e.Time
		r.Tokens = replaced(r.Tokens, t, func(o Token) bool { return o.ID == t.ID })
	case TokenRemoved:
		r.Tokens = removed(r.Tokens, func(t Token) bool { return t.ID == f.ID })
	case KeyPut:
		if f.Key == nil || f.Key.ID == "" {
			return invalid("key", "", "a key")
		}
		k := *f.Key
		k.Line = p.Line
		r.Keys = replaced(r.Keys, k, func(o Key) bool { return o.ID == k.ID })
	case KeyRemoved:
		r.Keys = removed(r.Keys, func(k Key) bool { return k.ID == f.ID })
	case PasskeyPut:
		if f.ID == "" {
			return invalid("passkey", "", "a passkey")
		}
		k := Passkey{}
		if p.Passkey != nil {
			k = *p.Passkey
		}
		k.ID, k.Principal, k.Created = f.ID, r.ID, e.Time
		if old, ok := find(r.Passkeys, func(o Passkey) bool { return o.ID == k.ID }); ok { // it has another name
			k.Created = old.Created
		}
		r.Passkeys = replaced(r.Passkeys, k, func(o Passkey) bool { return o.ID == k.ID })
	case PasskeyRemoved:
		r.Passkeys = removed(r.Passkeys, func(k Passkey) bool { return k.ID == f.ID })
		r.Generation = e.Revision // whoever has its device, or had it, is out
	default:
		return &pool.Error{Kind: pool.ErrUnknownKind}
	}
	return nil
}

// Look implements pool.Onlooker: with a project go the bindings to it and the service accounts that lie in it, so that whoever gets the name
// later has none of them, and those who were bound see nothing of the new one.
func (s *State) Look(_ *pool.State, e *pool.Event, payload any) (pool.Part, bool) {
	if e.Kind != pool.KindProjectRemoved {
		return s, false
	}
	name, n, changed := payload.(*pool.Named).Name, *s, false
	for b := range s.Bindings() {
		if b.Scope.Project == name {
			changed = n.foldBinding(BindingRemoved, fact{ID: b.ID}) == nil // which is there
		}
	}
	for p := range s.Principals() {
		if p.Project == name {
			r, _ := n.principals.get(p.ID)
			n.drop(r)
			changed = true
		}
	}
	return &n, changed
}

func (s *State) foldBinding(kind string, f fact) error {
	if kind == BindingRemoved {
		b, ok := s.Binding(f.ID)
		if !ok {
			return &pool.Error{Op: kind, Kind: pool.ErrNotFound, Field: "id", Value: f.ID}
		}
		is := func(o Binding) bool { return o.ID == f.ID }
		s.bindings = s.bindings.without(f.ID)
		if b.Group != "" {
			bs, _ := s.groups.get(b.Group)
			if bs = removed(bs, is); len(bs) == 0 {
				s.groups = s.groups.without(b.Group)
			} else {
				s.groups = s.groups.with(b.Group, bs)
			}
			return nil
		}
		old, _ := s.principals.get(b.Principal)
		r := *old
		r.Bindings = removed(r.Bindings, is)
		s.put(&r)
		return nil
	}
	switch b := f.Binding; {
	case b == nil || b.ID == "":
		return pool.InField(kind, invalid("binding", "", "a binding"))
	case b.Group != "":
		s.putGroup(*b)
	default:
		old, ok := s.principals.get(b.Principal)
		if !ok {
			return &pool.Error{Op: kind, Kind: pool.ErrNotFound, Field: "principal", Value: b.Principal}
		}
		r := *old
		r.Bindings = replaced(r.Bindings, *b, func(o Binding) bool { return o.ID == b.ID })
		s.put(&r)
	}
	return nil
}

func (s *State) forgotten(e *pool.Event) (pool.Part, error) {
	var f pool.Forgotten
	if err := read(e.Data, &f); err != nil {
		return nil, err
	}
	id, ok := subjectOf(f.Subject)
	old, known := s.principals.get(id)
	if !ok || !known {
		return s, nil
	}
	n, r := *s, *old
	r.forget()
	n.put(&r)
	return &n, nil
}
