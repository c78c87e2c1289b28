// Package datadir is what berthd keeps in its data directory: the lock that says who has it, and the ledger.
package datadir

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// errLocked is what lockFile returns when another process has the lock.
var errLocked = errors.New("locked")

// Running says which daemon has a data directory.
type Running struct {
	PID     int       `json:"pid"`
	URL     string    `json:"url,omitempty"`  // empty while it starts
	Cert    string    `json:"cert,omitempty"` // file of its certificate, where it serves TLS
	Started time.Time `json:"started"`
}

// InUse is the error of a start on a data directory that another daemon has.
type InUse struct {
	Data string
	By   Running // zero when the other one has not said
}

// Error implements error.
func (e *InUse) Error() string {
	who := "another berthd"
	if e.By.PID != 0 {
		who = fmt.Sprintf("berthd with pid %d", e.By.PID)
	}
	if e.By.URL != "" {
		who += " at " + e.By.URL
	}
	return fmt.Sprintf("the data directory %s is in use by %s: stop it first, or give this one another --data", e.Data, who)
}

// Lock holds a data directory for this process; the system lets go of it when the process ends, however it
// ends.
type Lock struct {
	file *os.File
	data string
}

// Take locks a data directory, which is made if it is not there.
func Take(data string) (*Lock, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	f, err := lockFile(filepath.Join(data, "berthd.lock"))
	if errors.Is(err, errLocked) {
		by, _ := Find(data)
		return nil, &InUse{Data: data, By: by}
	}
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	l := &Lock{f, data}
	return l, l.Announce(Running{})
}

// Held reports whether a process has a data directory. One that was killed has left its note behind, and
// whatever listens on its address now must not be sent the token.
func Held(data string) bool {
	f, err := lockFile(filepath.Join(data, "berthd.lock"))
	if err == nil {
		f.Close()
	}
	return errors.Is(err, errLocked)
}

func noteFile(data string) string { return filepath.Join(data, "berthd.json") }

// Announce writes down who has the directory and where it can be reached. It is for people and for berthd
// link; the lock does not rest on it.
func (l *Lock) Announce(r Running) error {
	r.PID, r.Started = os.Getpid(), time.Now().UTC()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := noteFile(l.data) + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, noteFile(l.data))
}

// Release lets go of the directory.
func (l *Lock) Release() error {
	return errors.Join(os.Remove(noteFile(l.data)), l.file.Close())
}

// Find returns what the daemon of a data directory has said of itself. It may have ended since.
func Find(data string) (Running, error) {
	var r Running
	b, err := os.ReadFile(noteFile(data))
	if err != nil {
		return r, err
	}
	return r, json.Unmarshal(b, &r)
}
