package peerbench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// System is a scheduler with hosts of its own.
type System interface {
	// Ready makes requests ready as their callers would hand them over, and returns what places them, which is what is
	// measured. Each request must be placed before the next is decided.
	Ready([]Request) (place func() error, err error)
	// Placed tells, from what the scheduler has recorded, where everything is that has been asked for.
	Placed() ([]Placed, error)
	// Close lets go of what the system holds.
	Close()
}

// Opener makes a System with those hosts.
type Opener func([]Host) (System, error)

// ours is a Manager's ring without a driver and with nobody leading. It does for each request what it does for a
// caller's: checks it against catalogue, limits and quota, places it with every built-in filter, makes and encodes
// the event, folds it into the books and makes the index follow. Only its ledger keeps nothing, as there is none in
// what is measured of the others: no Raft log, no etcd.
type ours struct {
	ring  *ring.Ring
	hosts []Host
	do    func(context.Context, []ring.Command, ring.Caller) []error
}

// Names of what every request refers to.
const (
	driver  = "sim"
	project = "shop"
	image   = "debian-12"
	filler  = "filler"
)

// Ours is Berthage, from two sides. "manager" is all that a Manager does for a launch but for the ledger's storing. "step"
// is the part of that which decides, encodes the event, folds it into the books and makes the index follow: not what it
// takes to hand a batch to the ledger, to publish it to readers and to answer the callers.
func Ours(strategy scheduler.Strategy) []Side {
	return []Side{{"manager", opener(strategy, (*ring.Ring).DoAll)}, {"step", opener(strategy, (*ring.Ring).Steps)}}
}

func opener(strategy scheduler.Strategy, do func(*ring.Ring, context.Context, []ring.Command, ring.Caller) []error) Opener {
	return func(hosts []Host) (System, error) {
		events, err := history(hosts)
		if err != nil {
			return nil, err
		}
		kept := pool.NewMemoryLedger()
		var head pool.Revision
		for len(events) > 0 {
			n := min(len(events), 200)
			if head, err = kept.Append(context.Background(), head, events[:n]...); err != nil {
				return nil, err
			}
			events = events[n:]
		}
		r, err := ring.Open(context.Background(), ring.Config{
			Ledger: forgetful{kept}, Logger: slog.New(slog.DiscardHandler), Scheduler: &scheduler.Scheduler{Strategy: strategy},
			Limits: pool.Limits{pool.CPU: {Min: pool.Core, Max: 64 * pool.Core}, pool.Memory: {Min: pool.GiB, Max: 256 * pool.GiB}},
		})
		if err != nil {
			return nil, err
		}
		return &ours{r, hosts, func(ctx context.Context, cs []ring.Command, who ring.Caller) []error { return do(r, ctx, cs, who) }}, nil
	}
}

// forgetful is a ledger that keeps nothing of what is appended to it.
type forgetful struct{ pool.Ledger }

func (forgetful) Append(_ context.Context, prev pool.Revision, _ ...pool.Event) (pool.Revision, error) {
	return prev + 1, nil
}

