package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
)

const (
	driverName  = "sim"
	settles     = 30 * time.Second // after which no create can land any more
	latest      = settles          // by which the effect of any call is late at most
	callTimeout = 20 * time.Second
	leaseTTL    = 6 * time.Second
	strayAge    = 10 * time.Second
	orphanAge   = 2 * time.Minute  // how long a machine may be without a record under one leader
	patience    = 15 * time.Minute // until all must be at rest after all faults have ended
)

var projects = []string{"shop", "lab"}

// breach is a kind of broken promise; each stands in the line that the simulation prints.
type breach string

const (
	orphans    breach = "orphans"
	duplicates breach = "duplicates"
	leaks      breach = "leaks" // of quota and capacity, and all else that is wrong in the books
	overcommit breach = "overcommit_seconds"
	strangers  breach = "strangers"
	stuck      breach = "stuck"
	untold     breach = "messages"   // lost, in another order, or sent to whom they are not for
	trespasses breach = "trespasses" // things that somebody was shown who must not see them, or was not who may
)

// world is one simulation. Its random source, and what is not under mu, are of the goroutine of play only.
type world struct {
	seed       uint64
	target     int // launches
	random     *rand.Rand
	sweeps     bool // the sweeper is on
	rebalances bool // machines are moved by themselves
	unique     bool // the hypervisor refuses a second machine of an id
	known      bool // it is known how late a create can land
	leases     bool // else whoever starts last leads
	forwards   bool
	jumpy      bool // leases follow the store's wall clock
	queues     bool // launches wait for places, and have priorities
	preempts   bool // and have others give way
	reserves   bool // places are reserved
	bursts     bool // the region, or a host, is taken for want of room only, and left again
	tells      bool // rules are evaluated, and messages sent
	tenants    bool // projects lie one in another, and what owners have is limited
	rules      bool // a host is tainted, and the members of some clusters must not share one

	hosts    []pool.Host
	fleet    *fake.Driver
	clock    *clock
	store    *clocked
	faulty   *ledgertest.Faulty
	scratch  pool.Scratch
	monitor  *monitor
	post     *post
	commands []command
	wrongs   []disturbance
	tokens   int
	lives    int
	foreign  int
	down     map[pool.HostID]fake.HostState
	dark     map[pool.HostID]time.Time // hosts that do not return before
	clusters int
	holds    int
	asked    int               // requests for quota
	said     map[string]saying // by cause
	askers   map[string]spot   // of requests for quota: where they lie and who asked
	spots    map[string]spot   // by token
	texts    []string          // of API tokens
	signed   []auth.Identity   // of everybody, as they signed in last
	eyes     *rand.Rand        // for who looks when
	undo     []func()
	ahead    time.Duration // of the store's clock
	aimEnds  time.Time
	aims     []point // in the order in which they are aimed at
	callers  sync.WaitGroup
	healed   atomic.Bool
	began    time.Time
	took     time.Duration // until it was healed
	called   int           // driver calls until then
	faulted  int           // of which faulty

	mu       sync.Mutex
	luck     *rand.Rand // for chance
	seats    []*process // empty while nothing lives there
	downtime []time.Time
	aim      point
	ids      map[string]pool.InstanceID // by token
	promises []promise
	counts   map[string]int // of faults and commands
	crashes  map[point]int
	breaches map[breach]int
	reports  []string
	notes    []string // the last things that happened
	strays   []string // machines that the books did not speak of at some second
	traced   []func() string
}

