package auth_test

import (
	"bytes"
	"crypto/ed25519"
	crand "crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

var _ pool.Part = (*auth.State)(nil)

// A person is added with a password at once, or not at all.
func TestAPersonWithAPassword(t *testing.T) {
	t.Parallel()
	b := company(t)
	c := auth.Command{Program: true, Put: &auth.Principal{ID: "eve", Kind: auth.Person, Name: "eve"}, Set: &auth.SetPassword{Principal: "eve", Hash: "canary"}}
	_, err := b.try(c)
	require.ErrorIs(t, err, pool.ErrInvalid)
	_, known := b.auth().Principal("eve")
	require.False(t, known)
	c.Set.Hash = argon()
	events, err := b.try(c)
	require.NoError(t, err)
	require.Len(t, events, 2)
	_, has := b.auth().Password("eve")
	require.True(t, has)
}

// eventful are books in which everything has happened that can.
func eventful(t *testing.T) *books {
	t.Helper()
	b := company(t)
	b.do(auth.Command{Set: &auth.SetPassword{Principal: "uma", Hash: argon()}})
	b.do(auth.Command{Second: &auth.SetSecond{Principal: "uma", Secret: []byte("canary-secret-of-uma"), Recovery: []string{sha("a"), sha("b")}}})
	f, _ := b.auth().Second("uma")
	b.do(auth.Command{Recover: &auth.UseRecovery{Principal: "uma", Code: 1, If: f.Changed}})
	b.do(auth.Command{Key: &auth.Key{ID: "k1", Principal: "uma", Line: sshLine(), Expires: noon().Add(time.Hour)}})
	b.do(auth.Command{Key: &auth.Key{ID: "k2", Principal: "vic", Line: sshLine()}})
	_, token, err := auth.NewToken("test")
	require.NoError(t, err)
	token.Principal, token.Limits, token.Expires = "uma", []auth.Limit{{Role: auth.Viewer, Scope: in("eng")}}, noon().Add(time.Hour)
	b.do(auth.Command{Token: &token})
	b.do(auth.Command{Bind: &auth.Binding{ID: "b-group", Group: "corp:oncall", Role: auth.Operator, Scope: everything()}})
	b.do(auth.Command{Bind: &auth.Binding{ID: "b-group2", Group: "corp:oncall", Role: auth.Viewer, Scope: in("eng")}})
	b.do(auth.Command{Disable: "nobody"})
	b.do(auth.Command{Unbind: "b-rita"})
	b.do(auth.Command{Remove: "rita"})
	b.do(auth.Command{Put: &auth.Principal{ID: "vic", Kind: auth.Person, Name: "victor"}})
	return b
}

func save(t *testing.T, s pool.Part) string {
	t.Helper()
	saved, err := s.Save()
	require.NoError(t, err)
	return string(saved)
}

func TestNobodyKnownIsNothingSaved(t *testing.T) {
	t.Parallel()
	require.Empty(t, save(t, auth.New(nil)))
	require.Empty(t, save(t, auth.Of(pool.NewState())), "books without the part know nobody")
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	b := eventful(t)
	var w bytes.Buffer
	_, err := b.st.Snapshot().WriteTo(&w)
	require.NoError(t, err)
	again, err := pool.ReadSnapshot(&w, auth.New(nil))
	require.NoError(t, err)
	require.Equal(t, save(t, b.auth()), save(t, auth.Of(again)))

	s := auth.Of(again)
	p, ok := s.Named("victor")
	require.True(t, ok)
	require.Equal(t, "vic", p.ID)
	_, ok = s.Named("vic@corp")
	require.False(t, ok, "the old name is free")
	require.Len(t, s.Tokens("uma"), 1)
	token, ok := s.Token(s.Tokens("uma")[0].ID)
	require.True(t, ok)
	require.Equal(t, noon(), token.Created)
	f, ok := s.Second("uma")
	require.True(t, ok)
	require.Equal(t, []int{1}, f.Used)
	bound, ok := s.Binding("b-group2")
	require.True(t, ok)
	require.Equal(t, auth.Viewer, bound.Role)
	_, ok = s.Binding("b-rita")
	require.False(t, ok)
	_, ok = s.Principal("rita")
	require.False(t, ok)
	require.Equal(t, pool.Guest{User: "uma", SSHKeys: []string{sshLine()}}, s.Guest("uma", "admin", noon()))
	require.Equal(t, pool.Guest{User: "admin", SSHKeys: []string{sshLine()}}, s.Guest("vic", "admin", noon()), "the default user")
	require.Equal(t, pool.Guest{User: "uma"}, s.Guest("uma", "admin", noon().Add(time.Hour)), "the key has expired")
	require.Empty(t, s.Guest("nobody", "admin", noon()), "disabled")
}

func TestSnapshotsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "x", "[]", `{"principals":[null]}`, `{"principals":[{}]}`, `{"principals":[{"id":"a"},{"id":"a"}]}`, `{"who":1}`, `{} {}`, `{"principals":[{"id":"a","pass":"canary"}]}`} {
		_, err := auth.New(nil).Load([]byte(bad))
		require.ErrorIs(t, err, pool.ErrInvalid, bad)
		require.NotContains(t, err.Error(), "canary")
	}
}

