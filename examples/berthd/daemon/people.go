package daemon

import (
	"context"
	"path/filepath"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/signin"
	"github.com/berthage/berthage/pool"
)

// signinKey is the name of the file in the data directory that has the key of second factors.
const signinKey = "signin-key"

// people sets up where people sign in.
func (d *Daemon) people() (*signin.Desk, error) {
	key, err := signin.LoadKey(filepath.Join(d.config.Data, signinKey))
	if err != nil {
		return nil, err
	}
	return signin.New(signin.Config{
		State: d.books.State, Scratch: d.store, Key: key, Sessions: d.entered, End: d.guard.End,
		Commit: func(ctx context.Context, c auth.Command) error {
			return d.manager.As("berthd", "log-in").Decide(ctx, auth.Name, c)
		},
	})
}

// nobody reports whether nobody can sign in by name and password yet.
func (d *Daemon) nobody() bool {
	none := true
	d.manager.View(func(st *pool.State) {
		known := auth.Of(st)
		for p := range known.Principals() {
			_, has := known.Password(p.ID)
			none = none && !has
		}
	})
	return none
}
