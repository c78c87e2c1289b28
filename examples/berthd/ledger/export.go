package ledger

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"filippo.io/age"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgerfile"
)

func exportCommand() command {
	return command{
		name: "export", about: "write the ledger to a file, encrypted",
		help: `
Works while the daemon runs; what is appended meanwhile is not in the file. The file is written under another name
first, and only its owner can read it.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			var s sealing
			s.flags(set)
			out := set.String("out", "", "write to this `file`, which must not be there")
			public := set.Bool("without-private", false, "leave out user-data, keys and addresses")
			return func(ctx context.Context) error {
				if *out == "" {
					return usagef("--out is needed")
				}
				recipients, err := s.get()
				if err != nil {
					return err
				}
				store, _, err := c.open(ctx)
				if err != nil {
					return err
				}
				defer store.Close()
				h, sum, err := write(ctx, *out, store, recipients, ledgerfile.Options{Public: *public, Progress: c.progress("export")})
				if err != nil {
					return err
				}
				c.report(h.Identity, h.Last, sum)
				return nil
			}
		},
	}
}

// report prints what a file holds.
func (c *call) report(identity string, last pool.Revision, s ledgerfile.Summary) {
	c.say("ledger", identity, "revision", last, "events", s.Events, "private", s.Private, "root", hex.EncodeToString(s.Root[:]))
}

// write writes a ledger to a file that must not be there: under another name first, flushed, then renamed.
func write(ctx context.Context, name string, from pool.Ledger, to []age.Recipient, o ledgerfile.Options) (h ledgerfile.Header, s ledgerfile.Summary, err error) {
	if _, err := os.Lstat(name); err == nil {
		return h, s, fmt.Errorf("%s is there already: it is not written over", name)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return h, s, err
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+"-*.part") // made with mode 0600
	if err != nil {
		return h, s, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignore(f.Close(), fs.ErrClosed), ignore(os.Remove(f.Name()), fs.ErrNotExist))
		}
	}()
	buffered := bufio.NewWriterSize(f, 1<<20)
	var out io.Writer = buffered
	end := func() error { return nil }
	if len(to) > 0 {
		sealed, err := age.Encrypt(buffered, to...)
		if err != nil {
			return h, s, err
		}
		out, end = sealed, sealed.Close
	}
	if h, s, err = ledgerfile.Write(ctx, out, from, o); err != nil {
		return h, s, err
	}
	for _, step := range []func() error{end, buffered.Flush, f.Sync, f.Close, func() error { return os.Rename(f.Name(), name) }} {
		if err := step(); err != nil {
			return h, s, err
		}
	}
	return h, s, syncDir(filepath.Dir(name))
}

func ignore(err, kind error) error {
	if errors.Is(err, kind) {
		return nil
	}
	return err
}

// syncDir makes a rename last. Windows has no such thing.
func syncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
