package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/examples/berthd/trail"
	"github.com/berthage/berthage/pool"
)

func verifyCommand() command {
	return command{
		name: "verify", about: "read the whole ledger and check every event, the snapshot and the books",
		help: `
Works while the daemon runs. It prints the root of the Merkle tree (RFC 6962) over all events up to a revision: keep
revision and root elsewhere, and give them again to find out whether the history up to there is still the same.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			revision := set.Int64("revision", 0, "verify up to this `revision`; 0: up to the head")
			root := set.String("root", "", "the root in `hex` that the tree must have")
			return func(ctx context.Context) error { return verify(ctx, c, pool.Revision(*revision), *root) }
		},
	}
}

func verify(ctx context.Context, c *call, upTo pool.Revision, root string) error {
	if b, err := hex.DecodeString(root); err != nil || root != "" && len(b) != sha256.Size || upTo < 0 {
		return usagef("--revision from 0, --root with %d hexadecimal digits", 2*sha256.Size)
	}
	s, _, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	tree, err := s.Verify(ctx, upTo)
	if err != nil {
		return err
	}
	checkpoint, snapshot, err := s.Checkpoint(ctx)
	if err != nil {
		return err
	}
	said := "none"
	if checkpoint > 0 {
		said = fmt.Sprint("of revision ", checkpoint, ", beyond what was verified")
	}
	progress := c.progress("fold")
	st, err := fold(ctx, s, tree.Revision, func(st *pool.State) error {
		progress(st.Head(), tree.Revision)
		if st.Head() != checkpoint {
			return nil
		}
		switch _, err := pool.ReadSnapshot(bytes.NewReader(snapshot), berthage.Parts(trail.Parts()...)...); {
		case err != nil && !errors.Is(err, pool.ErrUnknownKind):
			return damagedError{fmt.Errorf("the snapshot of revision %d: %w", checkpoint, err)}
		case err != nil:
			said = fmt.Sprint("of revision ", checkpoint, ", of another version of the program; it is not used")
			return nil
		}
		said = fmt.Sprint("of revision ", checkpoint, ", as the events have it")
		folded, err := st.Snapshot().Bytes()
		if err == nil && !bytes.Equal(folded, snapshot) {
			err = damagedError{fmt.Errorf("the snapshot of revision %d is not what the events give; compact anew, after a look for what has changed it", checkpoint)}
		}
		return err
	})
	if err != nil {
		return err
	}
	c.say("ledger", st.Identity(), "revision", tree.Revision, "events", tree.Size, "root", hex.EncodeToString(tree.Root[:]), "snapshot", said)
	if !st.Confirmed() {
		c.say("imported", "not confirmed: no driver is called; see berthd ledger confirm")
	}
	if got := hex.EncodeToString(tree.Root[:]); root != "" && got != root {
		return damagedError{fmt.Errorf("the root at revision %d is not %s: the history up to there is another one", tree.Revision, root)}
	}
	return nil
}
