package auth_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/pool"
)

// crowd is a State of so many people, each with a binding.
func crowd(b *testing.B, n int) *auth.State {
	b.Helper()
	s := auth.New(nil)
	fold := func(kind string, data any) {
		e, err := pool.PartEvent(kind, 1, data)
		require.NoError(b, err)
		p, err := s.Fold(&e)
		require.NoError(b, err)
		s = p.(*auth.State)
	}
	for n := range n {
		id := fmt.Sprint("p", n)
		fold(auth.PrincipalPut, map[string]any{"put": auth.Principal{ID: id, Kind: auth.Person}})
		fold(auth.BindingPut, map[string]any{"binding": auth.Binding{ID: "b" + id, Principal: id, Role: auth.User, Scope: in(fmt.Sprint("t", n%100))}})
	}
	return s
}

// BenchmarkAccess is a decision, and whether a list shows a thing.
func BenchmarkAccess(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		s := crowd(b, n)
		r := auth.Request{By: auth.Identity{Principal: "p7", Whole: true}, Verb: auth.Delete, Thing: auth.Thing{Resource: auth.Instances, Project: "t7", Owner: "p7"}}
		b.Run(fmt.Sprint("decide/", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !s.Access(nil, r, noon()).Allowed {
					b.Fatal("refused")
				}
			}
		})
		v := s.View(nil, r.By, auth.Instances, noon())
		b.Run(fmt.Sprint("list/", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !v.Shows("t7", "p8") {
					b.Fatal("hidden")
				}
			}
		})
	}
}

// BenchmarkFold is an event more.
func BenchmarkFold(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		s := crowd(b, n)
		e, err := pool.PartEvent(auth.PrincipalReset, 1, map[string]any{"principal": "p7"})
		require.NoError(b, err)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Fold(&e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
