package ledger

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/berthage/berthage/examples/berthd/datadir"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgerfile"
)

// actor is who stands in the events of these commands.
const actor = "berthd ledger"

func importCommand() command {
	return command{
		name: "import", about: "make the ledger of a data directory from an exported file or a backup",
		help: `
The data directory must have no ledger yet, and no daemon. The imported ledger has an identity of its own, and the
daemon calls no driver until berthd ledger confirm: two ledgers of one identity would each take the other's machines
for their own.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			var u unsealing
			u.flags(set)
			in := set.String("in", "", "the `file`")
			return func(ctx context.Context) error {
				if *in == "" {
					return usagef("--in is needed")
				}
				open, err := u.opener(*in)
				if err != nil {
					return err
				}
				conf, err := c.config()
				if err != nil {
					return err
				}
				return c.importInto(ctx, conf.Data, open)
			}
		},
	}
}

func (c *call) importInto(ctx context.Context, data string, open func() (io.ReadCloser, error)) (err error) {
	lock, err := datadir.Take(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	target := filepath.Join(data, datadir.LedgerFile)
	if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(fmt.Errorf("%s is there already: move it away, or import into another data directory", target), err)
	}
	for _, rest := range []string{"-wal", "-shm"} { // they would be taken for the new file's
		if _, err := os.Lstat(target + rest); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(fmt.Errorf("%s is left of another ledger: move it away first", target+rest), err)
		}
	}
	scratch, err := os.MkdirTemp(data, "import-*.part")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	identity, s, err := importTo(ctx, scratch, open, ledgerfile.Options{Progress: c.progress("import")}, nil)
	if err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(scratch, datadir.LedgerFile), target); err != nil {
		return err
	}
	if err := syncDir(data); err != nil {
		return err
	}
	c.report(identity, pool.Revision(s.Batches)+1, s)
	fmt.Fprintf(c.stdout, "\nNo driver is called yet. When the ledger that this is a copy of is lost or given up for good:\n  berthd ledger confirm --ledger %s\n", identity)
	return nil
}

// importTo imports into a new store in a directory, shows it to look if that is not nil, and closes it.
func importTo(ctx context.Context, dir string, open func() (io.ReadCloser, error), o ledgerfile.Options, look func(*datadir.Store) error) (identity string, s ledgerfile.Summary, err error) {
	store, err := datadir.OpenStore(ctx, dir)
	if err != nil {
		return "", s, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	identity, s, err = ledgerfile.Import(ctx, open, store, actor, o)
	if err == nil && look != nil {
		err = look(store)
	}
	return identity, s, err
}

func confirmCommand() command {
	return command{
		name: "confirm", about: "let the daemon act on an imported ledger",
		help: `
It is your word that nobody else acts on what the books say: that the ledger this one is a copy of is lost, or its
daemon given up for good. A wrong word lets two daemons steer the same machines. A daemon that runs goes by it at once.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			ledger := set.String("ledger", "", "the `identity` of the ledger, so that no other one is confirmed by mistake")
			return func(ctx context.Context) error {
				if *ledger == "" {
					return usagef("--ledger is needed; berthd ledger verify tells it")
				}
				store, _, err := c.open(ctx)
				if err != nil {
					return err
				}
				defer store.Close()
				said, err := confirm(ctx, store, *ledger)
				if err == nil {
					fmt.Fprintln(c.stdout, said)
				}
				return err
			}
		},
	}
}

// confirm appends the event, again on whatever a daemon that runs has appended meanwhile.
func confirm(ctx context.Context, l pool.Ledger, ledger string) (string, error) {
	e, err := pool.NewEvent(pool.KindConfirmed, &pool.Confirmed{Ledger: ledger})
	if err != nil {
		return "", err
	}
	e.ID, e.Actor = rand.Text(), actor
	for {
		st, err := fold(ctx, l, 0, nil)
		switch {
		case err != nil:
			return "", err
		case st.Identity() != ledger:
			return "", fmt.Errorf("this is ledger %q, not %q", st.Identity(), ledger)
		case st.Confirmed():
			return "already confirmed, or never imported: nothing to be done", nil
		}
		e.Time, e.Epoch = time.Now().UTC(), st.Epoch()
		if e.Time.Before(st.Time()) {
			e.Time = st.Time()
		}
		_, err = l.Append(ctx, st.Head(), e)
		if !errors.Is(err, pool.ErrConflict) {
			return "confirmed: its drivers are called from now on", err
		}
	}
}
