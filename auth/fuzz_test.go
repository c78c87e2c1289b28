package auth_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

func FuzzParseToken(f *testing.F) {
	text, _, err := auth.NewToken("bth")
	require.NoError(f, err)
	f.Add(text)
	f.Add("bth_aaaaaaaaaaaaaaaa_x")
	f.Fuzz(func(t *testing.T, s string) {
		prefix, id, ok := auth.ParseToken(s)
		if ok {
			require.Equal(t, prefix+"_"+id+"_", s[:len(prefix)+len(id)+2])
			require.Len(t, id, 16)
		}
	})
}

// FuzzCommand: whatever is asked, and by whomever, either nothing happens and the error says so, or what happens can be folded, saved and
// loaded; and nobody who is bound to nothing changes anything of another.
func FuzzCommand(f *testing.F) {
	for _, c := range []auth.Command{
		{Put: &auth.Principal{ID: "new", Kind: auth.Person, Name: "new"}}, {Remove: "uma"}, {Disable: "uma"}, {Reset: "uma"},
		{Set: &auth.SetPassword{Principal: "uma", Hash: argon()}}, {Second: &auth.SetSecond{Principal: "uma", Secret: make([]byte, 20), Recovery: []string{sha("a")}}},
		{Bind: &auth.Binding{ID: "b", Principal: "uma", Role: auth.Admin, Scope: everything()}}, {Unbind: "b-uma"},
		{Token: &auth.Token{ID: "aaaaaaaaaaaaaaaa", Principal: "uma", Hash: sha("a"), Limits: []auth.Limit{{Role: auth.Admin, Scope: everything()}}, Expires: noon().Add(time.Hour)}},
		{Key: &auth.Key{ID: "k", Principal: "uma", Line: sshLine()}}, {Take: &auth.PrincipalsKey{Principal: "uma", ID: "k"}},
		{Passkey: passkey("p", "nobody")}, {Passkey: passkey("p", "uma")}, {Discard: &auth.PrincipalsKey{Principal: "uma", ID: "p"}},
	} {
		b, err := json.Marshal(c)
		require.NoError(f, err)
		f.Add(string(b), true)
		f.Add(string(b), false)
	}
	f.Fuzz(func(t *testing.T, raw string, program bool) {
		var c auth.Command
		if json.Unmarshal([]byte(raw), &c) != nil {
			return
		}
		b := company(t)
		c.Program, c.By = program, nil
		if !program {
			by := b.whole("nobody")
			c.By = &by
		}
		raws, err := json.Marshal(c)
		require.NoError(t, err)
		events, err := b.auth().Decide(b.st, raws, noon())
		if err != nil {
			require.Empty(t, events)
			return
		}
		for _, e := range events {
			if !program {
				require.Contains(t, string(e.Data), `"nobody"`)
			}
		}
		b.apply(events...)
		again, err := auth.New(nil).Load([]byte(save(t, b.auth())))
		require.NoError(t, err)
		require.Equal(t, save(t, b.auth()), save(t, again))
	})
}

func FuzzFold(f *testing.F) {
	b := eventful(&testing.T{})
	for _, e := range b.events {
		f.Add(e.Kind, []byte(e.Data), e.Private)
	}
	f.Fuzz(func(t *testing.T, kind string, data, private []byte) {
		b := company(t)
		was := save(t, b.auth())
		p, err := b.auth().Fold(&pool.Event{Kind: kind, Version: 1, Revision: 99, Data: data, Private: private})
		require.Equal(t, was, save(t, b.auth()))
		if err == nil {
			saved := save(t, p)
			if saved != "" {
				again, err := auth.New(nil).Load([]byte(saved))
				require.NoError(t, err)
				require.Equal(t, saved, save(t, again))
			}
		}
	})
}
