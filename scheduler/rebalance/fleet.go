package rebalance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
)

// fleet is the State as the search sees it: hosts and instances by number, in the order of their ids, and amounts in
// columns. What it does not know it asks the scheduler: whether a host may take a request at all, once per host and kind
// of request; and which devices it takes there, or what a filter says of the host as it then is, every time.
type fleet struct {
	scheduler *scheduler.Scheduler
	bare      scheduler.Scheduler // without the filters, which may depend on what is placed
	options   *Options
	now       time.Time

	classes  []pool.Class
	n        int // classes
	hosts    []*pool.HostRecord
	drivers  []int32
	noSource []string  // by host: why no machine can leave
	noTarget []string  // by host: why none can come
	free     []int64   // by host and class; below zero where there is less than what is placed
	part     []float64 // by host and class: 1 / capacity, 0 without any
	fixed    []int     // by host: places on it that are not those of its instances
	on       [][]int32 // by host: instances, ascending
	sorts    [][]sort  // by host: the sizes of its instances
	devices  []map[string]int64
	peers    [][]pool.Peers // by host, kept where any size is to stay apart from others
	apart    bool           // one is

	instances []*pool.Instance
	stays     []string // by instance: why it is not moved
	where     []int32
	size      []int32
	holds     []int32 // by instance: in amounts
	copies    []int64 // by instance: bytes that moving it copies
	claims    [][]pool.Claim
	amounts   [][]int64
	sizes     []size

	open     []bool // by host: it may be moved to now
	weights  []float64
	passed   []int64 // by host: the last question for which it was passed by
	asked    int64
	looks    int64
	banned   map[target]bool
	broken   error                          // of a filter that misbehaves
	broke    map[[2]int32]*scheduler.Reason // by size and host: see violated
	load     *loads
	measured Figures // of the State
}

// target is an instance and a host.
type target struct {
	instance pool.InstanceID
	host     pool.HostID
}

// size is what instances have in common that ask alike.
type size struct {
	request scheduler.Request
	apart   bool // from others
	need    []int64
	classes []int // of which it needs something
	holds   int32 // need, in fleet.amounts
	may     []uint8
}

// sort is how many instances of one size, and of one amount, are on a host.
type sort struct {
	size, holds int32
	n           int
}

const (
	mayYes = 1
	mayNo  = 2
)

// newFleet reads the State.
func newFleet(ctx context.Context, st *pool.State, s *scheduler.Scheduler, o *Options, banned map[target]bool) (*fleet, error) {
	f := &fleet{scheduler: s, bare: *s, options: o, now: st.Time(), banned: banned, broke: make(map[[2]int32]*scheduler.Reason)}
	f.bare.Filters, f.bare.Scores = nil, nil
	f.hosts = st.SortedHosts()
	number := make(map[pool.HostID]int32, len(f.hosts))
	drivers := make(map[string]int32)
	known := make(map[pool.Class]bool)
	for i, h := range f.hosts {
		number[h.ID] = int32(i)
		d, ok := drivers[h.ID.Driver()]
		if !ok {
			d = int32(len(drivers))
			drivers[h.ID.Driver()] = d
		}
		f.drivers = append(f.drivers, d)
		for c := range h.Capacity {
			known[c] = true
		}
		for c := range h.Used {
			known[c] = true
		}
	}
	f.instances = make([]*pool.Instance, 0, st.InstanceCount())
	for i := range st.Instances() {
		if _, ok := number[i.Place.Host]; ok && i.Placed() {
			f.instances = append(f.instances, i)
		}
	}
	slices.SortFunc(f.instances, func(a, b *pool.Instance) int { return strings.Compare(string(a.ID), string(b.ID)) })
	kinds := make(map[string]int32)
	var key []byte
	demands := make([]pool.Resources, 0, 64)
	for at, i := range f.instances {
		if at%4096 == 0 && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		key = f.alike(key[:0], i)
		k, ok := kinds[string(key)]
		if !ok {
			demand, err := i.Spec.Demand()
			if err != nil {
				return nil, pool.InField("instance "+string(i.ID), err)
			}
			k = int32(len(f.sizes))
			kinds[string(key)] = k
			apart := len(i.Spec.Constraints.AntiAffinity) > 0
			f.sizes = append(f.sizes, size{apart: apart, request: scheduler.Request{
				Spec: i.Spec, Image: i.Image, Project: i.Project, Cluster: i.Cluster, Now: f.now,
			}.In(st)})
			f.apart = f.apart || apart
			demands = append(demands, demand)
			for c := range demand {
				known[c] = true
			}
		}
		f.size = append(f.size, k)
	}
	f.classes = slices.Sorted(maps.Keys(known))
	f.n = len(f.classes)
	for k := range f.sizes {
		f.sizes[k].need = f.vector(demands[k])
		f.sizes[k].may = make([]uint8, len(f.hosts))
		for c, n := range f.sizes[k].need {
			if n > 0 {
				f.sizes[k].classes = append(f.sizes[k].classes, c)
			}
		}
	}
	f.readHosts()
	f.readInstances(number)
	return f, nil
}