// TestTheOldStateStays: a State is not changed by what is folded into it.
func TestTheOldStateStays(t *testing.T) {
	t.Parallel()
	b := eventful(t)
	st := empty()
	var states []*auth.State
	var was []string
	for n := range b.events {
		require.NoError(t, st.Apply(&b.events[n]))
		states, was = append(states, auth.Of(st)), append(was, save(t, auth.Of(st)))
	}
	for n, s := range states {
		require.Equal(t, was[n], save(t, s), "after event %d", n)
	}
	f, _ := b.auth().Second("uma")
	f.Secret[0], f.Used[0] = 'X', 7
	b.auth().Tokens("uma")[0].ID = "changed"
	b.auth().Keys("uma")[0].Line = "changed"
	require.Equal(t, was[len(was)-1], save(t, b.auth()), "nor by what is done to the answers")
}

// TestAbout: every event of the part is about a thing that the table knows, in its project and of its owner.
func TestAbout(t *testing.T) {
	t.Parallel()
	b := eventful(t)
	b.do(auth.Command{Token: func() *auth.Token {
		_, token, err := auth.NewToken("test")
		require.NoError(t, err)
		token.Principal, token.Limits, token.Expires = "bot", []auth.Limit{{Role: auth.Viewer, Scope: in("eng")}}, noon().Add(time.Hour)
		return &token
	}()})
	rows := make(map[auth.Resource]auth.Row)
	for _, row := range auth.Table() {
		rows[row.Resource] = row
	}
	got := make(map[string]auth.Thing)
	st := empty()
	for _, e := range b.events {
		thing, ok := auth.Of(st).About(&e)
		require.Equal(t, strings.HasPrefix(e.Kind, "auth."), ok, e.Kind)
		if ok {
			require.NotZero(t, rows[thing.Resource].Admin&auth.Read, e.Kind)
			got[e.Kind+" "+thing.Owner] = thing
		}
		require.NoError(t, st.Apply(&e))
	}
	for kind, want := range map[string]auth.Thing{
		"auth.principal.put uma":      {Resource: auth.Users, Owner: "uma"},
		"auth.principal.put bot":      {Resource: auth.Users, Project: "eng", Owner: "bot"},
		"auth.principal.removed rita": {Resource: auth.Users, Owner: "rita"},
		"auth.password.set uma":       {Resource: auth.Credentials, Owner: "uma"},
		"auth.second.set uma":         {Resource: auth.Credentials, Owner: "uma"},
		"auth.recovery.used uma":      {Resource: auth.Credentials, Owner: "uma"},
		"auth.binding.put uma":        {Resource: auth.Bindings, Project: "eng", Owner: "uma"},
		"auth.binding.put ":           {Resource: auth.Bindings, Project: "eng"},
		"auth.binding.removed rita":   {Resource: auth.Bindings, Project: "rival", Owner: "rita"},
		"auth.token.put bot":          {Resource: auth.Tokens, Project: "eng", Owner: "bot"},
		"auth.key.put uma":            {Resource: auth.Keys, Owner: "uma"},
	} {
		require.Equal(t, want, got[kind], kind)
	}
	for _, e := range []pool.Event{{Kind: "alert.fired", Data: json.RawMessage("{}")}, {Kind: "authority.x", Data: json.RawMessage("{}")}, {Kind: "auth.dragon.put", Data: json.RawMessage("{}")}, {Kind: "auth.key.put", Data: json.RawMessage("x")}} {
		_, ok := b.auth().About(&e)
		require.False(t, ok, e.Kind)
	}
}

