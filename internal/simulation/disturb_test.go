package simulation_test

import (
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool/ledgertest"
)

// disturbance is something that happens to the world, on average once in so many seconds.
type disturbance struct {
	every int
	do    func(w *world)
}

// disturbances returns all of them beside the faults of single calls and the deaths of daemons.
func disturbances() []disturbance {
	return []disturbance{
		{25, (*world).pause},
		{25, (*world).strikeHost},
		{4, (*world).returnHost},
		{5, func(w *world) {
			if w.aiming().call == "fence" && len(w.down) == 0 {
				w.strikeHost()
				for id := range w.down {
					w.dark[id] = time.Now().Add(time.Minute)
				}
			}
		}},
		{80, (*world).storeOutage},
		{60, (*world).cutFromStore},
		{60, (*world).jumpClock},
		{70, func(w *world) { w.ends(w.any1()) }},
	}
}

// How calls go wrong: a third of them. What is slow besides is not counted.
func driverFaults(unique bool) fake.Faults {
	f := fake.Faults{
		Unavailable: 0.15, Shorten: 0.23,
		Refuse: 0.04, Break: 0.02, Drop: 0.03, Lose: 0.05, Late: 0.08, Spoil: 0.04,
		Hang: 0.3, LateBy: latest,
	}
	if unique { // else a second delivery makes a second machine, which nothing can prevent
		f.Duplicate = 0.03
	}
	return f
}

func storeFaults() ledgertest.Faults {
	return ledgertest.Faults{Refused: 0.04, LostRequest: 0.02, LostReply: 0.03, Late: 0.02, LateBy: 2 * time.Second, Latency: 20 * time.Millisecond}
}

// again reports whether a call may be delivered a second time, some time later: not a create, which makes a second
// machine. A move or shelve that was refused may go through then, when its instance is no longer to be moved or put
// aside, or is gone, and nobody can know.
func again(op fake.Op) bool {
	switch op {
	case fake.OpCreate, fake.OpUnshelve, fake.OpShelve, fake.OpMigrate:
		return false
	}
	return true
}

// delayed makes some calls slow, and delivers some a second time.
func (w *world) delayed(c fake.Call) fake.Fault {
	if w.healed.Load() {
		return fake.Fault{}
	}
	h := fnv.New64a()
	h.Write([]byte(string(c.Op) + " " + string(c.Ref.Host) + " " + string(c.Ref.Machine) + " " + strconv.Itoa(c.N)))
	r := rand.New(rand.NewPCG(w.seed, h.Sum64()))
	slow := time.Duration(r.Int64N(int64(5 * time.Second)))
	switch n := r.IntN(100); {
	case n < 4 && c.Ref.Machine != "" && again(c.Op):
		return fake.Fault{Kind: fake.Duplicate, After: time.Duration(r.Int64N(int64(latest)))}
	case n < 12 && c.Ref.Machine != "":
		w.count("driver: slow")
		return fake.Fault{Before: slow}
	case n < 12:
		w.count("driver: slow")
		return fake.Fault{After: slow} // a list that is old when it comes
	}
	return fake.Fault{}
}

// between returns a random time.
func (w *world) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.random.Int64N(int64(most-least)))
}

// any1 returns a random process, or nil where there is none.
func (w *world) any1() *process { return w.at(w.random.IntN(len(w.seats))) }

func (w *world) pause() {
	// Without leases nothing tells a daemon that was stopped between a look and a call that another has taken over.
	if p := w.any1(); p != nil && !p.paused() && (w.leases || len(w.seats) == 1) {
		w.count("daemon paused")
		w.note("pause " + p.name)
		resume := p.pause()
		w.undo = append(w.undo, resume)
		time.AfterFunc(w.between(500*time.Millisecond, 2*leaseTTL), resume)
	}
}

func (w *world) strikeHost() {
	id := w.anyHost()
	if len(w.down) >= 2 || w.down[id] != "" {
		return
	}
	state := []fake.HostState{fake.CutOff, fake.Dead}[w.random.IntN(2)]
	w.count("host " + string(state))
	w.note(string(id) + " " + string(state))
	w.down[id] = state
	if w.random.IntN(3) == 0 { // long enough to be given up
		w.dark[id] = time.Now().Add(w.between(30*time.Second, 3*time.Minute))
	}
	w.must(w.fleet.SetHostState(id, state))
}

// returnHost has hosts work again, also those that somebody has switched off.
func (w *world) returnHost() {
	for _, h := range w.hosts {
		v, ok := w.fleet.InspectHost(h.ID)
		if !ok || v.State == fake.Up || time.Now().Before(w.dark[h.ID]) || w.random.IntN(2) == 0 {
			continue
		}
		w.count("host returned")
		w.note(string(h.ID) + " up")
		delete(w.down, h.ID)
		w.must(w.fleet.SetHostState(h.ID, fake.Up))
	}
}

func (w *world) storeOutage() {
	w.count("store outage")
	w.note("store down")
	w.faulty.SetDown(true)
	time.AfterFunc(w.between(time.Second, 20*time.Second), func() { w.faulty.SetDown(false) })
}

func (w *world) cutFromStore() {
	if p := w.any1(); p != nil && !p.cut.Load() {
		w.note("cut from the store: " + p.name)
		p.cut.Store(true)
		time.AfterFunc(w.between(time.Second, 3*leaseTTL), func() { p.cut.Store(false) })
	}
}

func (w *world) jumpClock() {
	w.count("clock jump")
	by := []time.Duration{time.Hour, -time.Hour}[w.random.IntN(2)]
	if w.ahead != 0 { // somebody has set it wrong, somebody sets it right
		by = -w.ahead
	}
	w.ahead += by
	w.note("clock " + by.String())
	w.clock.jump(by)
}

// ends asks a process to end in good order.
func (w *world) ends(p *process) {
	if p != nil {
		w.count("daemon ended in order")
		w.note("end " + p.name)
		p.stop()
	}
}