func (f *fleet) vector(r pool.Resources) []int64 {
	v := make([]int64, f.n)
	for c, class := range f.classes {
		v[c] = r[class]
	}
	return v
}

// alike appends to b what is the same for instances which the scheduler cannot tell apart.
func (f *fleet) alike(b []byte, i *pool.Instance) []byte {
	if len(f.scheduler.Filters) > 0 { // a filter may look at everything
		all, err := json.Marshal(struct {
			Spec    pool.Spec
			Image   pool.Image
			Project string
			Cluster pool.ClusterID
		}{i.Spec, i.Image, i.Project, i.Cluster})
		if err != nil {
			return append(b, i.ID...)
		}
		return append(b, all...)
	}
	str := func(s string) { b = append(append(strconv.AppendInt(b, int64(len(s)), 10), ':'), s...) }
	num := func(n int64) { b = append(strconv.AppendInt(b, n, 10), ';') }
	str(string(i.Spec.Kind))
	var few [8]pool.Class
	classes := few[:0]
	for c := range i.Spec.Resources {
		classes = append(classes, c)
	}
	slices.Sort(classes)
	for _, c := range classes {
		str(string(c))
		num(i.Spec.Resources[c])
	}
	for _, d := range i.Spec.Disks {
		b = append(b, 'd')
		str(string(d.Storage))
		num(d.Size)
		num(d.IOPS)
	}
	c := &i.Spec.Constraints
	for _, h := range c.Hosts {
		b = append(b, 'h')
		str(string(h))
	}
	for _, z := range c.Zones {
		b = append(b, 'z')
		str(z)
	}
	pairs := func(mark byte, m map[string]string) {
		var few [4]string
		keys := few[:0]
		for k := range m {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			b = append(b, mark)
			str(k)
			str(m[k])
		}
	}
	pairs('l', c.Labels)
	for _, a := range c.Abilities {
		b = append(b, 'a')
		str(a)
	}
	for _, t := range c.Tolerations {
		b = append(b, 't')
		str(t.Key)
		str(t.Value)
	}
	pairs('s', i.Image.Sources)
	if rules := c.AntiAffinity; len(rules) > 0 { // of those with other rules none is moved
		b = append(b, 'r')
		str(i.Project)
		str(string(i.Cluster))
		pairs('p', i.Spec.Labels)
		all, err := json.Marshal(rules)
		if err != nil {
			return append(b, i.ID...)
		}
		b = append(b, all...)
	}
	return b
}