// TestRandomCommands: whatever happens, what is saved is all that is known, and everything is found again by all its names.
func TestRandomCommands(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 9))
		b := company(t)
		some := func(of ...string) string { return of[r.IntN(len(of))] }
		who := func() string { return some("root", "olga", "uma", "vic", "x1", "x2", "bot") }
		id := func() string { return some("i1", "i2", "i3", "i4") }
		scope := func() auth.Scope { return auth.Scope{Project: some("corp", "eng", "web"), Own: r.IntN(2) == 0} }
		done := 0
		for range 300 {
			c := auth.Command{Program: true}
			switch r.IntN(13) {
			case 0:
				c.Put = &auth.Principal{ID: who(), Kind: auth.Person, Name: some("a", "b", "c", "d", "e")}
			case 1:
				c.Remove = who()
			case 2:
				c.Disable = who()
			case 3:
				c.Enable = who()
			case 4:
				c.Set = &auth.SetPassword{Principal: who(), Hash: argon()}
			case 5:
				c.Second = &auth.SetSecond{Principal: who(), Secret: make([]byte, 20), Recovery: []string{sha("a")}}
			case 6:
				f, _ := b.auth().Second("uma")
				c.Recover = &auth.UseRecovery{Principal: "uma", If: f.Changed}
			case 7:
				c.Bind = &auth.Binding{ID: id(), Principal: who(), Role: auth.Roles()[r.IntN(4)], Scope: scope()}
			case 8:
				c.Bind = &auth.Binding{ID: id(), Group: some("g", "h"), Role: auth.Roles()[r.IntN(4)], Scope: scope()}
			case 9:
				c.Unbind = some(id(), "b-root", "b-uma")
			case 10:
				_, token, err := auth.NewToken("test")
				require.NoError(t, err)
				token.Principal, token.Limits, token.Expires = who(), []auth.Limit{{Role: auth.Viewer, Scope: in("eng")}}, noon().Add(time.Hour)
				c.Token = &token
			case 11:
				c.Key = &auth.Key{ID: id(), Principal: who(), Line: sshLine()}
			case 12:
				c.Take = &auth.PrincipalsKey{Principal: who(), ID: id()}
			}
			events, err := b.try(c)
			if err == nil && len(events) > 0 {
				done++
			}
		}
		require.Greater(t, done, 50)
		loaded, err := auth.New(nil).Load([]byte(save(t, b.auth())))
		require.NoError(t, err)
		for _, s := range []*auth.State{b.auth(), loaded.(*auth.State)} {
			require.Equal(t, save(t, b.auth()), save(t, s))
			names, admins := make(map[string]bool), 0
			for p := range s.Principals() {
				if p.Name != "" {
					require.False(t, names[p.Name])
					names[p.Name] = true
					found, ok := s.Named(p.Name)
					require.True(t, ok)
					require.Equal(t, p, found)
				}
				for _, token := range s.Tokens(p.ID) {
					found, ok := s.Token(token.ID)
					require.True(t, ok)
					require.Equal(t, token, found)
				}
			}
			for bound := range s.Bindings() {
				found, ok := s.Binding(bound.ID)
				require.True(t, ok)
				require.Equal(t, bound, found)
				if p, ok := s.Principal(bound.Principal); ok && !p.Disabled && bound.Role == auth.Admin && bound.Scope.Everything {
					admins++
				}
			}
			require.Positive(t, admins, "somebody can still administer")
			for _, name := range []string{"a", "b", "c", "d", "e", "root@corp", "uma@corp"} {
				_, ok := s.Named(name)
				require.Equal(t, names[name], ok)
			}
		}
	}
}

// TestForgotten: once somebody is forgotten nothing personal is left, whether that is folded with or without what was private.
func TestForgotten(t *testing.T) {
	t.Parallel()
	b := eventful(t)
	for _, e := range b.events {
		require.NotContains(t, string(e.Data), "uma@", "personal data stands in private parts only")
		require.NotContains(t, string(e.Data), "ssh-ed25519")
		require.NotContains(t, string(e.Data), "argon2id")
		if e.Private != nil {
			require.True(t, strings.HasPrefix(e.Subject, "principal/"), e.Kind)
		}
	}
	forgotten, err := pool.NewEvent(pool.KindForgotten, &pool.Forgotten{Subject: auth.Subject("uma")})
	require.NoError(t, err)
	b.apply(forgotten)
	got := save(t, b.auth())

	st := empty()
	for _, e := range b.events {
		if e.Subject == auth.Subject("uma") {
			e.Private, e.Salt = nil, nil
		}
		require.NoError(t, st.Apply(&e))
	}
	require.Equal(t, got, save(t, auth.Of(st)))

	for _, personal := range []string{"uma@corp", "uma@mail.example", "argon2id", sha("a"), `"login":"uma"`} {
		require.NotContains(t, got, personal)
	}
	require.Contains(t, got, "ssh-ed25519", "of others nothing is forgotten")
	_, ok := b.auth().Named("uma@corp")
	require.False(t, ok)
	f, ok := b.auth().Second("uma")
	require.True(t, ok, "that there is a second factor is no secret, and without it nobody signs in")
	require.Empty(t, f.Secret)
	require.Empty(t, b.auth().Guest("uma", "", noon()).SSHKeys)
	b.person("uma2")
	b.do(auth.Command{Put: &auth.Principal{ID: "new", Kind: auth.Person, Name: "uma@corp"}})
}

