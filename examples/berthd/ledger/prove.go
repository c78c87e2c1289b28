package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/berthage/berthage/auth/audit"
	"github.com/berthage/berthage/pool"
)

func proveCommand() command {
	return command{
		name: "prove", operand: "EVENT", about: "write the evidence that an event stands in the ledger",
		help: `
EVENT is a revision and an index, such as 17.0, or an event's id. The evidence is the event without its private part, its
place in the tree and a signed head: whoever has the public key checks it with berthd audit check, without the ledger.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			var u unsealing
			var keys list
			u.flags(set)
			in := set.String("in", "", "an export or a backup; default: the ledger in the data directory")
			set.Var(&keys, "key", "a `file` with a private key, to sign a head with now; repeatable")
			head := set.String("head", "", "a `file` with a head that was signed before, instead; of several the last")
			accepted := set.String("keys", "", "a `file` with the public keys that are accepted for --head")
			out := set.String("out", "", "write to this `file`, which must not be there; default: standard output")
			return func(ctx context.Context) (err error) {
				if c.operand == "" || (*head == "") == (len(keys) == 0) {
					return usagef("an event is needed, and either --head with --keys, or --key")
				}
				s, end, err := c.source(ctx, *in, &u)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, end()) }()
				v := audit.Evidence{}
				log, at, err := follow(ctx, s, c.operand)
				if err != nil {
					return err
				}
				h, err := log.Head()
				if err != nil {
					return err
				}
				if *head != "" {
					public, err := readKeys(*accepted)
					if err != nil {
						return err
					}
					heads, err := readHeads(*head, public)
					if err != nil {
						return err
					}
					last := heads[len(heads)-1]
					v.Head, h = last.note, last.Head
					if _, err := audit.Verify(ctx, s.history, h); err != nil {
						return fmt.Errorf("%s: %w", s.name, err)
					}
				} else {
					private, err := readPrivate(keys)
					if err != nil {
						return err
					}
					h.Time = time.Now()
					if v.Head, err = audit.Sign(h, private...); err != nil {
						return err
					}
				}
				if v.Leaf, v.Event, err = log.Find(ctx, at); err != nil {
					return err
				}
				if v.Path, err = log.Inclusion(ctx, v.Leaf, h.Size); err != nil {
					return fmt.Errorf("event %s, with a head of revision %d: %w", at, h.Revision, err)
				}
				b, err := json.MarshalIndent(&v, "", "  ")
				if err != nil {
					return err
				}
				return c.put(*out, append(b, '\n'))
			}
		},
	}
}

// follow reads a history, and finds where an event stands in it.
func follow(ctx context.Context, s source, event string) (*audit.Log, audit.Position, error) {
	at, wrong := audit.ParsePosition(event)
	log := &audit.Log{History: s.history}
	for b, err := range s.history(ctx, 0) {
		if err == nil {
			err = log.Add(b)
		}
		if err != nil {
			return nil, at, fmt.Errorf("%s: %w", s.name, err)
		}
		for i := range b.Events {
			if b.Events[i].ID == event {
				at, wrong = audit.Position{Revision: b.Revision, Index: i}, nil
			}
		}
	}
	if wrong != nil {
		return nil, at, &pool.Error{Kind: pool.ErrNotFound, Field: "event", Value: event, Want: "a revision and an index, such as 17.0, or the id of an event"}
	}
	return log, at, nil
}

func checkCommand() command {
	return command{
		name: "check", operand: "FILE", about: "check the evidence of an event, without a ledger",
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			keys := set.String("keys", "", "a `file` with the public keys that are accepted")
			return func(context.Context) error {
				if c.operand == "" {
					return usagef("a file of evidence is needed")
				}
				public, err := readKeys(*keys)
				if err != nil {
					return err
				}
				b, err := readText("evidence", c.operand)
				if err != nil {
					return err
				}
				var v audit.Evidence
				if err := v.UnmarshalJSON(b); err != nil {
					return damagedError{fmt.Errorf("%s: %w", c.operand, err)}
				}
				h, err := v.Verify(public...)
				if err != nil {
					return damagedError{fmt.Errorf("%s: %w", c.operand, err)}
				}
				at := audit.Position{Revision: v.Event.Revision, Index: v.Event.Index}
				c.say("event", at, "kind", pool.Quote(v.Event.Kind), "time", v.Event.Time.Format(time.RFC3339Nano), "actor", pool.Quote(v.Event.Actor),
					"in", fmt.Sprintf("ledger %s, revision %d of %s", pool.Quote(h.Ledger), h.Revision, h.Time.Format(time.RFC3339)))
				return nil
			}
		},
	}
}

func auditKeyCommand() command {
	return command{
		name: "key", about: "make a key that signs heads, or print the public key of one",
		help: `
It prints the public key as --keys wants it: for the ledger in the data directory, or that of --ledger. Who has the private
key can sign any history: keep it where the ledger is not, if heads are signed there.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			out := set.String("out", "", "make a private key and write it to this `file`, which must not be there")
			key := set.String("key", "", "a `file` with a private key that is there")
			ledger := set.String("ledger", "", "the `identity` of the ledger; default: that of the one in the data directory")
			return func(ctx context.Context) error {
				if (*out == "") == (*key == "") {
					return usagef("either --out or --key is needed")
				}
				if *ledger == "" {
					s, end, err := c.source(ctx, "", nil)
					if err != nil {
						return err
					}
					h, err := audit.Verify(ctx, s.history)
					if err = errors.Join(err, end()); err != nil {
						return err
					}
					*ledger = h.Ledger
				}
				var private []ed25519.PrivateKey
				var err error
				if *key != "" {
					private, err = readPrivate([]string{*key})
				} else {
					private, err = makePrivate(*out)
				}
				if err != nil {
					return err
				}
				fmt.Fprintln(c.stdout, audit.Key{Ledger: *ledger, Public: private[0].Public().(ed25519.PublicKey)})
				return nil
			}
		},
	}
}

// pemType is that of a private key in PKCS #8, which openssl reads and writes too.
const pemType = "PRIVATE KEY"

func makePrivate(name string) ([]ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	err = pem.Encode(f, &pem.Block{Type: pemType, Bytes: der})
	return []ed25519.PrivateKey{key}, errors.Join(err, f.Sync(), f.Close())
}

func readPrivate(names []string) (keys []ed25519.PrivateKey, err error) {
	if len(names) == 0 {
		return nil, usagef("--key is needed: a file with a private key; berthd audit key --out makes one")
	}
	for _, name := range names {
		b, err := readText("private key", name)
		if err != nil {
			return nil, err
		}
		bad := fmt.Errorf("%s is no Ed25519 private key in PKCS #8, as PEM", name) // another error may quote it
		block, _ := pem.Decode(b)
		if block == nil || block.Type != pemType {
			return nil, bad
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		key, ok := parsed.(ed25519.PrivateKey)
		if err != nil || !ok {
			return nil, bad
		}
		keys = append(keys, key)
	}
	return keys, nil
}