// history returns the events that make the hosts and what fills them.
func history(hosts []Host) ([]pool.Event, error) {
	var out []pool.Event
	var errs []error
	add := func(kind string, payload any) {
		e, err := pool.NewEvent(kind, payload)
		errs = append(errs, err)
		e.ID, e.Actor = "e"+strconv.Itoa(len(out)), "peerbench"
		if e.Private != nil {
			e.Salt = []byte("0123456789abcdef")
			e.Seal()
		}
		out = append(out, e)
	}
	const identity = "PEERBENCH"
	add(pool.KindOpened, &pool.Opened{Ledger: identity})
	add(pool.KindProjectPut, &pool.Project{Name: project, Quota: pool.Resources{pool.Instances: 1 << 30, pool.CPU: 1 << 50}})
	img := pool.Image{Name: image, User: "debian", Sources: map[string]string{driver: "debian-12.qcow2"}}
	add(pool.KindImagePut, &img)
	for i := range hosts {
		h := &hosts[i]
		host := pool.Host{
			ID: pool.NewHostID(driver, h.Name), Name: h.Name, Zone: h.Zone, Conditions: pool.Ready,
			Labels:    map[string]string{"rack": strconv.Itoa(i / 40)},
			Inventory: map[pool.Class]pool.Inventory{pool.CPU: {Total: h.Total.CPU}, pool.Memory: {Total: h.Total.Memory}},
		}
		a := pool.Allocation{Resources: pool.Resources{pool.CPU: h.Taken.CPU, pool.Memory: h.Taken.Memory, pool.StorageStandard: h.Taken.Disk}}
		spec := pool.Spec{Image: image, Kind: pool.VM, Resources: pool.Resources{pool.CPU: h.Taken.CPU, pool.Memory: h.Taken.Memory}}
		for p := range Pools {
			id := "pool" + strconv.Itoa(p)
			host.Devices = append(host.Devices, pool.Device{ID: id, Class: pool.StorageStandard, Inventory: pool.Inventory{Total: h.Total.Disk / Pools}})
			if h.Pools[p] > 0 {
				a.Claims = append(a.Claims, pool.Claim{Device: id, Class: pool.StorageStandard, Amount: h.Pools[p], Disk: len(spec.Disks)})
				spec.Disks = append(spec.Disks, pool.Disk{Size: h.Pools[p]})
			}
		}
		host, err := host.Normalize()
		errs = append(errs, err)
		add(pool.KindHostPut, &pool.HostPut{Host: host})
		if h.Taken != (Size{}) {
			add(pool.KindLaunched, &pool.Launched{
				Instance: pool.NewInstanceID(identity, project, filler+strconv.Itoa(i)), Name: filler + "-" + strconv.Itoa(i), Project: project,
				Spec: spec, Image: img, Want: pool.Running, Place: pool.Placement{Host: host.ID, Allocation: a},
			})
		}
	}
	return out, errors.Join(errs...)
}

func (o *ours) Ready(reqs []Request) (func() error, error) {
	cs := make([]ring.Command, len(reqs))
	for i, r := range reqs {
		spec := pool.Spec{
			Image: image, Resources: pool.Resources{pool.CPU: r.Each.CPU, pool.Memory: r.Each.Memory}, Disks: []pool.Disk{{Size: r.Each.Disk}},
		}
		if r.Count == 1 {
			cs[i].Launch = &ring.Launch{Token: r.Name, Project: project, Name: r.Name, Spec: spec}
		} else {
			cs[i].CreateCluster = &ring.CreateCluster{Token: r.Name, Project: project, Name: r.Name, Spec: spec, Size: r.Count}
		}
	}
	return func() error {
		for rest := cs; len(rest) > 0; {
			n := min(len(rest), 1000)
			if err := errors.Join(o.do(context.Background(), rest[:n], ring.Caller{Actor: "peerbench"})...); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return nil
	}, nil
}

func (o *ours) Placed() (out []Placed, err error) {
	o.ring.View(func(st *pool.State) {
		for i := range st.Instances() {
			if strings.HasPrefix(i.Name, filler) {
				continue
			}
			p := Placed{Request: i.Name, Host: i.Place.Host.Native()}
			if i.Cluster != "" {
				p.Request = i.Cluster.Name()
			}
			if n := len(i.Place.Allocation.Claims); n != 1 {
				err = fmt.Errorf("%s has %d claims on storage pools, not one", i.Name, n)
				return
			}
			if p.Pool, err = strconv.Atoi(strings.TrimPrefix(i.Place.Allocation.Claims[0].Device, "pool")); err != nil {
				return
			}
			out = append(out, p)
		}
	})
	return out, err
}

func (o *ours) Close() { o.ring.Close() }
