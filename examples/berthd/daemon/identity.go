package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/pool"
)

// KeysFile is the name of the file in the data directory that has the keys of access tokens.
const KeysFile = "session-keys"

// authentication sets up who is who.
func (d *Daemon) authentication(ctx context.Context) error {
	d.books = access.NewBooks(d.manager.View, d.look)
	status := d.manager.Status()
	if status.Stale == "" {
		if err := d.root(ctx); err != nil {
			return fmt.Errorf("first start: %w", err)
		}
	}
	keys, err := access.LoadKeys(filepath.Join(d.config.Data, KeysFile))
	if err != nil {
		return err
	}
	d.entered, err = session.New(session.Config{
		Issuer: status.Ledger, Audience: status.Ledger, Keys: keys.Now, State: d.books.State, Scratch: d.store,
	})
	if err != nil {
		return err
	}
	d.guard, err = access.New(access.Config{
		Books: d.books, Token: d.token, Scratch: d.store, Realm: status.Ledger, Session: d.config.Session, Secure: d.config.TLSCert != "",
		Others: []auth.Authenticator{auth.APITokens{Prefix: access.TokenPrefix, State: d.books.State, Used: d.store}, d.entered},
	})
	return err
}

// root makes the principal of the daemon's own token admin of everything, in a ledger that knows nobody: somebody has to be the first. Where
// it was taken away later it stays so.
func (d *Daemon) root(ctx context.Context) error {
	m := d.manager.As("berthd", "first start")
	put := auth.Command{Program: true, Put: &auth.Principal{ID: access.Root, Kind: auth.Service}}
	bind := auth.Command{Program: true, Bind: &auth.Binding{ID: access.Root, Principal: access.Root, Role: auth.Admin, Scope: auth.Scope{Everything: true}}}
	var known *auth.State
	d.manager.View(func(st *pool.State) { known = auth.Of(st) })
	for range known.Bindings() {
		return nil
	}
	// Nobody may do anything until the second is there, so that a start that was cut short is made up for by the next one.
	for _, c := range []auth.Command{put, bind} {
		if err := m.Decide(ctx, auth.Name, c); err != nil {
			return err
		}
	}
	return nil
}

const lookAgain = 50 * time.Millisecond

// look reports, as an error, why the ledger cannot be read, or has something that the Manager does not follow.
func (d *Daemon) look(ctx context.Context) error {
	status := d.manager.Status()
	if status.Stale != "" {
		return &pool.Error{Op: "follow the ledger", Kind: pool.ErrStale}
	}
	for b, err := range d.store.Read(ctx, status.Revision) {
		if err != nil {
			return &pool.Error{Op: "read the ledger", Kind: pool.ErrUnavailable, Cause: err}
		}
		for d.manager.Status().Revision < b.Revision { // it may have been stored only just now
			select {
			case <-ctx.Done():
				return &pool.Error{Op: "follow the ledger", Kind: pool.ErrUnavailable}
			case <-time.After(lookAgain):
			}
		}
		break
	}
	return ctx.Err()
}
