package auth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

func noon() time.Time { return time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC) }

// tree is how the projects of most tests lie: corp above eng and ops, eng above web.
func tree() map[string]string {
	return map[string]string{"corp": "", "eng": "corp", "ops": "corp", "web": "eng", "rival": ""}
}

func lineage(parents map[string]string) auth.Lineage {
	return func(project string) []string {
		var path []string
		for at, ok := project, true; ok && at != ""; {
			if _, ok = parents[at]; ok {
				path = append(path, at)
				at = parents[at]
			}
		}
		return path
	}
}

// books are those of a ledger, with the events that led to them.
type books struct {
	t      *testing.T
	st     *pool.State
	events []pool.Event
	now    time.Time
}

func newBooks(t *testing.T) *books { return newBooksIn(t, tree()) }

func newBooksIn(t *testing.T, parents map[string]string) *books {
	t.Helper()
	b := &books{t: t, now: noon(), st: pool.NewState(auth.New(func(*pool.State) auth.Lineage { return lineage(parents) }))}
	e, err := pool.NewEvent(pool.KindOpened, &pool.Opened{Ledger: "ledger"})
	require.NoError(t, err)
	b.apply(e)
	return b
}

func empty() *pool.State {
	return pool.NewState(auth.New(func(*pool.State) auth.Lineage { return lineage(tree()) }))
}

func (b *books) apply(events ...pool.Event) {
	b.t.Helper()
	for n := range events {
		e := &events[n]
		e.ID, e.Revision, e.Time = fmt.Sprint("e", len(b.events)), b.st.Head()+1, b.now
		if e.Private != nil {
			e.Salt = []byte("sixteen bytes ok")
			e.Seal()
		}
		require.NoError(b.t, b.st.Apply(e))
		b.events = append(b.events, *e)
	}
}

func (b *books) auth() *auth.State { return auth.Of(b.st) }

// try decides a command and folds what follows.
func (b *books) try(c auth.Command) ([]pool.Event, error) {
	b.t.Helper()
	raw, err := json.Marshal(c)
	require.NoError(b.t, err)
	events, err := b.auth().Decide(b.st, raw, b.now)
	if err != nil {
		require.Empty(b.t, events)
		return nil, err
	}
	b.apply(events...)
	return events, nil
}

// do is try by the program itself.
func (b *books) do(c auth.Command) {
	b.t.Helper()
	c.Program = c.By == nil
	_, err := b.try(c)
	require.NoError(b.t, err)
}

func (b *books) person(id string) {
	b.t.Helper()
	b.do(auth.Command{Put: &auth.Principal{ID: id, Kind: auth.Person, Name: id + "@corp", Email: id + "@mail.example", Login: id}})
}

func (b *books) bind(id, principal string, r auth.Role, s auth.Scope) {
	b.t.Helper()
	b.do(auth.Command{Bind: &auth.Binding{ID: id, Principal: principal, Role: r, Scope: s}})
}

// whole is the identity of somebody who has just signed in.
func (b *books) whole(id string) auth.Identity {
	p, _ := b.auth().Principal(id)
	return auth.Identity{Principal: id, Whole: true, Generation: p.Generation}
}

func everything() auth.Scope { return auth.Scope{Everything: true} }

func in(project string) auth.Scope { return auth.Scope{Project: project} }

// company are books with an admin root, an operator of corp, a user of eng, a viewer of web, a stranger without bindings, the admin of
// rival and a service account of eng.
func company(t *testing.T) *books {
	t.Helper()
	b := newBooks(t)
	for _, id := range []string{"root", "olga", "uma", "vic", "nobody", "rita"} {
		b.person(id)
	}
	b.do(auth.Command{Put: &auth.Principal{ID: "bot", Kind: auth.Service, Project: "eng"}})
	b.bind("b-root", "root", auth.Admin, everything())
	b.bind("b-olga", "olga", auth.Operator, in("corp"))
	b.bind("b-uma", "uma", auth.User, in("eng"))
	b.bind("b-vic", "vic", auth.Viewer, in("web"))
	b.bind("b-rita", "rita", auth.Admin, in("rival"))
	return b
}

// sha is a digest that looks like one.
func sha(c string) string { return strings.Repeat(c, 64) }

func argon() string {
	return "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
}

func sshLine() string {
	return "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJhZGtleWJhZGtleWJhZGtleWJhZGtleWJhZGtleWJh ada@laptop"
}

// passkey is one of somebody's, under an id, that no other has.
func passkey(id, principal string, change ...func(*auth.Passkey)) *auth.Passkey {
	k := auth.Passkey{
		ID: id, Principal: principal, Credential: []byte("canary-credential-of-" + principal + "-" + id), PublicKey: []byte("canary-public-key"), Name: "canary's laptop",
		Count: 7, Backup: true, Transports: []string{"hybrid", "internal"},
	}
	for _, f := range change {
		f(&k)
	}
	return &k
}

// faulty is a Scratch whose call number fail, from 1, does not succeed; bad says how.
type faulty struct {
	pool.Scratch
	calls, fail int
	bad         error
	junk        bool // Get returns what nobody has put there
}

func (f *faulty) failing() bool { f.calls++; return f.calls == f.fail }

func (f *faulty) Get(ctx context.Context, key string) ([]byte, int64, error) {
	if f.failing() {
		if f.junk {
			return []byte(`{"n":`), 1, nil
		}
		return nil, 0, f.bad
	}
	return f.Scratch.Get(ctx, key)
}

func (f *faulty) Put(ctx context.Context, key string, value []byte, prev int64, ttl time.Duration) (int64, error) {
	if f.failing() && !f.junk {
		return 0, f.bad
	}
	return f.Scratch.Put(ctx, key, value, prev, ttl)
}

func (f *faulty) Delete(ctx context.Context, key string, version int64) error {
	if f.failing() && !f.junk {
		return f.bad
	}
	return f.Scratch.Delete(ctx, key, version)
}
