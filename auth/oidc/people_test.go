package oidc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/oidc"
	"github.com/berthage/berthage/pool"
)

// books are those of a platform without Berthage's ring.
type books struct {
	mu       sync.Mutex
	s        *auth.State
	revision pool.Revision
	fails    error
}

func (b *books) state(context.Context) (*auth.State, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.s, b.fails
}

func (b *books) commit(_ context.Context, c auth.Command) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails != nil {
		return b.fails
	}
	raw, err := json.Marshal(c)
	if err != nil {
		return err
	}
	events, err := b.s.Decide(nil, raw, time.Now())
	if err != nil {
		return err
	}
	for n := range events {
		b.revision++
		events[n].Revision = b.revision
		p, err := b.s.Fold(&events[n])
		if err != nil {
			return err
		}
		b.s = p.(*auth.State)
	}
	return nil
}

// do is a command that goes right.
func (b *books) do(t *testing.T, c auth.Command) {
	t.Helper()
	c.Program = true
	require.NoError(t, b.commit(t.Context(), c))
}

func newBooks() *books { return &books{s: auth.New(nil)} }

func ada() oidc.Claims {
	return oidc.Claims{Provider: "corp", Issuer: "https://id.example", Subject: "u-1", Name: "Ada Lovelace", Username: "ada", Email: "ada@example.com",
		Groups: []string{"corp:operators"}}
}

func TestEnter(t *testing.T) {
	t.Parallel()
	b := newBooks()
	people := oidc.People{State: b.state, Commit: b.commit}
	enter := func(c oidc.Claims) auth.Identity {
		t.Helper()
		who, err := people.Enter(t.Context(), c)
		require.NoError(t, err)
		return who
	}
	id := ada().ID()
	who := enter(ada())
	p, ok := b.s.Principal(id)
	require.True(t, ok)
	require.Equal(t, auth.Identity{Principal: id, Groups: []string{"corp:operators"}, Whole: true, Generation: p.Generation}, who)
	require.Equal(t, auth.Principal{ID: id, Kind: auth.Person, Name: "corp:ada", Email: "ada@example.com", Generation: p.Generation}, p)

	// Again nothing is written; another name and address are, and nothing else changes.
	at := b.revision
	enter(ada())
	require.Equal(t, at, b.revision)
	b.do(t, auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: "corp:ada", Email: "ada@example.com", Login: "root2"}})
	b.do(t, auth.Command{Reset: id})
	p, _ = b.s.Principal(id)
	c := ada()
	c.Username, c.Email = "lovelace", ""
	who = enter(c)
	require.Equal(t, p.Generation, who.Generation)
	p.Name, p.Email = "corp:lovelace", ""
	now, _ := b.s.Principal(id)
	require.Equal(t, p, now)

	// It is the subject and the issuer that count, and nothing that can be changed.
	c = ada()
	c.Subject = "u-2"
	c.Username = "lovelace"
	other := enter(c)
	require.NotEqual(t, id, other.Principal)
	p, _ = b.s.Principal(other.Principal)
	require.Equal(t, "corp:"+other.Principal, p.Name, "the name is somebody else's")
	at = b.revision
	enter(c)
	require.Equal(t, at, b.revision)

	// Who is disabled is not let in, and nothing is written about them.
	b.do(t, auth.Command{Disable: id})
	at = b.revision
	c = ada()
	_, err := people.Enter(t.Context(), c)
	var r *auth.Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, auth.Disabled, r.Reason)
	require.Equal(t, at, b.revision)

	// Nor who is nobody.
	for _, c := range []oidc.Claims{{}, {Issuer: "https://id.example"}, {Subject: "u-1"}, {Issuer: "https://id.example", Subject: "a\nb"}} {
		_, err = people.Enter(t.Context(), c)
		require.ErrorIs(t, err, oidc.WrongSubject)
	}
	require.Equal(t, at, b.revision)
}

func TestEnterOfThoseWhoAreKnown(t *testing.T) {
	t.Parallel()
	b := newBooks()
	people := oidc.People{State: b.state, Commit: b.commit, Known: true}
	_, err := people.Enter(t.Context(), ada())
	var r *auth.Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, auth.NoPrincipal, r.Reason)
	require.Zero(t, b.revision)
	p := oidc.Claims{Provider: "corp", Issuer: "https://id.example", Subject: "u-1"}.Principal()
	b.do(t, auth.Command{Put: &p})
	who, err := people.Enter(t.Context(), ada())
	require.NoError(t, err)
	require.Equal(t, p.ID, who.Principal)
}

// A store that fails lets nobody in, before and after something is written.
func TestEnterFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for n := range 3 {
		b := newBooks()
		calls := 0
		fail := func() error {
			if calls++; calls == n+1 {
				return broken
			}
			return nil
		}
		_, err := oidc.People{
			State: func(ctx context.Context) (*auth.State, error) {
				if err := fail(); err != nil {
					return nil, err
				}
				return b.state(ctx)
			},
			Commit: func(ctx context.Context, c auth.Command) error {
				if err := fail(); err != nil {
					return err
				}
				return b.commit(ctx, c)
			},
		}.Enter(t.Context(), ada())
		require.ErrorIs(t, err, broken, "call %d", n)
	}
	b := newBooks()
	_, err := oidc.People{State: b.state, Commit: func(context.Context, auth.Command) error { return nil }}.Enter(t.Context(), ada())
	require.ErrorIs(t, err, pool.ErrUnknown, "a State that has not what was committed")

	disabled := newBooks()
	_, err = oidc.People{State: disabled.state, Commit: func(ctx context.Context, c auth.Command) error {
		return errors.Join(disabled.commit(ctx, c), disabled.commit(ctx, auth.Command{Program: true, Disable: ada().ID()}))
	}}.Enter(t.Context(), ada())
	require.ErrorIs(t, err, auth.ErrUnauthenticated, "disabled meanwhile")
}

