package ledger

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgerfile"
)

// Audit runs "berthd audit" as Run runs "berthd ledger".
func Audit(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return group{"berthd audit", "proves what stands in a ledger, and verifies such proofs", []command{
		auditVerifyCommand(), headCommand(), proveCommand(), checkCommand(), auditLogCommand(), auditKeyCommand(),
	}}.run(ctx, args, stdout, stderr)
}

// maxText bounds the files of keys, heads and evidence, in bytes.
const maxText = 16 << 20

func readText(what, name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(b) > maxText {
		err = errors.New("more than 16 MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", what, name, err)
	}
	return b, nil
}

func readKeys(name string) ([]audit.Key, error) {
	if name == "" {
		return nil, usagef("--keys is needed: a file of the public keys that are accepted, as berthd audit key prints them")
	}
	b, err := readText("keys", name)
	if err != nil {
		return nil, err
	}
	keys, err := audit.ParseKeys(string(b))
	if err != nil {
		return nil, fmt.Errorf("keys in %s: %w", name, err)
	}
	return keys, nil
}

// signedHead is a head as it was signed.
type signedHead struct {
	audit.Head
	note []byte
}

// readHeads opens all heads of a file, of which there is at least one.
func readHeads(name string, keys []audit.Key) (heads []signedHead, err error) {
	notes, err := readNotes(name)
	if err != nil {
		return nil, err
	}
	for n, note := range notes {
		h, err := audit.Open(note, keys...)
		if err != nil && len(notes) > 1 {
			err = fmt.Errorf("head %d of %d: %w", n+1, len(notes), err)
		}
		if err != nil {
			return nil, damagedError{fmt.Errorf("%s: %w", name, err)}
		}
		heads = append(heads, signedHead{h, note})
	}
	return heads, nil
}

// readNotes returns the heads of a file, unopened. In one that has none there is what cannot be opened.
func readNotes(name string) ([][]byte, error) {
	b, err := readText("head", name)
	if err != nil {
		return nil, err
	}
	if notes := audit.Notes(b); len(notes) > 0 {
		return notes, nil
	}
	return [][]byte{b}, nil
}

// source is what is read: a file, or the ledger of the data directory.
type source struct {
	name    string
	history audit.History
}

// sources are the file, or the files of the folder, or the ledger. It is for the caller to close them.
func (c *call) sources(ctx context.Context, in string, u *unsealing) (all []source, end func() error, err error) {
	end = func() error { return nil }
	if in == "" {
		store, conf, err := c.open(ctx)
		if err != nil {
			return nil, nil, err
		}
		return []source{{conf.Data, audit.Of(store)}}, store.Close, nil
	}
	names := []string{in}
	if info, err := os.Stat(in); err != nil {
		return nil, nil, err
	} else if info.IsDir() {
		if names, err = ledgersIn(in); err != nil {
			return nil, nil, err
		}
	}
	for _, name := range names {
		open, err := u.opener(name)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, source{name, fileHistory(open)})
	}
	return all, end, nil
}

// ledgersIn returns the files of ledgers in a folder.
func ledgersIn(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if ours := strings.HasSuffix(e.Name(), ".ledger") || strings.HasSuffix(e.Name(), ".ledger.age"); ours && e.Type().IsRegular() {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s has no file named *.ledger or *.ledger.age", dir)
	}
	return names, err
}

// fileHistory reads the file anew for each time that it is gone through.
func fileHistory(open func() (io.ReadCloser, error)) audit.History {
	return func(ctx context.Context, after pool.Revision) iter.Seq2[pool.Batch, error] {
		return func(yield func(pool.Batch, error) bool) {
			in, err := open()
			if err != nil {
				yield(pool.Batch{}, err)
				return
			}
			defer in.Close()
			f, err := ledgerfile.Open(in)
			if err != nil {
				yield(pool.Batch{}, err)
				return
			}
			for b, err := range f.Batches(ctx) {
				if err == nil && b.Revision <= after {
					continue
				}
				if err != nil && ctx.Err() == nil {
					err = damagedError{err} // what cannot be read or decrypted is not what was written either
				}
				if !yield(b, err) {
					return
				}
			}
		}
	}
}

