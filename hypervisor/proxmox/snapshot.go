package proxmox

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// Names of snapshots begin with a prefix of ours: those of the cluster begin with a letter and have two characters at least, and
// what people and backups take is not ours to list or delete.
const (
	snapshotPrefix = "b-"
	longestName    = 40 - len(snapshotPrefix)
)

// snapshotEntry is a snapshot as the API lists it.
type snapshotEntry struct {
	Name        string `json:"name"`
	Parent      string `json:"parent"`
	Time        number `json:"snaptime"`
	Description string `json:"description"`
}

// note is what stands in the description of a snapshot of ours.
type note struct {
	Attempt string `json:"attempt"`          // of the call that has taken it
	Before  *state `json:"before,omitempty"` // what the machine was before the last Revert to it
}

// state is what is to stay when the disks of a machine are turned back.
type state struct {
	Mark   mark             `json:"mark"`
	Cores  int64            `json:"cores"`
	Memory int64            `json:"memory"` // MiB
	Disks  map[string]int64 `json:"disks"`  // sizes by place
}

func (g *guest) state() state {
	s := state{Mark: *g.mark, Cores: g.conf.cores() / pool.Core, Memory: g.conf.memory() / pool.MiB, Disks: make(map[string]int64)}
	for _, d := range g.conf.disks() {
		s.Disks[d.key] = d.size()
	}
	return s
}

func (e *snapshotEntry) note() note {
	var n note
	_ = json.Unmarshal([]byte(strings.TrimSpace(e.Description)), &n) // what people have written there is no note
	return n
}

// write returns a note as a description.
func (n note) write() (string, error) {
	b, err := json.Marshal(n)
	return ascii(string(b)), err
}

// withSnapshots is on for the calls of Snapshotter, which not every host offers.
func (d *Driver) withSnapshots(ctx context.Context, op string, r hypervisor.Ref, f func(s *session, g *guest) error) error {
	s := d.session(ctx)
	if _, err := s.node(r.Host); err != nil {
		return wrap(op, r, false, err)
	}
	if err := d.offers(r.Host, hypervisor.CanSnapshot); err != nil {
		return wrap(op, r, false, err)
	}
	return d.on(ctx, op, r, f)
}

// snapshots lists the snapshots of a guest, ours and others'.
func (s *session) snapshots(g *guest) ([]snapshotEntry, error) {
	var list []snapshotEntry
	err := s.get(g.path()+"/snapshot", nil, &list)
	return slices.DeleteFunc(list, func(e snapshotEntry) bool { return e.Name == "current" }), err
}

// snapshot returns a snapshot of ours, nil where there is none of that name.
func (s *session) snapshot(g *guest, name string) (*snapshotEntry, error) {
	list, err := s.snapshots(g)
	for i := range list {
		if list[i].Name == snapshotPrefix+name {
			return &list[i], err
		}
	}
	return nil, err
}

// has reports, for settle, whether a guest has a snapshot.
func (s *session) has(g *guest, name string, want bool) func() (bool, error) {
	return func() (bool, error) {
		e, err := s.snapshot(g, name)
		return (e != nil) == want, err
	}
}

// Snapshot implements hypervisor.Snapshotter. A name has at most 38 characters. Memory is not kept.
func (d *Driver) Snapshot(ctx context.Context, r hypervisor.Ref, name string) error {
	return d.withSnapshots(ctx, "snapshot", r, func(s *session, g *guest) error {
		if err := pool.ValidHostname(name); err != nil {
			return refuse(hypervisor.ErrInvalid, err)
		}
		if len(name) > longestName {
			return refuse(hypervisor.ErrInvalid, invalid("name", name, "at most "+strconv.Itoa(longestName)+" characters"))
		}
		if there, err := s.has(g, name, true)(); err != nil {
			return err
		} else if there {
			return refuse(hypervisor.ErrExists, nil)
		}
		word := attempt()
		description, err := note{Attempt: word}.write()
		if err != nil {
			return err
		}
		taken := func() (bool, error) {
			e, err := s.snapshot(g, name)
			return e != nil && e.note().Attempt == word, err
		}
		err = s.do(http.MethodPost, g.path()+"/snapshot", params{"snapname": snapshotPrefix + name, "description": description})
		if says(err, nameTaken) { // perhaps by this very request, which has arrived twice
			if ours, e := taken(); e == nil && ours {
				return nil
			}
		}
		return s.settle(err, taken)
	})
}

