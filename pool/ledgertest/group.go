package ledgertest

import (
	"context"
	"sync"
)

// group runs functions at the same time; the first error ends its context.
type group struct {
	context.Context
	fail context.CancelCauseFunc
	all  sync.WaitGroup
}

func newGroup(ctx context.Context) *group {
	g := new(group)
	g.Context, g.fail = context.WithCancelCause(ctx)
	return g
}

// Go runs f.
func (g *group) Go(f func() error) {
	g.all.Go(func() {
		if err := f(); err != nil {
			g.fail(err)
		}
	})
}

// Wait returns when all functions have, with the first error.
func (g *group) Wait() error {
	g.all.Wait()
	err := context.Cause(g)
	g.fail(nil)
	return err
}