func TestEventsOfNobodyAndOfTheFuture(t *testing.T) {
	t.Parallel()
	b := company(t)
	for _, c := range []struct {
		kind    string
		version int
		data    string
		private string
		want    error
	}{
		{"auth.principal.put", 2, `{}`, "", pool.ErrUnknownKind},
		{"auth.dragon", 1, `{"principal":"uma"}`, "", pool.ErrUnknownKind},
		{"auth.principal.put", 1, `{}`, "", pool.ErrInvalid},
		{"auth.principal.put", 1, `{"put":{"id":""}}`, "", pool.ErrInvalid},
		{"auth.principal.put", 1, `{"put":{"id":"a","wings":2}}`, "", pool.ErrInvalid},
		{"auth.principal.put", 1, `not json`, "", pool.ErrInvalid},
		{"auth.principal.put", 1, `{"put":{"id":"a"}}`, `canary`, pool.ErrInvalid},
		{"auth.password.set", 1, `{"principal":"ghost"}`, `{"hash":"canary"}`, pool.ErrNotFound},
		{"auth.binding.put", 1, `{}`, "", pool.ErrInvalid},
		{"auth.binding.put", 1, `{"binding":{"id":"b","principal":"ghost","role":"admin","scope":{}}}`, "", pool.ErrNotFound},
		{"auth.binding.removed", 1, `{"id":"b"}`, "", pool.ErrNotFound},
		{"auth.token.put", 1, `{"principal":"uma"}`, "", pool.ErrInvalid},
		{"auth.key.put", 1, `{"principal":"uma"}`, "", pool.ErrInvalid},
		{"subject.forgotten", 1, `{"what":1}`, "", pool.ErrInvalid},
	} {
		e := pool.Event{Kind: c.kind, Version: c.version, Data: json.RawMessage(c.data)}
		if c.private != "" {
			e.Private = []byte(c.private)
		}
		was := save(t, b.auth())
		_, err := b.auth().Fold(&e)
		require.ErrorIs(t, err, c.want, "%+v", c)
		require.NotContains(t, err.Error(), "canary")
		require.Equal(t, was, save(t, b.auth()))
	}
}

