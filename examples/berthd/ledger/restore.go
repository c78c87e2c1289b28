package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berthage/berthage/examples/berthd/datadir"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgerfile"
)

func restoreTestCommand() command {
	return command{
		name: "restore-test", about: "import the newest backup into a scratch ledger and compare it with the ledger",
		help: `
Works while the daemon runs, and also where there is no ledger to compare with. It changes nothing: the scratch ledger
is removed. Have it run from time to time where the identity is kept, and look at its exit code.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			var u unsealing
			u.flags(set)
			in := set.String("in", "", "the backup or export to be tried; default: the newest `file` in the directory of backups")
			return func(ctx context.Context) error {
				conf, err := c.config()
				if err != nil {
					return err
				}
				name := *in
				if name == "" {
					there, err := backupsIn(backupDir(conf))
					if err == nil && len(there) == 0 {
						err = fmt.Errorf("%s: %w", backupDir(conf), errNoBackup)
					}
					if err != nil {
						return err
					}
					name = filepath.Join(backupDir(conf), there[len(there)-1])
				}
				return c.restoreTest(ctx, name, u)
			}
		},
	}
}

func (c *call) restoreTest(ctx context.Context, name string, u unsealing) (err error) {
	open, err := u.opener(name)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "berthd-restore-test-*") // mode 0700
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	var last pool.Revision
	var books string
	_, s, err := importTo(ctx, scratch, open, ledgerfile.Options{Progress: c.progress("import")}, func(store *datadir.Store) error {
		imported, err := fold(ctx, store, 0, nil) // the copy as it would be used
		if err != nil {
			return err
		}
		last = imported.Head() - 1
		books, err = booksAt(ctx, store, last)
		return err
	})
	if err != nil {
		return err
	}
	c.say("file", name, "revision", last, "events", s.Events, "root", hex.EncodeToString(s.Root[:]), "books", books)

	store, _, err := c.open(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		c.say("compared", "no: there is no ledger here; the backup is whole and can be restored")
		return nil
	}
	if err != nil {
		return err
	}
	defer store.Close()
	tree, err := store.Verify(ctx, last)
	if errors.Is(err, pool.ErrInvalid) {
		return damagedError{fmt.Errorf("the ledger ends before revision %d of the backup: it is an older copy, or another ledger", last)}
	}
	if err != nil {
		return err
	}
	if tree.Root != s.Root || tree.Size != s.Events {
		return damagedError{fmt.Errorf("the ledger has another history up to revision %d than the backup: its root is %x", last, tree.Root)}
	}
	sum, err := booksAt(ctx, store, last)
	if err != nil {
		return err
	}
	if sum != books {
		return damagedError{fmt.Errorf("the same history gives other books in the ledger: %s", sum)}
	}
	c.say("compared", "the same history and the same books as the ledger")
	return nil
}

// booksAt is the sum of the books at a revision, private parts aside.
func booksAt(ctx context.Context, l pool.Ledger, at pool.Revision) (string, error) {
	st, err := fold(ctx, public{l}, at, nil)
	if err != nil {
		return "", err
	}
	b, err := st.Snapshot().Bytes()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
