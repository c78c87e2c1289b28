package signin

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/berthage/berthage/pool"
)

// Origin is where a session was begun from, for its owner to know it again.
type Origin struct {
	Address string `json:"address,omitempty"`
	Agent   string `json:"agent,omitempty"` // what the program says that it is
}

// Session is somebody's, as the list has it. Nothing in it opens anything.
type Session struct {
	ID      string    `json:"id"`
	Browser string    `json:"browser,omitempty"` // key of a browser's session; empty: a program's, with tokens
	Link    bool      `json:"link,omitempty"`    // a sign-in link has begun it
	Began   time.Time `json:"began"`
	Ends    time.Time `json:"ends"`
	Origin
}

// Bounds on the list of one principal.
const (
	mostSessions = 50 // one more ends the one that was begun first
	mostAgent    = 200
	tries        = 20 // when others change the list at the same time
)

func listKey(principal string) string { return "berthd/sessions/" + principal }

// list reads somebody's sessions, without those that have ended.
func (d *Desk) list(ctx context.Context, principal string) ([]Session, int64, error) {
	b, version, err := d.c.Scratch.Get(ctx, listKey(principal))
	if errors.Is(err, pool.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	var all []Session
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, 0, &pool.Error{Op: "read the list of sessions", Kind: pool.ErrCorrupt}
	}
	now := time.Now()
	return slices.DeleteFunc(all, func(s Session) bool { return !now.Before(s.Ends) }), version, nil
}

// change changes the list, however many do so at the same time.
func (d *Desk) change(ctx context.Context, principal string, f func([]Session) []Session) error {
	var err error
	for range tries {
		all, version, e := d.list(ctx, principal)
		if e != nil {
			return e
		}
		all = f(all)
		if len(all) == 0 {
			if version == 0 {
				return nil
			}
			err = d.c.Scratch.Delete(ctx, listKey(principal), version)
		} else {
			last := slices.MaxFunc(all, func(a, b Session) int { return a.Ends.Compare(b.Ends) }).Ends
			b, e := json.Marshal(all)
			if e != nil {
				return e
			}
			_, err = d.c.Scratch.Put(ctx, listKey(principal), b, version, max(time.Until(last), time.Second))
		}
		if !errors.Is(err, pool.ErrConflict) {
			return err
		}
	}
	return err
}

// Note puts a session that has begun on the list of its owner. When there are too many the oldest ends.
func (d *Desk) Note(ctx context.Context, principal string, s Session) error {
	s.Began = time.Now().UTC()
	if r := []rune(s.Agent); len(r) > mostAgent {
		s.Agent = string(r[:mostAgent])
	}
	var over []Session
	err := d.change(ctx, principal, func(all []Session) []Session {
		all = append(all, s)
		n := max(0, len(all)-mostSessions)
		over = slices.Clone(all[:n])
		return all[n:]
	})
	for _, o := range over {
		err = errors.Join(err, d.end(ctx, o))
	}
	return err
}

// prolong notes until when a session lasts now.
func (d *Desk) prolong(ctx context.Context, principal, id string, ends time.Time) error {
	return d.change(ctx, principal, func(all []Session) []Session {
		for i := range all {
			if all[i].ID == id {
				all[i].Ends = ends
			}
		}
		return all
	})
}

// Sessions returns somebody's, the oldest first.
func (d *Desk) Sessions(ctx context.Context, principal string) ([]Session, error) {
	all, _, err := d.list(ctx, principal)
	return all, err
}

// End ends a session of somebody's. Errors: pool.ErrNotFound, they have none of that id.
func (d *Desk) End(ctx context.Context, principal, id string) error {
	all, _, err := d.list(ctx, principal)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(s Session) bool { return s.ID == id })
	if i < 0 {
		return &pool.Error{Op: "end a session", Kind: pool.ErrNotFound, Field: "session", Value: id}
	}
	if err := d.end(ctx, all[i]); err != nil {
		return err
	}
	return d.change(ctx, principal, func(all []Session) []Session {
		return slices.DeleteFunc(all, func(s Session) bool { return s.ID == id })
	})
}

// Clear empties the list of somebody whose sessions are all void.
func (d *Desk) Clear(ctx context.Context, principal string) error {
	return d.change(ctx, principal, func([]Session) []Session { return nil })
}

func (d *Desk) end(ctx context.Context, s Session) error {
	if s.Browser != "" {
		return d.c.End(ctx, s.Browser)
	}
	return d.c.Sessions.End(ctx, s.ID)
}