// TestCommands: what is refused, and why, of commands of the program itself.
func TestCommands(t *testing.T) {
	t.Parallel()
	_, token, err := auth.NewToken("test")
	require.NoError(t, err)
	token.Principal, token.Limits, token.Expires = "bot", []auth.Limit{{Role: auth.Viewer, Scope: in("eng")}}, noon().Add(time.Hour)
	with := func(f func(*auth.Token)) *auth.Token {
		t := token
		f(&t)
		return &t
	}
	person := func(f func(*auth.Principal)) *auth.Principal {
		p := auth.Principal{ID: "new", Kind: auth.Person, Name: "new"}
		f(&p)
		return &p
	}
	binding := func(f func(*auth.Binding)) *auth.Binding {
		b := auth.Binding{ID: "new", Principal: "uma", Role: auth.Viewer, Scope: in("eng")}
		f(&b)
		return &b
	}
	key := func(f func(*auth.Key)) *auth.Key {
		k := auth.Key{ID: "new", Principal: "uma", Line: sshLine()}
		f(&k)
		return &k
	}
	invalid, missing, exists, conflict := pool.ErrInvalid, pool.ErrNotFound, pool.ErrExists, pool.ErrConflict
	for name, c := range map[string]struct {
		c    auth.Command
		want error
	}{
		"nothing":                {auth.Command{}, invalid},
		"two":                    {auth.Command{Reset: "uma", Drop: "uma"}, invalid},
		"no id":                  {auth.Command{Put: person(func(p *auth.Principal) { p.ID = "" })}, invalid},
		"id with a slash":        {auth.Command{Put: person(func(p *auth.Principal) { p.ID = "../root" })}, invalid},
		"long id":                {auth.Command{Put: person(func(p *auth.Principal) { p.ID = strings.Repeat("a", 64) })}, invalid},
		"no kind":                {auth.Command{Put: person(func(p *auth.Principal) { p.Kind = "" })}, invalid},
		"no name":                {auth.Command{Put: person(func(p *auth.Principal) { p.Name = "" })}, invalid},
		"name with a line":       {auth.Command{Put: person(func(p *auth.Principal) { p.Name = "a\nb" })}, invalid},
		"name with a space":      {auth.Command{Put: person(func(p *auth.Principal) { p.Name = "a b" })}, invalid},
		"name that turns":        {auth.Command{Put: person(func(p *auth.Principal) { p.Name = "a\u202eb" })}, invalid},
		"long name":              {auth.Command{Put: person(func(p *auth.Principal) { p.Name = strings.Repeat("a", 129) })}, invalid},
		"long mail":              {auth.Command{Put: person(func(p *auth.Principal) { p.Email = strings.Repeat("a", 255) })}, invalid},
		"login of root's shell":  {auth.Command{Put: person(func(p *auth.Principal) { p.Login = "a;b" })}, invalid},
		"person in a project":    {auth.Command{Put: person(func(p *auth.Principal) { p.Project = "eng" })}, invalid},
		"disabled by put":        {auth.Command{Put: person(func(p *auth.Principal) { p.Disabled = true })}, invalid},
		"generation by put":      {auth.Command{Put: person(func(p *auth.Principal) { p.Generation = 7 })}, invalid},
		"taken name":             {auth.Command{Put: person(func(p *auth.Principal) { p.Name = "uma@corp" })}, exists},
		"another kind":           {auth.Command{Put: &auth.Principal{ID: "uma", Kind: auth.Service}}, exists},
		"another project":        {auth.Command{Put: &auth.Principal{ID: "bot", Kind: auth.Service, Project: "ops"}}, exists},
		"remove nobody":          {auth.Command{Remove: "ghost"}, missing},
		"disable nobody":         {auth.Command{Disable: "ghost"}, missing},
		"reset nobody":           {auth.Command{Reset: "ghost"}, missing},
		"drop of nobody":         {auth.Command{Drop: "ghost"}, missing},
		"password of nobody":     {auth.Command{Set: &auth.SetPassword{Principal: "ghost", Hash: argon()}}, missing},
		"password of a service":  {auth.Command{Set: &auth.SetPassword{Principal: "bot", Hash: argon()}}, invalid},
		"a password, no hash":    {auth.Command{Set: &auth.SetPassword{Principal: "uma", Hash: "canary horse battery staple canary horse battery staple"}}, invalid},
		"hash without end":       {auth.Command{Set: &auth.SetPassword{Principal: "uma", Hash: argon() + strings.Repeat("a", 255)}}, invalid},
		"first of another":       {auth.Command{Put: person(func(*auth.Principal) {}), Set: &auth.SetPassword{Principal: "uma", Hash: argon()}}, invalid},
		"first of who is there":  {auth.Command{Put: &auth.Principal{ID: "uma", Kind: auth.Person, Name: "u"}, Set: &auth.SetPassword{Principal: "uma", Hash: argon()}}, invalid},
		"first of a service":     {auth.Command{Put: &auth.Principal{ID: "robot", Kind: auth.Service}, Set: &auth.SetPassword{Principal: "robot", Hash: argon()}}, invalid},
		"first, no hash":         {auth.Command{Put: &auth.Principal{ID: "eve", Kind: auth.Person, Name: "eve"}, Set: &auth.SetPassword{Principal: "eve", Hash: "canary"}}, invalid},
		"first of a taken name":  {auth.Command{Put: &auth.Principal{ID: "eve", Kind: auth.Person, Name: "uma@corp"}, Set: &auth.SetPassword{Principal: "eve", Hash: argon()}}, exists},
		"put, set and more":      {auth.Command{Put: &auth.Principal{ID: "eve", Kind: auth.Person, Name: "eve"}, Set: &auth.SetPassword{Principal: "eve", Hash: argon()}, Reset: "uma"}, invalid},
		"rehash of none":         {auth.Command{Set: &auth.SetPassword{Principal: "vic", Hash: argon(), Same: true}}, conflict},
		"rehash of an old one":   {auth.Command{Set: &auth.SetPassword{Principal: "uma", Hash: argon(), Same: true, If: 1}}, conflict},
		"factor of a service":    {auth.Command{Second: &auth.SetSecond{Principal: "bot", Secret: make([]byte, 20)}}, invalid},
		"short secret":           {auth.Command{Second: &auth.SetSecond{Principal: "uma", Secret: make([]byte, 15)}}, invalid},
		"long secret":            {auth.Command{Second: &auth.SetSecond{Principal: "uma", Secret: make([]byte, auth.MaxSecret+1)}}, invalid},
		"codes, no digests":      {auth.Command{Second: &auth.SetSecond{Principal: "uma", Secret: make([]byte, 20), Recovery: []string{"canary"}}}, invalid},
		"many codes":             {auth.Command{Second: &auth.SetSecond{Principal: "uma", Secret: make([]byte, 20), Recovery: make([]string, 21)}}, invalid},
		"code without a factor":  {auth.Command{Recover: &auth.UseRecovery{Principal: "vic"}}, conflict},
		"code of an old factor":  {auth.Command{Recover: &auth.UseRecovery{Principal: "uma", If: 1}}, conflict},
		"no role":                {auth.Command{Bind: binding(func(b *auth.Binding) { b.Role = "" })}, invalid},
		"unknown role":           {auth.Command{Bind: binding(func(b *auth.Binding) { b.Role = "god" })}, invalid},
		"no scope":               {auth.Command{Bind: binding(func(b *auth.Binding) { b.Scope = auth.Scope{} })}, invalid},
		"two scopes":             {auth.Command{Bind: binding(func(b *auth.Binding) { b.Scope = auth.Scope{Everything: true, Project: "eng"} })}, invalid},
		"everything of one's":    {auth.Command{Bind: binding(func(b *auth.Binding) { b.Scope = auth.Scope{Everything: true, Own: true} })}, invalid},
		"no project":             {auth.Command{Bind: binding(func(b *auth.Binding) { b.Scope = in("a/b") })}, invalid},
		"bound to both":          {auth.Command{Bind: binding(func(b *auth.Binding) { b.Group = "g" })}, invalid},
		"bound to neither":       {auth.Command{Bind: binding(func(b *auth.Binding) { b.Principal = "" })}, invalid},
		"bound to nobody":        {auth.Command{Bind: binding(func(b *auth.Binding) { b.Principal = "ghost" })}, missing},
		"a binding that changes": {auth.Command{Bind: binding(func(b *auth.Binding) { b.ID = "b-uma" })}, exists},
		"unbind nothing":         {auth.Command{Unbind: "ghost"}, missing},
		"token of nobody":        {auth.Command{Token: with(func(t *auth.Token) { t.Principal = "ghost" })}, missing},
		"token id":               {auth.Command{Token: with(func(t *auth.Token) { t.ID = "mine" })}, invalid},
		"token in clear":         {auth.Command{Token: with(func(t *auth.Token) { t.Hash = "canary" })}, invalid},
		"token without limits":   {auth.Command{Token: with(func(t *auth.Token) { t.Limits = nil })}, invalid},
		"token, many limits":     {auth.Command{Token: with(func(t *auth.Token) { t.Limits = make([]auth.Limit, 17) })}, invalid},
		"token, empty limit":     {auth.Command{Token: with(func(t *auth.Token) { t.Limits = make([]auth.Limit, 1) })}, invalid},
		"token for ever":         {auth.Command{Token: with(func(t *auth.Token) { t.Expires = time.Time{} })}, invalid},
		"token of the past":      {auth.Command{Token: with(func(t *auth.Token) { t.Expires = noon() })}, invalid},
		"token for two years":    {auth.Command{Token: with(func(t *auth.Token) { t.Expires = noon().Add(auth.MaxTokenLife + time.Second) })}, invalid},
		"token label":            {auth.Command{Token: with(func(t *auth.Token) { t.Label = "a\x00" })}, invalid},
		"revoke nothing":         {auth.Command{Revoke: "ghost"}, missing},
		"key of nobody":          {auth.Command{Key: key(func(k *auth.Key) { k.Principal = "ghost" })}, missing},
		"key that is none":       {auth.Command{Key: key(func(k *auth.Key) { k.Line = "-----BEGIN OPENSSH PRIVATE KEY-----canary" })}, invalid},
		"key without end":        {auth.Command{Key: key(func(k *auth.Key) { k.Line += strings.Repeat("x", auth.MaxLine) })}, invalid},
		"key with options":       {auth.Command{Key: key(func(k *auth.Key) { k.Line = `command="canary" ` + sshLine() })}, invalid},
		"key with a line":        {auth.Command{Key: key(func(k *auth.Key) { k.Line += "\ncanary" })}, invalid},
		"key that ends first":    {auth.Command{Key: key(func(k *auth.Key) { k.NotBefore, k.Expires = noon(), noon() })}, invalid},
		"key twice":              {auth.Command{Key: key(func(k *auth.Key) { k.Line = strings.Replace(sshLine(), "ada@", "eve@", 1) })}, exists},
		"take nothing":           {auth.Command{Take: &auth.PrincipalsKey{Principal: "uma", ID: "ghost"}}, missing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := eventful(t)
			c.c.Program = true
			_, err := b.try(c.c)
			require.ErrorIs(t, err, c.want)
			require.NotContains(t, err.Error(), "canary")
		})
	}
	b := eventful(t)
	_, err = b.try(auth.Command{Reset: "uma"})
	require.ErrorIs(t, err, invalid, "somebody must ask")
	root := b.whole("root")
	_, err = b.try(auth.Command{Reset: "uma", By: &root, Program: true})
	require.ErrorIs(t, err, invalid, "one or the other")
	for _, raw := range []string{"", "x", `{"program":true,"reset":"uma","sudo":1}`, `{"program":true,"reset":"uma"} {}`, strings.Repeat(" ", auth.MaxCommand+1)} {
		_, err := b.auth().Decide(b.st, json.RawMessage(raw), noon())
		require.ErrorIs(t, err, invalid)
	}
}