func newWorld(seed uint64, target int) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{
		seed: seed, target: target, random: r,
		// The seed's bits rather than chance, so that a few seeds have seen everything.
		sweeps: seed%2 == 0, rebalances: seed/3%2 == 0, unique: seed/2%2 == 0, known: seed%7 != 0,
		luck: rand.New(rand.NewPCG(seed, 2)), eyes: rand.New(rand.NewPCG(seed, 3)), clock: new(clock),
		said: make(map[string]saying), askers: make(map[string]spot), spots: make(map[string]spot),
		down: make(map[pool.HostID]fake.HostState), dark: make(map[pool.HostID]time.Time), ids: make(map[string]pool.InstanceID), counts: make(map[string]int),
		crashes: make(map[point]int), breaches: make(map[breach]int), wrongs: disturbances(),
		began: time.Now(),
	}
	w.queues, w.preempts = seed%4 >= 2, seed%8 >= 6
	w.rules = seed%3 == 1
	w.bursts = seed%5 == 2 || seed%4 == 3
	w.reserves = seed%8 == 1 || seed%8 == 6
	w.tenants = seed%4 == 1 || seed%4 == 2
	w.tells, w.post = seed%2 == 1, newPost()
	if w.tells {
		w.wrongs = append(w.wrongs, disturbance{40, (*world).receiverOutage})
	}
	w.commands = w.asks()
	daemons := 1
	if seed%3 != 0 {
		daemons = 3
	}
	w.leases = seed%5 != 0
	w.jumpy = w.leases && seed%3 == 2
	w.forwards = daemons > 1 && w.leases && seed%4 != 1
	w.seats, w.downtime = make([]*process, daemons), make([]time.Time, daemons)
	for n := range 4 {
		h := pool.Host{
			ID: pool.NewHostID(driverName, fmt.Sprintf("h%d", n)), Name: fmt.Sprintf("h%d", n),
			Inventory: map[pool.Class]pool.Inventory{
				pool.CPU: {Total: 8 * pool.Core}, pool.Memory: {Total: 16 * pool.GiB}, pool.StorageStandard: {Total: pool.TiB},
			},
			Conditions: pool.Ready,
		}
		for d := range n % 3 { // some have no NVMe, or one device, or two
			h.Devices = append(h.Devices, pool.Device{ID: fmt.Sprintf("nvme-%d", d), Class: pool.NVMe.Class(), Inventory: pool.Inventory{Total: 50 * pool.GiB}})
		}
		if w.rules && n == 3 {
			h.Taints = []pool.Taint{{Key: "old", Effect: pool.NoSchedule}}
		}
		w.hosts = append(w.hosts, h)
	}
	if seed%5 == 2 {
		w.hosts = append(w.hosts, region())
	}
	if last := len(w.hosts) - 1; w.bursts {
		w.hosts[last].Taints = append(w.hosts[last].Taints, pool.Taint{Key: "burst", Effect: pool.PreferNoSchedule})
	}
	late := settles
	if !w.known {
		late = -1
	}
	w.fleet = fake.New(fake.Config{
		Name: driverName, Hosts: w.hosts, Seed: seed, Overfill: true, Copies: !w.unique, Settles: late,
		Latency: fake.Latency{Mean: 100 * time.Millisecond, Max: time.Second},
		Build:   time.Second, Boot: 2 * time.Second, Shutdown: 2 * time.Second, Migrate: 2 * time.Second, Hook: w.delayed, Without: without(seed),
	})
	if seed%5 == 2 { // it has room for less than it says, and says so at once, or first takes what it gives up then
		w.must(w.fleet.SetRoom(w.hosts[4].ID, fake.Room{Resources: pool.Resources{pool.Memory: 6 * pool.GiB}, Accepts: seed%2 == 0, After: 3 * time.Second}))
	}
	w.store = &clocked{pool.NewMemoryLedger(), w.clock}
	w.faulty = ledgertest.NewFaulty(w.store, seed, ledgertest.Faults{})
	if w.scratch = pool.Scratch(pool.NewMemoryScratch()); w.jumpy {
		w.scratch = &leaseStore{clock: w.clock}
	}
	w.scratch = w.faulty.Scratch(w.scratch)
	w.monitor = newMonitor(w)
	for _, c := range w.calls() {
		w.aims = append(w.aims, point{c, false}, point{c, true})
		if c == "fence" || c == "forward" || c == "notify" { // which are seldom reached in time
			w.aims = append(w.aims, point{c, false}, point{c, true})
		}
	}
	first := int(seed*7) % len(w.aims)
	w.aims = slices.Concat(w.aims[first:], w.aims[:first])
	return w
}

// region is an aggregate: it sells two sizes and places by itself.
func region() pool.Host {
	shape := func(name string, n int64) pool.Shape {
		return pool.Shape{Name: name, Resources: pool.Resources{pool.CPU: n * pool.Core, pool.Memory: 2 * n * pool.GiB, pool.StorageStandard: 20 * n * pool.GiB}}
	}
	return pool.Host{
		ID: pool.NewHostID(driverName, "region"), Name: "region",
		Inventory: map[pool.Class]pool.Inventory{
			pool.CPU: {Total: 8 * pool.Core}, pool.Memory: {Total: 16 * pool.GiB}, pool.StorageStandard: {Total: pool.TiB},
		},
		Shapes: []pool.Shape{shape("small", 1), shape("large", 2)}, Conditions: pool.Ready,
	}
}

