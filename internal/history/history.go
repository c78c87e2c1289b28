// Package history makes the long histories of large fleets that benchmarks fold: instances by the million
// that were launched, ran and were deleted, and a few that are there at the end. It stands beside the ring
// and is used by tests only.
package history

import (
	"context"
	"encoding/json"
	"iter"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
)

// Fleet is a fleet with a past. The same Fleet has the same history.
type Fleet struct {
	Hosts     int // in the pool from the beginning
	Instances int // launched in all
	Alive     int // of those, there at the end
	Batch     int // lives that go on together, so that a revision has as many events; 0: one
}

// Identity is the identity of every Fleet's ledger, Project the project of every instance.
const (
	Identity = "HISTORY"
	Project  = "shop"
)

// Steps is the number of events in a life from launch to deletion.
const Steps = 6

// ID returns the id of the n-th instance.
func ID(n int) pool.InstanceID { return pool.NewInstanceID(Identity, Project, strconv.Itoa(n)) }

// Batches yields the history, batch by batch, as a store would return it: payloads are bytes.
func (f Fleet) Batches() iter.Seq[pool.Batch] {
	return func(yield func(pool.Batch) bool) {
		w := writer{yield: yield}
		w.add(pool.KindOpened, &pool.Opened{Ledger: Identity})
		w.add(pool.KindProjectPut, &pool.Project{Name: Project})
		w.add(pool.KindImagePut, &pool.Image{Name: "debian-12", User: "debian"})
		ok := w.flush()
		for n := 0; ok && n < f.Hosts; n++ {
			if w.add(pool.KindHostPut, &pool.HostPut{Host: f.host(n)}); len(w.events) == 100 || n == f.Hosts-1 {
				ok = w.flush()
			}
		}
		together := max(1, f.Batch)
		for first := 0; ok && first < f.Instances; first += together {
			last := min(first+together, f.Instances)
			for step := 0; ok && step < Steps; step++ {
				for n := first; n < last; n++ {
					f.step(&w, n, step)
				}
				ok = w.flush()
			}
		}
	}
}

// step adds one event of a life. Those that live on are spread evenly over the history.
func (f Fleet) step(w *writer, n, step int) {
	lives := f.Alive > 0 && n*f.Alive/f.Instances != (n+1)*f.Alive/f.Instances
	if lives && step >= Steps-2 {
		return
	}
	id := ID(n)
	switch step {
	case 0:
		w.add(pool.KindLaunched, &pool.Launched{
			Instance: id, Name: "web-" + strconv.Itoa(n), Project: Project, Want: pool.Running,
			Spec: pool.Spec{
				Image: "debian-12", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 2 * pool.GiB}, Disks: []pool.Disk{{Size: 10 * pool.GiB}},
				Guest: pool.Guest{User: "ada", UserData: "#cloud-config\npackages: [nginx]\n"},
			},
			Image: pool.Image{Name: "debian-12", User: "debian"},
			Place: pool.Placement{Host: f.hostID(n), Allocation: pool.Allocation{
				Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 2 * pool.GiB, pool.StorageStandard: 10 * pool.GiB},
			}},
		})
	case 1:
		w.add(pool.KindSent, &pool.OfMachine{Machine: id.Machine(0)})
	case 2:
		w.add(pool.KindCreated, &pool.OfMachine{Machine: id.Machine(0)})
	case 3:
		w.add(pool.KindObserved, &pool.Observed{Machine: id.Machine(0), Is: pool.Running, Addresses: []string{"192.0.2.7"}})
	case 4:
		w.add(pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Absent})
	case 5:
		w.add(pool.KindDeleted, &pool.Ended{Instance: id})
	}
}

func (f Fleet) hostID(n int) pool.HostID {
	return pool.NewHostID("sim", "h"+strconv.Itoa(n%f.Hosts))
}

func (f Fleet) host(n int) pool.Host {
	return pool.Host{
		ID: f.hostID(n), Name: "h" + strconv.Itoa(n), Address: "192.0.2.1", Zone: "north", Conditions: pool.Ready,
		Inventory: map[pool.Class]pool.Inventory{
			pool.CPU: {Total: 64 * pool.Core}, pool.Memory: {Total: 512 * pool.GiB}, pool.StorageStandard: {Total: 8 * pool.TiB},
		},
	}
}

// writer collects the events of a batch.
type writer struct {
	yield    func(pool.Batch) bool
	revision pool.Revision
	events   []pool.Event
}

func (w *writer) add(kind string, payload any) {
	e, err := pool.NewEvent(kind, payload)
	if err != nil {
		panic(err) // what this package makes can be written
	}
	// A second decoding of its own, as after a read: the payload that NewEvent keeps would flatter the fold.
	e = pool.Event{Kind: e.Kind, Version: e.Version, Data: json.RawMessage(e.Data), Subject: e.Subject, Private: e.Private}
	e.Revision, e.Index = w.revision+1, len(w.events)
	e.ID = strconv.FormatInt(int64(e.Revision), 36) + "." + strconv.Itoa(e.Index)
	e.Time, e.Actor = time.Unix(1_790_000_000+int64(w.revision), 0).UTC(), "berthage"
	if e.Private != nil {
		e.Salt = []byte("0123456789abcdef")
		e.Seal()
	}
	w.events = append(w.events, e)
}

func (w *writer) flush() bool {
	if len(w.events) == 0 {
		return true
	}
	w.revision++
	b := pool.Batch{Revision: w.revision, Events: w.events}
	w.events = nil
	return w.yield(b)
}

// Into appends the history to an empty ledger and returns its head.
func (f Fleet) Into(ctx context.Context, l pool.Ledger) (pool.Revision, error) {
	var head pool.Revision
	for b := range f.Batches() {
		var err error
		if head, err = l.Append(ctx, b.Revision-1, b.Events...); err != nil {
			return head, err
		}
	}
	return head, nil
}
