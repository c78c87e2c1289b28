package ledger

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/berthage/berthage/examples/berthd/datadir"
	"github.com/berthage/berthage/pool"
)

func compactCommand() command {
	return command{
		name: "compact", about: "store a snapshot, so that the daemon starts without folding the whole history",
		help: `
Refused while the daemon runs. Nothing is deleted: the events up to the snapshot are the archive from then on, which
verify and export read as before.
`,
		setup: func(_ *flag.FlagSet, c *call) func(context.Context) error {
			return func(ctx context.Context) (err error) {
				conf, err := c.config()
				if err != nil {
					return err
				}
				if _, err := os.Stat(conf.Data); err != nil {
					return fmt.Errorf("no data directory: %w", err)
				}
				lock, err := datadir.Take(conf.Data)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, lock.Release()) }()
				store, _, err := c.open(ctx)
				if err != nil {
					return err
				}
				defer store.Close()
				progress := c.progress("fold")
				st, err := fold(ctx, store, 0, func(st *pool.State) error { progress(st.Head(), 0); return nil })
				if err != nil {
					return err
				}
				before, _, err := store.Checkpoint(ctx)
				if err != nil {
					return err
				}
				if before == st.Head() {
					fmt.Fprintf(c.stdout, "the snapshot is of revision %d already: nothing to be done\n", before)
					return nil
				}
				snapshot, err := st.Snapshot().Bytes()
				if err != nil {
					return err
				}
				if err := store.Compact(ctx, st.Head(), snapshot); err != nil {
					return err
				}
				c.say("ledger", st.Identity(), "revision", st.Head(), "archived", plural(int64(st.Head()-before), "batch"), "snapshot", plural(int64(len(snapshot)), "byte"))
				return nil
			}
		},
	}
}
