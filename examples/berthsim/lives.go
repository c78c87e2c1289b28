package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/lifetime"
)

// lifetimes is what placements know of how long VMs live.
type lifetimes string

const (
	lifetimesNone   lifetimes = "none"   // nothing
	lifetimesLearnt lifetimes = "learnt" // what ended before has shown
	lifetimesTrue   lifetimes = "oracle" // the true end of every VM: how much there is to learn
)

func parseLifetimes(s string) (lifetimes, error) {
	switch l := lifetimes(s); l {
	case lifetimesNone, lifetimesLearnt, lifetimesTrue:
		return l, nil
	}
	return "", fmt.Errorf("-lifetime: %q is not none, learnt or oracle", s)
}

// lives is the book of the VMs that run, and when each is expected to end; nil: nobody looks.
type lives struct {
	lifetime.Book
	vms    []vm
	truth  bool // known beforehand
	batch  []int
	looked float64
}

// lookAtLives is how often expectations are made anew, in seconds. What differs by less makes no difference.
const lookAtLives = 300

// newLives counts for each VM how many came together with it; that is known when it comes.
func newLives(vms []vm, l lifetimes) *lives {
	if l == lifetimesNone {
		return nil
	}
	b := &lives{vms: vms, truth: l == lifetimesTrue, batch: make([]int, len(vms))}
	type together struct {
		batch string
		at    float64
	}
	counts := make(map[together]int)
	for _, v := range vms {
		counts[together{v.batch, v.arrive}]++
	}
	for i, v := range vms {
		if b.batch[i] = 1; v.batch != "" {
			b.batch[i] = counts[together{v.batch, v.arrive}]
		}
	}
	return b
}

func (b *lives) class(i int) lifetime.Class {
	return lifetime.Class{Flavor: b.vms[i].size.String(), Batch: b.batch[i]}
}

// expect returns how long a VM that comes is expected to live.
func (b *lives) expect(i int) scheduler.Lives {
	v := &b.vms[i]
	if b.truth {
		return scheduler.Exactly(trueEnd(v).Sub(moment(v.arrive)))
	}
	if v.arrive >= b.looked+lookAtLives {
		b.Look(moment(v.arrive))
		b.looked = v.arrive
	}
	return b.Lives(b.class(i))
}

func (b *lives) came(i int, host pool.HostID) {
	if b == nil {
		return
	}
	var hint time.Time
	if b.truth {
		hint = trueEnd(&b.vms[i])
	}
	b.Born(vmID(i), host, b.class(i), moment(b.vms[i].arrive), hint)
}

func (b *lives) moved(i int, host pool.HostID) {
	if b != nil {
		b.Moved(vmID(i), host)
	}
}

func (b *lives) went(i int, at float64) {
	if b != nil {
		b.Gone(vmID(i), moment(at))
	}
}

func vmID(i int) pool.InstanceID { return pool.InstanceID(strconv.Itoa(i)) }

// moment is a second of a trace as a time.
func moment(s float64) time.Time {
	whole := int64(s)
	return time.Unix(whole, int64((s-float64(whole))*1e9)).UTC()
}

// trueEnd is when a VM ends; one that never does, long after everything else.
func trueEnd(v *vm) time.Time {
	if v.end < 0 {
		return time.Unix(1<<40, 0).UTC()
	}
	return moment(v.end)
}
