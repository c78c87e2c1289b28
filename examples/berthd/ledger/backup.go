package ledger

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"filippo.io/age"

	"github.com/berthage/berthage/examples/berthd/config"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgerfile"
)

// Backups writes encrypted copies of a ledger to a directory, on a schedule, and keeps the newest.
type Backups struct {
	// Failed is told by Run that a backup has failed after one that had not, and again with the next failure if it returns an error. Nil: nobody is.
	Failed func(ctx context.Context, err error) error

	ledger     pool.Ledger
	dir        string
	every      time.Duration
	keep       int
	recipients []age.Recipient
	log        *slog.Logger

	turn   sync.Mutex // one at a time
	mu     sync.Mutex
	status BackupStatus
}

// BackupStatus is how backups stand since the start of the program.
type BackupStatus struct {
	Every     time.Duration
	Success   time.Time // of the newest backup, also of one that was there at the start; zero: none
	Failures  int64     // tries that failed
	LastError string    // of the last try; empty when it succeeded
}

// Late reports whether there should have been a backup by now.
func (s BackupStatus) Late(now time.Time) bool {
	return s.LastError != "" || !s.Success.IsZero() && now.Sub(s.Success) > 2*s.Every
}

// backupDir returns the directory of backups.
func backupDir(c config.Config) string {
	if c.BackupDir != "" {
		return c.BackupDir
	}
	return filepath.Join(c.Data, "backups")
}

// NewBackups returns the backups that the configuration asks for. It makes their directory, and reads the
// recipients, so that what is wrong with either is found at once.
func NewBackups(c config.Config, l pool.Ledger, log *slog.Logger) (*Backups, error) {
	if c.BackupRecipients == "" {
		return nil, errors.New("backup-recipients: a file of age recipients is needed; berthd ledger keygen makes a key pair")
	}
	to, err := Recipients(c.BackupRecipients)
	if err != nil {
		return nil, err
	}
	b := &Backups{ledger: l, dir: backupDir(c), every: c.BackupEvery, keep: c.BackupKeep, recipients: to, log: log}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("backups: %w", err)
	}
	b.status.Every = c.BackupEvery
	there, err := backupsIn(b.dir)
	if err != nil {
		return nil, err
	}
	if len(there) > 0 {
		b.status.Success = timeOf(there[len(there)-1])
	}
	return b, nil
}

// Status returns the present status.
func (b *Backups) Status() BackupStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

// mostRetry is the longest pause after a failure.
const mostRetry = time.Hour

// Run writes a backup whenever the newest is older than the interval, until ctx ends. After a failure it tries
// again sooner, at growing intervals.
func (b *Backups) Run(ctx context.Context) {
	retry, told := time.Minute, false
	for {
		wait := time.Until(b.Status().Success.Add(b.every))
		if b.Status().LastError != "" {
			wait = min(b.every, retry)
			retry = min(2*retry, mostRetry)
		} else {
			retry = time.Minute
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		name, h, err := b.Once(ctx, nil)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			b.log.Error("backup failed", "dir", b.dir, "error", err)
			if b.Failed != nil && !told {
				told = b.Failed(ctx, err) == nil
			}
		default:
			told = false
			b.log.Info("backup written", "file", name, "revision", int64(h.Last))
		}
	}
}

// Once writes a backup now and removes those that are too many.
func (b *Backups) Once(ctx context.Context, progress func(at, last pool.Revision)) (name string, h ledgerfile.Header, err error) {
	b.turn.Lock()
	defer b.turn.Unlock()
	at := time.Now().UTC().Truncate(time.Second)
	name = filepath.Join(b.dir, "berthage-"+at.Format(backupTime)+".ledger.age")
	h, _, err = write(ctx, name, b.ledger, b.recipients, ledgerfile.Options{Progress: progress})
	b.mu.Lock()
	if err == nil {
		b.status.Success, b.status.LastError = at, ""
	} else if ctx.Err() == nil {
		b.status.Failures++
		b.status.LastError = err.Error()
	}
	b.mu.Unlock()
	if err != nil {
		return "", h, err
	}
	return name, h, b.prune()
}

func (b *Backups) prune() error {
	there, err := backupsIn(b.dir)
	for len(there) > b.keep && err == nil {
		err = os.Remove(filepath.Join(b.dir, there[0]))
		there = there[1:]
	}
	return err
}

// The names of backups: in their order they are in that of time.
const backupTime = "20060102T150405Z"

var errNoBackup = errors.New("no backup there")

// backupsIn returns the names of the backups in a directory, the oldest first. Other files are not ours.
func backupsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	ours := regexp.MustCompile(`^berthage-\d{8}T\d{6}Z\.ledger\.age$`)
	var names []string
	for _, e := range entries {
		if ours.MatchString(e.Name()) && e.Type().IsRegular() {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func timeOf(name string) time.Time {
	t, _ := time.Parse("berthage-"+backupTime+".ledger.age", name) // backupsIn has looked at it; zero is as good as none
	return t
}

func backupCommand() command {
	return command{
		name: "backup", about: "write a backup now, as the daemon does by its schedule",
		help: `
Works while the daemon runs. Directory, recipients and how many are kept are the daemon's options --backup-dir,
--backup-recipients and --backup-keep, from --config and the environment.
`,
		setup: func(_ *flag.FlagSet, c *call) func(context.Context) error {
			return func(ctx context.Context) error {
				store, conf, err := c.open(ctx)
				if err != nil {
					return err
				}
				defer store.Close()
				b, err := NewBackups(conf, store, slog.New(slog.DiscardHandler))
				if err != nil {
					return err
				}
				name, h, err := b.Once(ctx, c.progress("backup"))
				if err != nil {
					return err
				}
				c.say("ledger", h.Identity, "revision", h.Last, "file", name)
				return nil
			}
		},
	}
}