// play runs the world to its end. All its goroutines have ended when it returns.
func (w *world) play() {
	defer w.close()
	w.must(w.strangers())
	w.start(0)
	w.must(w.catalogue())
	for n := 1; n < len(w.seats); n++ {
		w.start(n)
	}
	w.must(w.fleet.SetFaults(driverFaults(w.unique)))
	w.faulty.Set(storeFaults())
	for end := time.Now().Add(30 * time.Minute); w.monitor.launches < w.target && time.Now().Before(end) && !w.hopeless(); {
		for range w.random.IntN(5) {
			w.ask()
		}
		for _, d := range w.wrongs {
			if w.random.IntN(d.every) == 0 {
				d.do(w)
			}
		}
		w.takeAim()
		w.revive()
		time.Sleep(time.Second)
		w.monitor.audit()
	}
	w.took = time.Since(w.began)
	for _, n := range w.fleet.Calls() {
		w.called += n
	}
	for _, n := range w.fleet.Injected() {
		w.faulted += n
	}
	if !w.hopeless() {
		w.heal()
	}
}

// strangers puts machines on the hosts that are not ours to touch, before anybody looks: one that came later would
// take room that is booked already.
func (w *world) strangers() error {
	m, err := berthage.Open(context.Background(), berthage.Config{Ledger: w.store, Parts: w.parts(), Drivers: map[string]hypervisor.Driver{driverName: w.fleet}})
	if err != nil {
		return err
	}
	defer m.Close()
	var errs []error
	ours := m.Status().Ledger
	for n, tag := range []hypervisor.Tag{
		{},
		{Ledger: "another", Machine: pool.NewInstanceID("another", "p", "t").Machine(0), Launched: 3},
		{Ledger: ours, Machine: pool.NewInstanceID(ours, "p", "of a newer ledger").Machine(0), Launched: 1 << 40},
		{Ledger: ours, Machine: pool.NewInstanceID(ours, "p", "never heard of").Machine(0), Launched: 2},
	} {
		_, err := w.fleet.AddForeign(hypervisor.Machine{
			Ref: hypervisor.Ref{Host: w.hosts[n].ID, Tag: tag}, Power: pool.Running, Resources: pool.Resources{pool.CPU: pool.Core / 2},
		})
		errs = append(errs, err)
		w.foreign++
	}
	return errors.Join(errs...)
}

// catalogue puts in what launches need, before anything goes wrong.
func (w *world) catalogue() error {
	ctx := context.Background()
	var m *berthage.Manager
	for ; m == nil || !m.Status().Leading; time.Sleep(100 * time.Millisecond) {
		m = w.at(0).open()
	}
	errs := []error{m.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{driverName: "debian"}})}
	if w.tenants {
		first := w.firstPeople()
		for _, p := range append([]string{top, attic}, projects...) {
			first = append(first, w.puts(w.tenant(p)))
		}
		for _, try := range first {
			_, err := try(ctx, m)
			errs = append(errs, err)
		}
		errs = append(errs, m.SetPrices(ctx, w.prices()))
		return errors.Join(errs...)
	}
	for _, p := range projects {
		errs = append(errs, m.PutProject(ctx, pool.Project{Name: p, Quota: pool.Resources{pool.Instances: 14}}))
	}
	return errors.Join(errs...)
}

// heal ends everything that goes wrong, and checks what must be true some time later.
func (w *world) heal() {
	w.healed.Store(true)
	w.note("healing")
	w.must(w.fleet.SetFaults(fake.Faults{}))
	w.faulty.Set(ledgertest.Faults{})
	w.faulty.SetDown(false)
	w.clock.jump(3 * time.Hour) // no lease lasts that was given before the clock was set back
	for _, undo := range w.undo {
		undo()
	}
	for _, name := range receiverNames {
		w.receiver(name, false)
	}
	w.callers.Wait()
	for end := time.Now().Add(patience); ; {
		for n := range w.seats {
			if p := w.at(n); p != nil {
				p.cut.Store(false)
			}
		}
		for _, h := range w.hosts { // also one that is switched off now, by an order that was late
			w.must(w.fleet.SetHostState(h.ID, fake.Up))
		}
		w.revive()
		if try := releaseHeld(w); try != nil {
			w.give(w.seats[0], "release held", try)
		}
		time.Sleep(time.Second)
		w.monitor.audit()
		if time.Now().After(end) || w.hopeless() {
			break
		}
		if w.atRest() && w.told() && time.Since(w.monitor.changed) > 2*latest {
			break
		}
	}
	w.final()
	w.elsewhere()
}