// TestTheSameAgain: what is so already appends nothing.
func TestTheSameAgain(t *testing.T) {
	t.Parallel()
	b := eventful(t)
	uma, _ := b.auth().Principal("uma")
	nobody, _ := b.auth().Principal("nobody")
	token := b.auth().Tokens("uma")[0]
	key := b.auth().Keys("uma")[0]
	group, _ := b.auth().Binding("b-group")
	for name, c := range map[string]auth.Command{
		"put": {Put: &uma}, "put of one disabled": {Put: &nobody}, "disable": {Disable: "nobody"}, "enable": {Enable: "uma"}, "bind": {Bind: &group},
		"token": {Token: &token}, "key": {Key: &key}, "drop": {Drop: "vic"},
	} {
		c.Program = true
		events, err := b.try(c)
		require.NoError(t, err, name)
		require.Empty(t, events, name)
	}
	f, _ := b.auth().Second("uma")
	_, err := b.try(auth.Command{Program: true, Recover: &auth.UseRecovery{Principal: "uma", Code: 1, If: f.Changed}})
	require.ErrorIs(t, err, pool.ErrConflict, "but a code works once")
	_, err = b.try(auth.Command{Program: true, Recover: &auth.UseRecovery{Principal: "uma", Code: 2, If: f.Changed}})
	require.ErrorIs(t, err, pool.ErrNotFound)
}