func auditVerifyCommand() command {
	return command{
		name: "verify", about: "read a ledger, an export or a folder of backups, and compare it with signed heads",
		help: `
Everything is read and checked. What is damaged is named: the event by revision, index and kind, where its file tells it.
With --head the history up to each head must be the one that was signed: a file may have any number of them, one after
another, as the daemon's audit-heads has. Give it heads that were kept elsewhere. Of a
folder every file is verified, and the older ones must be the beginning of the newer ones.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			var u unsealing
			var heads list
			u.flags(set)
			in := set.String("in", "", "an export or a backup, or a `folder` of them; default: the ledger in the data directory")
			set.Var(&heads, "head", "a `file` with signed heads; repeatable")
			keys := set.String("keys", "", "a `file` with the public keys that are accepted")
			return func(ctx context.Context) error { return c.auditVerify(ctx, *in, &u, heads, *keys) }
		},
	}
}

func (c *call) auditVerify(ctx context.Context, in string, u *unsealing, names []string, keysFile string) error {
	var heads []audit.Head
	if len(names) > 0 {
		keys, err := readKeys(keysFile)
		if err != nil {
			return err
		}
		for _, name := range names {
			of, err := readHeads(name, keys)
			if err != nil {
				return err
			}
			for _, h := range of {
				heads = append(heads, h.Head)
			}
		}
	}
	all, end, err := c.sources(ctx, in, u)
	if err != nil {
		return err
	}
	err = c.verifyAll(ctx, all, heads)
	return errors.Join(err, end())
}

func (c *call) verifyAll(ctx context.Context, all []source, heads []audit.Head) error {
	ends := make(map[string]audit.Head)
	for _, s := range all {
		h, err := audit.Verify(ctx, s.history)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		ends[s.name] = h
	}
	slices.SortStableFunc(all, func(a, b source) int { return cmp.Compare(ends[a.name].Size, ends[b.name].Size) })
	for i := range all[1:] {
		at, differ, err := audit.Differ(ctx, all[i].history, all[i+1].history)
		if err != nil {
			return err
		}
		if differ {
			return damagedError{fmt.Errorf("%s and %s have different histories: they begin to differ with event %s", all[i].name, all[i+1].name, at)}
		}
		c.say("file", all[i].name, "revision", ends[all[i].name].Revision)
	}
	newest := all[len(all)-1]
	if len(heads) > 0 {
		if _, err := audit.Verify(ctx, newest.history, heads...); err != nil {
			return fmt.Errorf("%s: %w", newest.name, err)
		}
	}
	h := ends[newest.name]
	c.say("file", newest.name, "ledger", h.Ledger, "revision", h.Revision, "events", h.Size, "root", fmt.Sprintf("%x", h.Root))
	for _, h := range heads {
		c.say("head", fmt.Sprintf("of revision %d, signed at %s: the same history", h.Revision, h.Time.Format(time.RFC3339)))
	}
	return nil
}

func headCommand() command {
	return command{
		name: "head", about: "sign what the ledger is now: its number of events and the root over them",
		help: `
It prints the signed head. Give it to somebody else: it shows a changed history to whoever has it, and to nobody who has
not. With --previous nothing is signed unless the history goes on from that head.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			var u unsealing
			var keys list
			u.flags(set)
			in := set.String("in", "", "an export or a backup; default: the ledger in the data directory")
			set.Var(&keys, "key", "a `file` with a private key; repeatable, while keys are being changed")
			previous := set.String("previous", "", "a `file` with an earlier head, or several of which the last counts, signed with one of the keys or those of --keys")
			accepted := set.String("keys", "", "a `file` with public keys that are accepted for --previous")
			out := set.String("out", "", "write to this `file`, which must not be there; default: standard output")
			return func(ctx context.Context) (err error) {
				s, end, err := c.source(ctx, *in, &u)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, end()) }()
				private, err := readPrivate(keys)
				if err != nil {
					return err
				}
				var before []audit.Head
				if *previous != "" {
					h, err := readPrevious(*previous, *accepted, private)
					if err != nil {
						return err
					}
					before = append(before, h)
				}
				h, err := audit.Verify(ctx, s.history, before...)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				h.Time = time.Now()
				note, err := audit.Sign(h, private...)
				if err != nil {
					return err
				}
				return c.put(*out, note)
			}
		},
	}
}

// readPrevious opens the last head of a file, of this ledger or of the one that it is a copy of.
func readPrevious(name, accepted string, private []ed25519.PrivateKey) (audit.Head, error) {
	notes, err := readNotes(name)
	if err != nil {
		return audit.Head{}, err
	}
	note := notes[len(notes)-1]
	var keys []audit.Key
	if accepted != "" {
		if keys, err = readKeys(accepted); err != nil {
			return audit.Head{}, err
		}
	} else if ledger, ok := audit.LedgerOf(note); ok {
		for _, k := range private {
			keys = append(keys, audit.Key{Ledger: ledger, Public: k.Public().(ed25519.PublicKey)})
		}
	}
	h, err := audit.Open(note, keys...)
	if err != nil {
		return h, damagedError{fmt.Errorf("%s: %w", name, err)}
	}
	return h, nil
}

// source is sources for one.
func (c *call) source(ctx context.Context, in string, u *unsealing) (source, func() error, error) {
	all, end, err := c.sources(ctx, in, u)
	if err == nil && len(all) > 1 {
		return source{}, nil, errors.Join(usagef("%s is a folder with %d files: name one of them", in, len(all)), end())
	}
	if err != nil {
		return source{}, nil, err
	}
	return all[0], end, nil
}

// put writes what was made to standard output or to a file that must not be there.
func (c *call) put(name string, b []byte) error {
	if name == "" {
		_, err := c.stdout.Write(b)
		return err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, bytes.NewReader(b))
	return errors.Join(err, f.Sync(), f.Close())
}