// Of more groups than an identity has, those count that something is bound to.
func TestEnterWithManyGroups(t *testing.T) {
	t.Parallel()
	b := newBooks()
	people := oidc.People{State: b.state, Commit: b.commit}
	c := ada()
	c.Groups = nil
	for n := range oidc.MaxGroups {
		c.Groups = append(c.Groups, fmt.Sprintf("corp:g%03d", n))
	}
	bind := func(group string) {
		b.do(t, auth.Command{Bind: &auth.Binding{ID: "b-" + group[5:], Group: group, Role: auth.Viewer, Scope: auth.Scope{Project: "web"}}})
	}
	for _, g := range []string{"corp:g700", "corp:g010", "corp:elsewhere"} {
		bind(g)
	}
	who, err := people.Enter(t.Context(), c)
	require.NoError(t, err)
	require.Equal(t, []string{"corp:g010", "corp:g700"}, who.Groups)
	for n := range oidc.MaxHeld - 1 {
		bind(c.Groups[100+n])
	}
	_, err = people.Enter(t.Context(), c)
	require.ErrorIs(t, err, oidc.TooManyGroups)
	few := c
	few.Groups = slices.Clone(c.Groups[:oidc.MaxHeld])
	who, err = people.Enter(t.Context(), few)
	require.NoError(t, err)
	require.Equal(t, few.Groups, who.Groups)
}

// alone is that no project lies in another.
func alone(project string) []string { return []string{project} }

// Whatever a provider says, what somebody may is what its groups are bound to.
func TestRolesComeFromBindingsOnly(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	b := newBooks()
	b.do(t, auth.Command{Bind: &auth.Binding{ID: "b1", Group: "corp:operators", Role: auth.Operator, Scope: auth.Scope{Project: "web"}}})
	b.do(t, auth.Command{Bind: &auth.Binding{ID: "b2", Group: "admins", Role: auth.Admin, Scope: auth.Scope{Everything: true}}})
	b.do(t, auth.Command{Bind: &auth.Binding{ID: "b3", Group: "other:admins", Role: auth.Admin, Scope: auth.Scope{Everything: true}}})
	people := oidc.People{State: b.state, Commit: b.commit}
	in := func(user map[string]any) auth.Identity {
		t.Helper()
		i.with(func() { i.user = user })
		c, err := login(t.Context(), i, i.provider(func(c *oidc.Config) { c.Userinfo = true }))
		require.NoError(t, err)
		who, err := people.Enter(t.Context(), c)
		require.NoError(t, err)
		return who
	}
	create := func(who auth.Identity, project string) bool {
		return b.s.Access(alone, auth.Request{By: who, Verb: auth.Create, Thing: auth.Thing{Resource: auth.Instances, Project: project, Owner: who.Principal}}, time.Now()).Allowed
	}
	operator := in(map[string]any{"sub": "u-1", "groups": []string{"operators"}})
	require.True(t, create(operator, "web"))
	require.False(t, create(operator, "shop"))
	for n, smuggled := range []map[string]any{
		{"groups": []string{"admins", "other:admins", "corp:operators", "corp:corp:operators"}},
		{"groups": "admins"},
		{"role": "admin", "roles": []string{"admin"}, "scope": "admin", "scp": []string{"admin"}, "is_admin": true},
		{"whole": true, "limits": []any{map[string]any{"role": "admin", "scope": map[string]any{"everything": true}}}, "generation": 7, "principal": operator.Principal},
		{"realm_access": map[string]any{"roles": []string{"admin"}}, "resource_access": map[string]any{clientID: map[string]any{"roles": []string{"admin"}}}},
		{"preferred_username": operator.Principal, "email": "root@corp.example", "email_verified": true, "name": "admins"},
		{"Groups": []string{"operators"}, "GROUPS": []string{"operators"}, "groups ": []string{"operators"}},
	} {
		smuggled["sub"] = fmt.Sprint("eve-", n)
		who := in(smuggled)
		require.NotEqual(t, operator.Principal, who.Principal)
		require.False(t, create(who, "web"), "%v", smuggled)
		require.False(t, create(who, "shop"), "%v", smuggled)
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	id := oidc.Claims{Issuer: "https://id.example", Subject: "u-1"}.ID()
	require.Equal(t, "oidc-xo2a3y3bv3nuubcuixvag2ternhx72gt", id, "what is bound to it stays bound")
	require.NoError(t, pool.ValidName(id))
	seen := map[string]bool{id: true}
	for _, c := range []oidc.Claims{
		{Issuer: "https://id.example", Subject: "u-2"}, {Issuer: "https://id.example/", Subject: "u-1"}, {Issuer: "https://id.exampleu-", Subject: "1"},
		{Issuer: "https://id.example", Subject: "U-1"},
	} {
		require.False(t, seen[c.ID()], c.Subject)
		seen[c.ID()] = true
	}
	for _, username := range []string{"", "two words", "a\x00", string(make([]byte, 200))} {
		c := oidc.Claims{Provider: "corp", Issuer: "https://id.example", Subject: "u-1", Username: username}
		require.NoError(t, c.Principal().Valid())
		require.Equal(t, "corp:"+id, c.Principal().Name)
	}
}