// atRest reports whether nothing is left to be done and all daemons know it.
func (w *world) atRest() bool {
	for range w.monitor.st.Held() {
		return false
	}
	for i := range w.monitor.st.Unsettled() {
		if i.Phase != pool.Waiting || i.Want == pool.Absent {
			return false
		}
	}
	for n := range w.seats {
		p := w.at(n)
		if p == nil || p.open() == nil || p.open().Status().Revision != w.monitor.st.Head() {
			return false
		}
	}
	return true
}

// final checks the world at its end.
func (w *world) final() {
	for h := range w.monitor.st.Held() {
		w.broken(stuck, "still held: %+v", h)
	}
	books := make(map[hypervisor.Ref]*pool.Instance)
	for i := range w.monitor.st.Instances() {
		switch {
		case i.Phase == pool.Waiting && i.Want != pool.Absent:
			w.monitor.waits(i)
		case !i.Settled():
			w.broken(stuck, "instance %s is %s and wanted %s: %+v", i.ID, i.Status(), i.Want, i)
		case i.Phase == pool.Failed && i.Reason == "":
			w.broken(stuck, "instance %s has failed without a reason", i.ID)
		}
		if i.Placed() {
			books[hypervisor.Ref{Host: i.Place.Host, Tag: hypervisor.Tag{Ledger: w.monitor.st.Identity(), Machine: i.Machine(), Launched: i.Launched}}] = i
		}
	}
	for _, h := range w.fleet.Inspect() {
		for _, x := range h.Machines {
			if x.Foreign {
				continue
			}
			i, ok := books[x.Ref]
			switch {
			case !ok:
				w.broken(orphans, "machine %s is left on %s", x.Tag.Machine, h.Host.ID)
			case i.Is != x.Power:
				w.broken(leaks, "machine %s is %s, the books say %s", x.Tag.Machine, x.Power, i.Is)
			case i.Fault == "" && !x.Demand.Equal(i.Place.Allocation.Resources):
				w.broken(leaks, "machine %s takes %v, the books say %v", x.Tag.Machine, x.Demand, i.Place.Allocation.Resources)
			}
			delete(books, x.Ref)
		}
	}
	for _, x := range w.fleet.Shelf() {
		id, _, _ := x.Tag.Machine.Split()
		if i, ok := w.monitor.st.Instance(id); !ok || i.Shelf == nil || i.Shelf.Machine != x.Tag.Machine {
			w.broken(orphans, "disks of machine %s are put aside, and nobody knows", x.Tag.Machine)
		}
	}
	for r := range books {
		w.broken(leaks, "machine %s of the books is not on %s", r.Machine, r.Host)
	}
	for n := range w.seats {
		if p := w.at(n); p == nil || p.open() == nil {
			w.broken(stuck, "daemon %d does not run", n)
		} else if r := p.open().Status().Revision; r != w.monitor.st.Head() {
			w.broken(stuck, "daemon %d is at revision %d of %d", n, r, w.monitor.st.Head())
		}
	}
	w.messages()
	w.mu.Lock()
	promises := w.promises
	w.mu.Unlock()
	for _, p := range promises {
		if why := p(w.monitor); why != "" {
			w.broken(stuck, "%s", why)
		}
	}
}

// close ends all processes.
func (w *world) close() {
	w.healed.Store(true)
	for _, undo := range w.undo {
		undo()
	}
	for n := range w.seats {
		if p := w.at(n); p != nil {
			p.end()
			<-p.gone
		}
	}
	w.callers.Wait()
	w.faulty.Settle()
	w.must(w.fleet.Close())
}

// seat puts a process on a seat, at returns the one that is there, nil where none lives.
func (w *world) seat(n int, p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seats[n] = p
}

func (w *world) at(n int) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p := w.seats[n]; p != nil && !p.dead() {
		return p
	}
	return nil
}