// TestWhatOnesOwn: everybody sees to their own name, password and keys, and to nothing that would give them more.
func TestWhatOnesOwn(t *testing.T) {
	t.Parallel()
	_, token, err := auth.NewToken("test")
	require.NoError(t, err)
	token.Limits, token.Expires = []auth.Limit{{Role: auth.Admin, Scope: everything()}}, noon().Add(time.Hour)
	of := func(who string) *auth.Token {
		t := token
		t.Principal = who
		return &t
	}
	rename := &auth.Principal{ID: "uma", Kind: auth.Person, Name: "root2", Login: "uma"}
	mail := &auth.Principal{ID: "uma", Kind: auth.Person, Name: "uma@corp", Login: "ulla"}
	hash := &auth.SetPassword{Principal: "uma", Hash: argon()}
	for name, c := range map[string]struct {
		who string
		c   auth.Command
		why auth.Reason
	}{
		"own login":                  {"uma", auth.Command{Put: mail}, ""},
		"own name":                   {"uma", auth.Command{Put: rename}, auth.OutOfScope},
		"another's name":             {"vic", auth.Command{Put: rename}, auth.OutOfScope},
		"name by root":               {"root", auth.Command{Put: rename}, ""},
		"somebody new":               {"uma", auth.Command{Put: &auth.Principal{ID: "x", Kind: auth.Person, Name: "x"}}, auth.OutOfScope},
		"new, with a password":       {"uma", auth.Command{Put: &auth.Principal{ID: "x", Kind: auth.Person, Name: "x"}, Set: &auth.SetPassword{Principal: "x", Hash: argon()}}, auth.OutOfScope},
		"the same by root":           {"root", auth.Command{Put: &auth.Principal{ID: "x", Kind: auth.Person, Name: "x"}, Set: &auth.SetPassword{Principal: "x", Hash: argon()}}, ""},
		"own password":               {"uma", auth.Command{Set: hash}, ""},
		"another's password":         {"vic", auth.Command{Set: hash}, auth.OutOfScope},
		"password by root":           {"root", auth.Command{Set: hash}, ""},
		"password by rival's admin":  {"rita", auth.Command{Set: hash}, auth.OutOfScope},
		"password of nobody there":   {"vic", auth.Command{Set: &auth.SetPassword{Principal: "ghost", Hash: argon()}}, auth.OutOfScope},
		"own second factor":          {"uma", auth.Command{Second: &auth.SetSecond{Principal: "uma", Secret: make([]byte, 20)}}, ""},
		"own token":                  {"uma", auth.Command{Token: of("uma")}, ""},
		"token of another":           {"vic", auth.Command{Token: of("uma")}, auth.OutOfScope},
		"root's for another":         {"root", auth.Command{Token: of("uma")}, auth.NotOwn},
		"root's for a service":       {"root", auth.Command{Token: of("bot")}, ""},
		"service's by its own user":  {"uma", auth.Command{Token: of("bot")}, auth.NotByRole},
		"own key":                    {"uma", auth.Command{Key: &auth.Key{ID: "k", Principal: "uma", Line: sshLine()}}, ""},
		"another's key":              {"vic", auth.Command{Key: &auth.Key{ID: "k", Principal: "uma", Line: sshLine()}}, auth.OutOfScope},
		"own end":                    {"uma", auth.Command{Remove: "uma"}, auth.OutOfScope},
		"own disabling":              {"uma", auth.Command{Disable: "uma"}, auth.OutOfScope},
		"sign out everywhere":        {"uma", auth.Command{Reset: "uma"}, ""},
		"sign another out":           {"olga", auth.Command{Reset: "uma"}, auth.OutOfScope},
		"more for oneself":           {"uma", auth.Command{Bind: &auth.Binding{ID: "x", Principal: "uma", Role: auth.Admin, Scope: in("eng")}}, auth.NotByRole},
		"more by an operator":        {"olga", auth.Command{Bind: &auth.Binding{ID: "x", Principal: "olga", Role: auth.Operator, Scope: everything()}}, auth.OutOfScope},
		"within one's own":           {"rita", auth.Command{Bind: &auth.Binding{ID: "x", Principal: "uma", Role: auth.Admin, Scope: in("rival")}}, ""},
		"beyond one's own":           {"rita", auth.Command{Bind: &auth.Binding{ID: "x", Principal: "rita", Role: auth.Viewer, Scope: in("eng")}}, auth.OutOfScope},
		"own things of everybody":    {"rita", auth.Command{Bind: &auth.Binding{ID: "x", Principal: "rita", Role: auth.Viewer, Scope: auth.Scope{Own: true}}}, auth.OutOfScope},
		"another's binding":          {"rita", auth.Command{Unbind: "b-uma"}, auth.OutOfScope},
		"a binding that is not":      {"rita", auth.Command{Unbind: "ghost"}, auth.OutOfScope},
		"own binding":                {"uma", auth.Command{Unbind: "b-uma"}, auth.NotByRole},
		"a token that is not":        {"uma", auth.Command{Revoke: "aaaaaaaaaaaaaaaa"}, auth.OutOfScope},
		"claimed to be the same":     {"uma", auth.Command{Take: &auth.PrincipalsKey{Principal: "vic", ID: "k"}}, auth.OutOfScope},
		"second factor of another":   {"vic", auth.Command{Drop: "uma"}, auth.OutOfScope},
		"recovery code of another":   {"vic", auth.Command{Recover: &auth.UseRecovery{Principal: "uma"}}, auth.OutOfScope},
		"a service by its project":   {"rita", auth.Command{Put: &auth.Principal{ID: "robot", Kind: auth.Service, Project: "rival"}}, ""},
		"a service elsewhere":        {"rita", auth.Command{Put: &auth.Principal{ID: "robot", Kind: auth.Service, Project: "eng"}}, auth.OutOfScope},
		"a service that belongs":     {"rita", auth.Command{Disable: "bot"}, auth.OutOfScope},
		"a service of no project":    {"rita", auth.Command{Put: &auth.Principal{ID: "robot", Kind: auth.Service}}, auth.OutOfScope},
		"somebody who is not there":  {"ghost", auth.Command{Reset: "ghost"}, auth.NoPrincipal},
		"another's, once made":       {"rita", auth.Command{Put: &auth.Principal{ID: "bot", Kind: auth.Service, Project: "rival"}}, auth.OutOfScope},
		"oneself, before one exists": {"", auth.Command{Put: &auth.Principal{ID: "x", Kind: auth.Person, Name: "x"}}, auth.NoPrincipal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := company(t)
			by := b.whole(c.who)
			c.c.By = &by
			events, err := b.try(c.c)
			if c.why == "" {
				require.NoError(t, err)
				require.NotEmpty(t, events)
				return
			}
			var no *auth.Refusal
			require.ErrorAs(t, err, &no)
			require.Equal(t, c.why, no.Reason)
		})
	}
	b := company(t)
	by := b.whole("uma")
	by.Whole, by.Limits = false, token.Limits
	for _, c := range []auth.Command{{By: &by, Token: of("uma")}, {By: &by, Set: hash}} {
		_, err := b.try(c)
		var no *auth.Refusal
		require.ErrorAs(t, err, &no)
		require.Equal(t, auth.NotByToken, no.Reason)
	}
	by = b.whole("uma")
	_, err = b.try(auth.Command{By: &by, Set: &auth.SetPassword{Principal: "uma", Hash: argon(), Same: true}})
	require.ErrorIs(t, err, pool.ErrInvalid, "only the program says that a password is the same")
}

