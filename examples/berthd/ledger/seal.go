package ledger

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"
)

// sealing is how a file is to be encrypted.
type sealing struct {
	recipients     list
	recipientsFile string
	passphraseFile string
	open           bool
}

// list is a flag that may be given several times.
type list []string

// String implements flag.Value.
func (l *list) String() string { return strings.Join(*l, " ") }

// Set implements flag.Value.
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func (s *sealing) flags(set *flag.FlagSet) {
	set.Var(&s.recipients, "recipient", "encrypt to this age `recipient` (age1...); repeatable")
	set.StringVar(&s.recipientsFile, "recipients-file", "", "encrypt to the age recipients in this `file`, one per line")
	set.StringVar(&s.passphraseFile, "passphrase-file", "", "encrypt with the passphrase in the first line of this `file`")
	set.BoolVar(&s.open, "unencrypted", false, "do not encrypt: the file holds keys and user-data for whoever can read it")
}

// errHow says what there is to choose from.
var errHow = errors.New("say how the file is to be encrypted: --recipient, --recipients-file or --passphrase-file; or --unencrypted")

// get returns the recipients, none where the file is not to be encrypted.
func (s *sealing) get() ([]age.Recipient, error) {
	keyed := len(s.recipients) > 0 || s.recipientsFile != ""
	switch {
	case !keyed && s.passphraseFile == "" && !s.open:
		return nil, usageError{errHow}
	case s.open && (keyed || s.passphraseFile != ""), keyed && s.passphraseFile != "":
		return nil, usagef("recipients, a passphrase and --unencrypted exclude each other")
	case s.open:
		return nil, nil
	case s.passphraseFile != "":
		p, err := passphrase(s.passphraseFile)
		if err != nil {
			return nil, err
		}
		r, err := age.NewScryptRecipient(p)
		return []age.Recipient{r}, err
	}
	var out []age.Recipient
	for _, text := range s.recipients {
		r, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, usagef("--recipient %.20q...: not an age recipient", text)
		}
		out = append(out, r...)
	}
	if s.recipientsFile != "" {
		r, err := Recipients(s.recipientsFile)
		if err != nil {
			return nil, err
		}
		out = append(out, r...)
	}
	return out, nil
}

// Recipients reads a file of age recipients.
func Recipients(name string) ([]age.Recipient, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("recipients: %w", err)
	}
	defer f.Close()
	r, err := age.ParseRecipients(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("recipients in %s: %w", name, err)
	}
	return r, nil
}

// passphrase reads the first line of a file.
func passphrase(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("passphrase: %w", err)
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 1<<16)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("passphrase: %w", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("passphrase: the first line of %s is empty", name)
	}
	return line, nil
}

// unsealing is how a file is decrypted.
type unsealing struct{ identity, passphraseFile string }

func (u *unsealing) flags(set *flag.FlagSet) {
	set.StringVar(&u.identity, "identity", "", "decrypt with the age identities in this `file`")
	set.StringVar(&u.passphraseFile, "passphrase-file", "", "decrypt with the passphrase in the first line of this `file`")
}

// opener returns what opens the file, decrypted if it is encrypted.
func (u *unsealing) opener(name string) (func() (io.ReadCloser, error), error) {
	var ids []age.Identity
	switch {
	case u.identity != "" && u.passphraseFile != "":
		return nil, usagef("--identity and --passphrase-file exclude each other")
	case u.identity != "":
		f, err := os.Open(u.identity)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		defer f.Close()
		if ids, err = age.ParseIdentities(io.LimitReader(f, 1<<20)); err != nil {
			return nil, fmt.Errorf("%s holds no age identity that can be read", u.identity) // the error may quote it
		}
	case u.passphraseFile != "":
		p, err := passphrase(u.passphraseFile)
		if err != nil {
			return nil, err
		}
		id, err := age.NewScryptIdentity(p)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return func() (io.ReadCloser, error) {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		in := bufio.NewReader(f)
		start, _ := in.Peek(len(ageMagic)) // what is wrong with it is found when it is read
		if string(start) != ageMagic {
			return readCloser{in, f}, nil
		}
		if len(ids) == 0 {
			return nil, errors.Join(usagef("%s is encrypted: --identity or --passphrase-file is needed", name), f.Close())
		}
		clear, err := age.Decrypt(in, ids...)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("decrypt %s: %w", name, err), f.Close())
		}
		return readCloser{clear, f}, nil
	}, nil
}

// ageMagic is how an encrypted file begins.
const ageMagic = "age-encryption.org/"

type readCloser struct {
	io.Reader
	io.Closer
}

func keygenCommand() command {
	return command{
		name: "keygen", about: "make a key pair for encrypted exports and backups",
		help: `
It writes an age identity, as age-keygen does, and prints the recipient that belongs to it. Keep the identity away from
the machine whose backups it opens: encrypting needs the recipient only.
`,
		setup: func(set *flag.FlagSet, c *call) func(context.Context) error {
			out := set.String("out", "", "write the identity to this `file`, which must not be there")
			return func(context.Context) error {
				if *out == "" {
					return usagef("--out is needed")
				}
				id, err := age.GenerateX25519Identity()
				if err != nil {
					return err
				}
				f, err := os.OpenFile(*out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintf(f, "# recipient: %s\n%s\n", id.Recipient(), id)
				if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
					return err
				}
				fmt.Fprintln(c.stdout, id.Recipient())
				return nil
			}
		},
	}
}