func (f *fleet) readHosts() {
	leave := make(map[pool.HostID]bool, len(f.options.Leave))
	for _, id := range f.options.Leave {
		leave[id] = true
	}
	drain := make(map[pool.HostID]bool, len(f.options.Hosts))
	for _, id := range f.options.Hosts {
		drain[id] = true
	}
	total := len(f.hosts) * f.n
	f.free, f.part = make([]int64, total), make([]float64, total)
	f.open, f.passed = make([]bool, len(f.hosts)), make([]int64, len(f.hosts))
	f.on, f.sorts = make([][]int32, len(f.hosts)), make([][]sort, len(f.hosts))
	used, all := make([]float64, f.n), make([]float64, f.n)
	for h, rec := range f.hosts {
		for c, class := range f.classes {
			f.free[h*f.n+c] = rec.Capacity[class] - rec.Used[class]
			if rec.Capacity[class] > 0 {
				f.part[h*f.n+c] = 1 / float64(rec.Capacity[class])
			}
			used[c] += float64(rec.Used[class])
			all[c] += float64(rec.Capacity[class])
		}
		f.fixed = append(f.fixed, rec.Placed+rec.Held)
		f.devices = append(f.devices, rec.DeviceUsed)
		f.peers = append(f.peers, rec.Peers)
		why := ""
		switch {
		case rec.Aggregate():
			why = "it places by itself; machines are moved neither to it nor off it"
		case leave[rec.ID]:
			why = "it is to be left alone"
		case f.options.Keeps != nil:
			why = f.options.Keeps(&rec.Host)
		}
		source, into := why, why
		if source == "" {
			switch c := rec.Conditions; {
			case !c.Has(pool.Ready) || c.Has(pool.Unreachable) || c.Has(pool.Fenced):
				source = "its machines cannot be reached (" + c.String() + ")"
			case c.Has(pool.Draining) && !drain[rec.ID]:
				source = "it is being drained already"
			}
		}
		if into == "" {
			switch {
			case drain[rec.ID]:
				into = "it is to be drained"
			case !rec.Conditions.Schedulable():
				into = "it takes no instances (" + rec.Conditions.String() + ")"
			}
		}
		f.noSource, f.noTarget = append(f.noSource, source), append(f.noTarget, into)
	}
	// A class counts the more the more of it is in use.
	f.weights = make([]float64, f.n)
	for c := range f.weights {
		if all[c] > 0 {
			f.weights[c] = used[c] / all[c]
		}
	}
}

func (f *fleet) readInstances(number map[pool.HostID]int32) {
	amounts := make(map[string]int32)
	var key []byte
	intern := func(v []int64) int32 {
		key = key[:0]
		for _, n := range v {
			key = append(strconv.AppendInt(key, n, 10), ';')
		}
		k, ok := amounts[string(key)]
		if !ok {
			k = int32(len(f.amounts))
			amounts[string(key)] = k
			f.amounts = append(f.amounts, slices.Clone(v))
		}
		return k
	}
	for k := range f.sizes {
		f.sizes[k].holds = intern(f.sizes[k].need)
	}
	vector := make([]int64, f.n)
	for at, i := range f.instances {
		h := number[i.Place.Host]
		f.where = append(f.where, h)
		f.on[h] = append(f.on[h], int32(at))
		f.fixed[h]--
		for c, class := range f.classes {
			vector[c] = i.Place.Allocation.Resources[class]
		}
		f.holds = append(f.holds, intern(vector))
		f.tally(h, int32(at), 1)
		f.claims = append(f.claims, i.Place.Allocation.Claims)
		f.copies = append(f.copies, f.bytes(i))
		f.stays = append(f.stays, f.staying(at))
	}
}

// bytes returns what moving an instance copies; the sum over all instances stays within an int64.
func (f *fleet) bytes(i *pool.Instance) int64 {
	most := math.MaxInt64 / int64(2*len(f.instances)+2)
	if f.options.Bytes != nil {
		return min(max(0, f.options.Bytes(i)), most)
	}
	sum := min(max(0, i.Spec.Resources[pool.Memory]), most)
	for _, d := range i.Spec.Disks {
		sum = min(sum+min(max(0, d.Size), most), most)
	}
	return sum
}

// staying returns why an instance is not moved.
func (f *fleet) staying(at int) string {
	i := f.instances[at]
	switch {
	case i.Want == pool.Absent || i.Phase == pool.Deleting:
		return "it is being deleted"
	case i.Phase != pool.Active, i.Is == pool.Absent, i.Fault != "":
		return "it has no machine that could be moved: it is " + i.Status()
	case i.Move != nil:
		return "it is being moved already"
	case i.Resize != nil:
		return "it is being resized"
	case i.Want == pool.Shelved:
		return "it is being shelved"
	case i.Place.Doubt:
		return "a second copy of it may still appear on its host"
	}
	if why := bound(&i.Spec.Constraints); why != "" {
		return why
	}
	for k, v := range f.options.Pinned {
		if have, ok := i.Spec.Labels[k]; ok && have == v {
			return "it is pinned by its label " + pool.Quote(k)
		}
	}
	if f.options.Stays != nil {
		if why := f.options.Stays(i); why != "" {
			return why
		}
	}
	need, holds := f.sizes[f.size[at]].need, f.amounts[f.holds[at]]
	for c := range need {
		if need[c] > holds[c] {
			return "elsewhere it would take more " + string(f.classes[c]) + " than it holds, which its project's quota may not allow"
		}
	}
	return ""
}

