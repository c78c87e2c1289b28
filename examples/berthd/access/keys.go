package access

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/berthage/berthage/auth/session"
	"github.com/berthage/berthage/examples/berthd/private"
)

// A key signs access tokens for keyLife and is known keyAnnounce before.
const (
	keyLife     = 30 * 24 * time.Hour
	keyAnnounce = 15 * time.Minute
)

// Keys are those that sign access tokens, in a file that only its owner can read. New ones follow in time. It is safe for concurrent use.
type Keys struct {
	name string
	mu   sync.Mutex
	now  session.Keys
}

// LoadKeys reads the file, and makes one when there is none.
func LoadKeys(name string) (*Keys, error) {
	k := &Keys{name: name}
	b, err := private.ReadOrMake(name, func() ([]byte, error) {
		return json.Marshal(session.Keys{session.NewKey(session.EdDSA, time.Now())}) // #nosec G117 -- into the file that keeps them
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("keys of sessions: %w", err)
	case json.Unmarshal(b, &k.now) != nil || k.now.Valid() != nil: // whose errors could show a key
		return nil, fmt.Errorf("%s does not hold keys: remove it, and the next start makes new ones; everybody has to sign in again", name)
	}
	return k, nil
}

// Now returns the keys, with the next one when it is time for it.
func (k *Keys) Now(context.Context) (session.Keys, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	next, changed := k.now.Rotate(session.EdDSA, keyLife, keyAnnounce, time.Now())
	if changed {
		if err := k.write(next); err != nil {
			return nil, err
		}
		k.now = next
	}
	return k.now, nil
}

func (k *Keys) write(keys session.Keys) error {
	b, err := json.Marshal(keys) // #nosec G117 -- into the file that keeps them
	if err == nil {
		err = private.Write(k.name, b)
	}
	if err != nil {
		return fmt.Errorf("keys of sessions: %w", err)
	}
	return nil
}