// TestTheLastAdmin: what would leave nobody who can say who may do what is refused.
func TestTheLastAdmin(t *testing.T) {
	t.Parallel()
	b := company(t)
	for _, c := range []auth.Command{{Remove: "root"}, {Disable: "root"}, {Unbind: "b-root"}} {
		c.Program = true
		_, err := b.try(c)
		var no *auth.Refusal
		require.ErrorAs(t, err, &no)
		require.Equal(t, auth.WouldLockOut, no.Reason)
	}
	b.bind("b-olga2", "olga", auth.Admin, everything())
	b.do(auth.Command{Disable: "olga"})
	_, err := b.try(auth.Command{Program: true, Remove: "root"})
	require.ErrorIs(t, err, auth.ErrForbidden, "one who is disabled does not count")
	b.do(auth.Command{Enable: "olga"})
	b.do(auth.Command{Remove: "root"})
	b.do(auth.Command{Bind: &auth.Binding{ID: "b-admins", Group: "corp:admins", Role: auth.Admin, Scope: everything()}})
	b.do(auth.Command{Unbind: "b-olga2"})
}

func TestBounds(t *testing.T) {
	t.Parallel()
	b := company(t)
	for n := range auth.MaxBound - 1 {
		b.bind(fmt.Sprint("n", n), "uma", auth.Viewer, in("eng"))
	}
	_, err := b.try(auth.Command{Program: true, Bind: &auth.Binding{ID: "more", Principal: "uma", Role: auth.Viewer, Scope: in("eng")}})
	require.ErrorIs(t, err, pool.ErrInvalid)
	for n := range auth.MaxKeys + 1 {
		public, _, err := ed25519.GenerateKey(crand.Reader)
		require.NoError(t, err)
		blob := append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), public...)
		_, err = b.try(auth.Command{Program: true, Key: &auth.Key{ID: fmt.Sprint("k", n), Principal: "uma", Line: "ssh-ed25519 " + base64.StdEncoding.EncodeToString(blob)}})
		require.Equal(t, n == auth.MaxKeys, err != nil)
	}
	limits := []auth.Limit{{Role: auth.Viewer, Scope: in("eng")}}
	add := func() error {
		_, token, err := auth.NewToken("test")
		require.NoError(t, err)
		token.Principal, token.Limits, token.Expires = "bot", limits, b.now.Add(time.Hour)
		_, err = b.try(auth.Command{Program: true, Token: &token})
		return err
	}
	for range auth.MaxTokens {
		require.NoError(t, add())
	}
	require.ErrorIs(t, add(), pool.ErrInvalid)
	b.now = b.now.Add(time.Hour)
	require.NoError(t, add(), "those that have expired make room")
	require.Len(t, b.auth().Tokens("bot"), 1)
}