// bound returns why an instance is not moved whose rules a plan does not follow.
func bound(c *pool.Constraints) string {
	bad := slices.ContainsFunc(c.Affinity, func(a pool.Affinity) bool { return !a.Soft }) ||
		slices.ContainsFunc(c.AntiAffinity, func(a pool.Affinity) bool { return !a.Soft && (a.Within != "" || len(a.Instances) > 0) }) ||
		slices.ContainsFunc(c.Spread, func(a pool.Spread) bool { return !a.Soft })
	if bad {
		return "it is bound to where other instances are, by id, by affinity, by a spread, or by failure domain"
	}
	return ""
}

// empty reports whether nothing is placed or held on a host.
func (f *fleet) empty(h int32) bool { return len(f.on[h]) == 0 && f.fixed[h] == 0 }

// may reports whether the host could take the size if nothing were on it, filters aside.
func (f *fleet) may(k, h int32) bool {
	s := &f.sizes[k]
	if s.may[h] == 0 {
		rec := *f.hosts[h]
		rec.Used, rec.DeviceUsed, rec.Placed, rec.Peers, rec.Held = nil, nil, 0, nil, 0
		s.may[h] = mayNo
		if _, err := f.bare.PlaceAt(&rec, s.request); err == nil {
			s.may[h] = mayYes
		}
	}
	return s.may[h] == mayYes
}

// fits reports whether there is room for a size on a host, devices aside.
func (f *fleet) fits(s *size, h int32) bool {
	row := f.free[int(h)*f.n:]
	for _, c := range s.classes {
		if s.need[c] > row[c] {
			return false
		}
	}
	return true
}

// left returns how much of a host is left over in the classes of a size that it takes, by weight.
func (f *fleet) left(s *size, h int32, weights []float64) float64 {
	sum, at := 0.0, int(h)*f.n
	for _, c := range s.classes {
		sum += float64(float64(f.free[at+c]-s.need[c]) * float64(f.part[at+c]*weights[c])) // no fused operations
	}
	return sum
}

// best returns the open host where least is left over after it has taken the instance, and what it takes of devices
// there; or -1. The instance's own host and other are left out. Hosts on which nothing is placed come last.
func (f *fleet) best(i, other int32, weights []float64) (int32, []pool.Claim) {
	k := f.size[i]
	s, own := &f.sizes[k], f.where[i]
	f.asked++
	for {
		found, least, vacant := int32(-1), 0.0, false
		for h := range f.open {
			h := int32(h)
			if !f.open[h] || h == own || h == other || !f.fits(s, h) || f.drivers[h] != f.drivers[own] || f.passed[h] == f.asked {
				continue
			}
			left, v := f.left(s, h, weights), f.empty(h)
			if found >= 0 && (v && !vacant || v == vacant && left >= least) {
				continue
			}
			if !f.may(k, h) {
				continue
			}
			found, least, vacant = h, left, v
		}
		f.looks += int64(len(f.open))
		if found < 0 {
			return -1, nil
		}
		if claims, ok := f.accepts(i, found); ok {
			return found, claims
		}
		f.passed[found] = f.asked
	}
}

// accepts asks what is not in columns: devices, filters, and the caller. It returns the devices.
func (f *fleet) accepts(i, h int32) ([]pool.Claim, bool) {
	if len(f.banned) > 0 && f.banned[target{f.instances[i].ID, f.hosts[h].ID}] {
		return nil, false
	}
	if u := f.options.Unreachable; u != nil && u(f.instances[i], &f.hosts[f.where[i]].Host, &f.hosts[h].Host) != "" {
		return nil, false
	}
	if len(f.scheduler.Filters) == 0 && !f.sizes[f.size[i]].apart && !f.divided(&f.sizes[f.size[i]], h) {
		return nil, true
	}
	d, err := f.scheduler.PlaceAt(f.record(h), f.sizes[f.size[i]].request)
	if err != nil && !errors.Is(err, pool.ErrNoRoom) {
		f.broken = err
	}
	return d.Allocation.Claims, err == nil
}

// divided reports whether a class that the size needs consists of devices on the host.
func (f *fleet) divided(s *size, h int32) bool {
	for i := range f.hosts[h].Devices {
		for _, c := range s.classes {
			if f.classes[c] == f.hosts[h].Devices[i].Class {
				return true
			}
		}
	}
	return false
}