// Snapshots implements hypervisor.Snapshotter. Times are whole seconds; of one second, what was taken on the other comes after it.
func (d *Driver) Snapshots(ctx context.Context, r hypervisor.Ref) ([]hypervisor.Snapshot, error) {
	var out []hypervisor.Snapshot
	err := d.withSnapshots(ctx, "list snapshots of", r, func(s *session, g *guest) error {
		list, err := s.snapshots(g)
		if err != nil {
			return err
		}
		sortByAge(list)
		for _, e := range list {
			if name, ok := strings.CutPrefix(e.Name, snapshotPrefix); ok {
				out = append(out, hypervisor.Snapshot{Name: name, Time: time.Unix(e.Time.whole(), 0)})
			}
		}
		return nil
	})
	return out, err
}

// sortByAge sorts by time, and what is of the same second by how many there are before it in its line.
func sortByAge(list []snapshotEntry) {
	parents := make(map[string]string, len(list))
	for _, e := range list {
		parents[e.Name] = e.Parent
	}
	depth := func(name string) int {
		n := 0
		for ; parents[name] != "" && n < len(list); n++ {
			name = parents[name]
		}
		return n
	}
	slices.SortFunc(list, func(a, b snapshotEntry) int {
		switch {
		case a.Time != b.Time:
			return int(min(max(a.Time-b.Time, -1), 1))
		case depth(a.Name) != depth(b.Name):
			return depth(a.Name) - depth(b.Name)
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// Revert implements hypervisor.Snapshotter. The cluster turns a guest's whole configuration back, sizes and description too. What
// they were is noted with the snapshot before, and set again afterwards, so that the same call completes one that broke off.
func (d *Driver) Revert(ctx context.Context, r hypervisor.Ref, name string) error {
	return d.withSnapshots(ctx, "revert", r, func(s *session, g *guest) error {
		e, err := s.snapshot(g, name)
		switch {
		case err != nil:
			return err
		case e == nil:
			return refuse(hypervisor.ErrRefused, errors.New("there is no snapshot of that name"))
		}
		if p, err := s.power(g); err != nil {
			return err
		} else if p != pool.Stopped {
			return refuse(hypervisor.ErrWrongPower, nil)
		}
		want, n := g.state(), e.note()
		if b := n.Before; b != nil && b.Mark.tag() == g.mark.tag() && b.Mark.VMID == g.vmid && b.Mark.Revision > g.mark.Revision {
			want = *b // a revert has broken off
		} else {
			n.Before = &want
			if err := s.annotate(g, name, n); err != nil {
				return err
			}
		}
		// That it was turned back cannot be seen where nothing has changed since: an answer that is lost stays unknown.
		if err := s.do(http.MethodPost, g.path()+"/snapshot/"+snapshotPrefix+name+"/rollback", nil); err != nil {
			return err
		}
		return partly(true, s.restore(g, want))
	})
}

// annotate writes a note to a snapshot.
func (s *session) annotate(g *guest, name string, n note) error {
	description, err := n.write()
	if err != nil {
		return err
	}
	err = s.change(http.MethodPut, g.path()+"/snapshot/"+snapshotPrefix+name+"/config", params{"description": description}, nil)
	if err == nil {
		err = &lostError{sent: true, cause: errors.New("the change does not show")}
	}
	return s.settle(err, func() (bool, error) {
		e, err := s.snapshot(g, name)
		return e != nil && strings.TrimSpace(e.Description) == description, err
	})
}

// restore gives a guest sizes and a mark again.
func (s *session) restore(g *guest, want state) error {
	now, err := s.look(g.node, g.vmid)
	if err != nil {
		return err
	}
	if now == nil || now.mark == nil {
		return errors.New("the machine is gone")
	}
	for _, key := range slices.Sorted(maps.Keys(want.Disks)) {
		if !isDisk(key) {
			continue
		}
		if err := s.grow(g.node, g.vmid, key, want.Disks[key]); err != nil {
			return err
		}
	}
	if *now.mark == want.Mark && now.conf.cores() == want.Cores*pool.Core && now.conf.memory() == want.Memory*pool.MiB {
		return nil
	}
	description, err := replaceMark(string(now.conf["description"]), &want.Mark)
	if err != nil {
		return err
	}
	return s.put(g.node, g.vmid, params{"cores": want.Cores, "sockets": 1, "memory": strconv.FormatInt(want.Memory, 10), "description": description})
}

// DeleteSnapshot implements hypervisor.Snapshotter.
func (d *Driver) DeleteSnapshot(ctx context.Context, r hypervisor.Ref, name string) error {
	return d.withSnapshots(ctx, "delete snapshot of", r, func(s *session, g *guest) error {
		if there, err := s.has(g, name, true)(); err != nil || !there {
			return err
		}
		err := s.do(http.MethodDelete, g.path()+"/snapshot/"+snapshotPrefix+name, nil)
		if says(err, noSnapshot) {
			return nil
		}
		return s.settle(err, s.has(g, name, false))
	})
}