// revive starts daemons again some time after their death.
func (w *world) revive() {
	for n := range w.seats {
		if w.at(n) != nil {
			continue
		}
		w.mu.Lock()
		p, at := w.seats[n], w.downtime[n]
		w.mu.Unlock()
		select {
		case <-p.gone:
		default:
			continue
		}
		switch {
		case at.IsZero():
			w.mu.Lock()
			w.downtime[n] = time.Now().Add(w.between(0, leaseTTL+2*time.Second))
			w.mu.Unlock()
		case !time.Now().Before(at):
			w.mu.Lock()
			w.downtime[n] = time.Time{}
			w.mu.Unlock()
			w.start(n)
		}
	}
}

// takeAim aims at the next point at which a daemon is to die, all points in turn. What is not met in time is
// left for the next turn.
func (w *world) takeAim() {
	now := time.Now()
	w.mu.Lock()
	aim := w.aim
	w.mu.Unlock()
	if aim == (point{}) && w.aimEnds.IsZero() { // the last one was hit
		w.aimEnds = now.Add(w.between(time.Second, 20*time.Second))
		return
	}
	if now.Before(w.aimEnds) {
		return
	}
	if aim != (point{}) {
		w.mu.Lock()
		w.aim = point{}
		w.mu.Unlock()
		w.aimEnds = time.Time{}
		return
	}
	next := w.aims[0]
	w.aims = append(w.aims[1:], next)
	w.mu.Lock()
	w.aim = next
	w.mu.Unlock()
	w.aimEnds = now.Add(20 * time.Second)
	switch next.call {
	case "now", "watch", "lease delete": // only when one starts or ends
		w.ends(w.any1())
	case "fence": // only when a host has been silent for long enough
		w.aimEnds = now.Add(90 * time.Second)
	}
}

// aimed reports whether the process dies here.
func (w *world) aimed(p *process, at point) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.aim != at || w.healed.Load() {
		return false
	}
	w.aim, w.aimEnds = point{}, time.Time{}
	w.crashes[at]++
	w.noteLocked("kill " + p.name + " " + at.String())
	return true
}

func (w *world) aiming() point {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.aim
}

// is keeps the instance of a token.
func (w *world) is(token string, id pool.InstanceID) {
	w.mu.Lock()
	old, ok := w.ids[token]
	w.ids[token] = id
	w.mu.Unlock()
	if ok && old != id {
		w.broken(duplicates, "token %s gave %s and %s", token, old, id)
	}
}

func (w *world) chance(p float64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.healed.Load() && w.luck.Float64() < p
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what]++
}

// broken reports a broken promise.
func (w *world) broken(b breach, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breaches[b]++
	if len(w.reports) < 5 {
		last := w.notes[max(0, len(w.notes)-25):]
		w.reports = append(w.reports, fmt.Sprintf("%s after %v: %s\n  %s", b, time.Since(w.began), fmt.Sprintf(format, args...), strings.Join(last, "\n  ")))
	}
}

// hopeless reports that enough is broken.
func (w *world) hopeless() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.reports) >= 3
}

// stray keeps that a machine had no record for a moment, with what happened before.
func (w *world) stray(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked("no record: " + what)
	w.strays = append(w.strays, strings.Join(w.notes[max(0, len(w.notes)-12):], "\n  "))
}

func (w *world) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(what)
}

// trace keeps what happened, for when something is traced. It is put into words after the world has ended: what
// writes or looks through maps would make another history of it.
func (w *world) trace(what func() string) {
	if traced != "" {
		now := time.Since(w.began).Truncate(time.Millisecond)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.traced = append(w.traced, func() string { return now.String() + " " + what() })
	}
}

// traces returns what was kept of that which is traced.
func (w *world) traces() (out []string) {
	for _, what := range w.traced {
		if s := what(); strings.Contains(s, traced) {
			out = append(out, s)
		}
	}
	return out
}

func (w *world) noteLocked(what string) {
	w.notes = append(w.notes, fmt.Sprintf("%v %s", time.Since(w.began).Truncate(time.Millisecond), what))
}

// must reports an error of the bench itself.
func (w *world) must(err error) {
	if err != nil {
		_, file, line, _ := runtime.Caller(1)
		w.broken(stuck, "the simulation itself: %s:%d: %v", file, line, err)
	}
}

func isOne(err error, kinds ...error) bool {
	return slices.ContainsFunc(kinds, func(k error) bool { return errors.Is(err, k) })
}