// record returns the record that a host has now.
func (f *fleet) record(h int32) *pool.HostRecord {
	rec := *f.hosts[h]
	rec.Used = make(pool.Resources, f.n)
	for c, class := range f.classes {
		if used := rec.Capacity[class] - f.free[int(h)*f.n+c]; used != 0 {
			rec.Used[class] = used
		}
	}
	rec.DeviceUsed, rec.Peers = f.devices[h], f.peers[h]
	rec.Placed = len(f.on[h]) + f.fixed[h] - rec.Held
	return &rec
}

// step is an instance that goes from one host to another, and what it took where it was.
type step struct {
	instance, from, to int32
	held               int32 // in fleet.amounts
	had, claims        []pool.Claim
}

// move carries a step out and returns it.
func (f *fleet) move(i, to int32, claims []pool.Claim) step {
	s := step{instance: i, from: f.where[i], to: to, held: f.holds[i], had: f.claims[i], claims: claims}
	f.leave(i)
	f.come(i, to, f.sizes[f.size[i]].holds, claims)
	return s
}

// back undoes a step.
func (f *fleet) back(s step) {
	f.leave(s.instance)
	f.come(s.instance, s.from, s.held, s.had)
}

func (f *fleet) leave(i int32) {
	h := f.where[i]
	row := f.free[int(h)*f.n:]
	for c, n := range f.amounts[f.holds[i]] {
		row[c] += n
	}
	at, _ := slices.BinarySearch(f.on[h], i)
	f.on[h] = slices.Delete(f.on[h], at, at+1)
	f.tally(h, i, -1)
	f.claim(h, f.claims[i], -1)
	f.meet(h, i, -1)
}

// meet counts an instance on a host for those that are to stay apart from it.
func (f *fleet) meet(h, i int32, n int) {
	if x := f.instances[i]; f.apart && (x.Cluster != "" || len(x.Spec.Labels) > 0) {
		f.peers[h] = pool.WithPeers(f.peers[h], pool.NewPeer(x.Project, x.Cluster, x.Spec.Labels), n)
	}
}

func (f *fleet) come(i, h, holds int32, claims []pool.Claim) {
	row := f.free[int(h)*f.n:]
	for c, n := range f.amounts[holds] {
		row[c] -= n
	}
	at, _ := slices.BinarySearch(f.on[h], i)
	f.on[h] = slices.Insert(f.on[h], at, i)
	f.claim(h, claims, 1)
	f.meet(h, i, 1)
	f.where[i], f.holds[i], f.claims[i] = h, holds, claims
	f.tally(h, i, 1)
}

func (f *fleet) tally(h, i int32, by int) {
	all := f.sorts[h]
	for at := range all {
		if s := &all[at]; s.size == f.size[i] && s.holds == f.holds[i] {
			if s.n += by; s.n == 0 {
				all[at] = all[len(all)-1]
				f.sorts[h] = all[:len(all)-1]
			}
			return
		}
	}
	f.sorts[h] = append(all, sort{f.size[i], f.holds[i], by})
}

func (f *fleet) claim(h int32, claims []pool.Claim, sign int64) {
	if len(claims) == 0 {
		return
	}
	used := maps.Clone(f.devices[h])
	if used == nil {
		used = make(map[string]int64)
	}
	for _, c := range claims {
		if used[c.Device] += sign * c.Amount; used[c.Device] == 0 {
			delete(used, c.Device)
		}
	}
	f.devices[h] = used
}

// weight returns how large an instance is: what it holds as parts of its host, by weight.
func (f *fleet) weight(i int32, weights []float64) float64 {
	return f.heavy(f.holds[i], f.where[i], weights)
}

func (f *fleet) heavy(holds, h int32, weights []float64) float64 {
	sum, at := 0.0, int(h)*f.n
	for c, n := range f.amounts[holds] {
		sum += float64(float64(n) * float64(f.part[at+c]*weights[c]))
	}
	return sum
}

// larger orders instances by decreasing size, equal ones by id.
func (f *fleet) larger(weights []float64) func(a, b int32) int {
	return func(a, b int32) int {
		return cmp.Or(cmp.Compare(f.weight(b, weights), f.weight(a, weights)), cmp.Compare(a, b))
	}
}
