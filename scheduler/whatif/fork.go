package whatif

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// fork is a State to try things out on, with the index of its hosts.
type fork struct {
	ctx       context.Context
	scheduler *scheduler.Scheduler
	st        *pool.State
	index     *scheduler.Index
	work      *int      // placements that may still be tried
	made      *int      // instances made up so far
	now       time.Time // of what is replayed; zero: the State's
}

// errWork: the work of Options is done.
var errWork = errors.New("no work left")

// project is the one of instances that belong to none: a name that no project can have.
const project = "what if?"

// item is an instance that is to be placed: one that is there, or one that is made up.
type item struct {
	moves   *pool.Instance // it is there, on a host that is lost
	request scheduler.Request
	name    string
}

func (f *fork) apply(kind string, payload any) error {
	e, err := pool.NewEvent(kind, payload)
	if err != nil {
		return err
	}
	e.ID, e.Revision, e.Time = "what-if", f.st.Head()+1, f.moment()
	return f.st.Apply(&e)
}

// moment is the time of what happens on the fork.
func (f *fork) moment() time.Time {
	if f.now.After(f.st.Time()) {
		return f.now
	}
	return f.st.Time()
}

// branch returns a fork of the fork, which shares its index until it is cut.
func (f *fork) branch() *fork {
	b := *f
	b.st = f.st.Overlay()
	return &b
}

// cut throws a branch away: the index has again what the fork under it has.
func (f *fork) cut(branch *fork) {
	for id := range branch.st.ChangedHosts() {
		f.index.Sync(f.st, id)
	}
}

// put adds or changes a host.
func (f *fork) put(h pool.Host) error {
	if err := f.apply(pool.KindHostPut, &pool.HostPut{Host: h}); err != nil {
		return err
	}
	f.index.Sync(f.st, h.ID)
	return nil
}

// lose makes a host one that takes nothing and runs nothing.
func (f *fork) lose(id pool.HostID) error {
	if err := f.apply(pool.KindHostConditions, &pool.HostConditions{Host: id, Conditions: pool.Unreachable | pool.Fenced, Proof: "what if"}); err != nil {
		return err
	}
	f.index.Sync(f.st, id)
	return nil
}

// like returns a host like another one.
func (f *fork) like(h *pool.HostRecord, zone string) pool.Host {
	c := h.Host
	for n := f.st.HostCount(); ; n++ {
		c.ID = pool.NewHostID(h.ID.Driver(), "what-if-"+strconv.Itoa(n))
		if _, taken := f.st.Host(c.ID); !taken {
			break
		}
	}
	c.Name, c.Address, c.Conditions = "", "", pool.Ready
	if zone != "" {
		c.Zone = zone
	}
	return c
}

// place places an item. The error is a *scheduler.Refusal where no host takes it, and errWork where there is no work left.
func (f *fork) place(x *item) error {
	if *f.work <= 0 {
		return errWork
	}
	*f.work--
	if *f.work%64 == 0 && f.ctx.Err() != nil {
		return context.Cause(f.ctx)
	}
	d, err := f.scheduler.PlaceOn(f.index, x.request.In(f.st))
	if err != nil {
		return err
	}
	place := pool.Placement{Host: d.Host, Allocation: d.Allocation}
	from := pool.HostID("")
	if i := x.moves; i != nil {
		from, place.Number = i.Place.Host, i.Place.Number+1
		err = f.apply(pool.KindPlaced, &pool.Placed{Instance: i.ID, Place: place})
	} else {
		*f.made++
		err = f.apply(pool.KindLaunched, &pool.Launched{
			Instance: pool.NewInstanceID(f.st.Identity(), project, strconv.Itoa(*f.made)), Name: "what-if", Project: x.request.Project,
			Spec: x.request.Spec, Image: x.request.Image, Want: pool.Running, Place: place,
		})
	}
	if err != nil {
		return err
	}
	f.index.Sync(f.st, d.Host)
	if from != "" {
		f.index.Sync(f.st, from)
	}
	return nil
}

// places places items one after another. Those that ask for what was refused before are refused with it. It returns
// what became of them, and how many it did not come to.
func (f *fork) places(name string, items []*item) (Outcome, int, error) {
	out := Outcome{Name: name, Asked: len(items), Refused: []Refused{}}
	refused := make(map[string]int)
	for n, x := range items {
		key := ""
		if len(refused) > 0 {
			var err error
			if key, err = x.alike(); err != nil {
				return out, 0, err
			}
			if at, ok := refused[key]; ok {
				r := &out.Refused[at]
				r.Count++
				r.items = append(r.items, x)
				continue
			}
		}
		err := f.place(x)
		var no *scheduler.Refusal
		switch {
		case err == nil:
			out.Placed++
		case errors.As(err, &no):
			if key == "" {
				if key, err = x.alike(); err != nil {
					return out, 0, err
				}
			}
			refused[key] = len(out.Refused)
			out.Refused = append(out.Refused, Refused{
				Count: 1, Name: x.name, Demand: no.Demand, Counts: no.Counts, Never: no.Never, Nearest: no.Nearest, items: []*item{x},
			})
		case errors.Is(err, errWork):
			return out, len(items) - n, nil
		default:
			return out, 0, err
		}
	}
	return out, 0, nil
}

// alike is the same for items between which the scheduler makes no difference.
func (x *item) alike() (string, error) {
	r := x.request
	r.Leaves = ""              // a host that is lost
	r.Spec.Guest.UserData = "" // of which only matters whether there is any
	if x.request.Spec.Guest.UserData != "" {
		r.Spec.Guest.UserData = "some"
	}
	b, err := json.Marshal(r)
	return string(b), err
}
