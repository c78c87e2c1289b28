package pool_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
)

// chance makes random events that a fleet might see, most of them possible, some contradictory.
type chance struct {
	*rand.Rand
	tape
	s    *pool.State // what has happened so far
	toll bool        // there are prices too
}

func (c *chance) parts() []pool.Part {
	if c.toll {
		return []pool.Part{toll{}}
	}
	return nil
}

// flavor is one that an instance may be of where there are prices.
func (c *chance) flavor() string {
	if !c.toll {
		return ""
	}
	return pick(c, []string{"", "s", "large"})
}

func pick[T any](c *chance, list []T) T { return list[c.IntN(len(list))] }

// words are texts as a hypervisor might give them.
var words = []string{"", "no space left", "line\nbreak", "\"quoted\" <xml> & 'yaml': {}", "\x00\x1b[31m", "bad \xff\xfe utf-8 \xe2\x82", "\u2028", "ünïcödé"}

func (c *chance) host() pool.Host {
	h := pool.Host{
		ID: pick(c, everyHost), Name: pick(c, words[:2]), Zone: pick(c, []string{"", "north"}),
		Conditions: pool.Conditions(c.IntN(4)), Inventory: map[pool.Class]pool.Inventory{},
	}
	amount := func() pool.Inventory {
		return pool.Inventory{Total: c.Int64N(100), Reserved: c.Int64N(20), Ratio: pick(c, []pool.Ratio{0, 500, 1000, 4000})}
	}
	for _, class := range everyClass {
		if c.IntN(4) > 0 {
			h.Inventory[class] = amount()
		}
	}
	for i := range c.IntN(4) {
		h.Devices = append(h.Devices, pool.Device{
			ID: fmt.Sprint("dev", i), Class: pick(c, []pool.Class{pool.StorageSSD, pool.GPU}), Inventory: amount(),
		})
	}
	if c.IntN(2) == 0 {
		h.Shapes = []pool.Shape{{Name: pick(c, []string{"s", "s", "m"}), Resources: pool.Resources{pool.CPU: 1}}}
	}
	switch c.IntN(30) {
	case 0:
		h.Inventory[pool.Memory] = pool.Inventory{Total: math.MaxInt64 - c.Int64N(100)}
	case 1:
		h.Inventory[pool.Memory] = pool.Inventory{Total: -1}
	}
	return h
}

func (c *chance) place(number int) pool.Placement {
	p := pool.Placement{Number: number, Host: pick(c, everyHost)}
	if hosts := c.s.SortedHosts(); len(hosts) > 0 && c.IntN(20) > 0 {
		p.Host = pick(c, hosts).ID
	}
	p.Allocation.Resources = pool.Resources{}
	for _, class := range everyClass {
		if c.IntN(2) == 0 {
			p.Allocation.Resources[class] = c.Int64N(30)
		}
	}
	if h, ok := c.s.Host(p.Host); ok && len(h.Devices) > 0 {
		for range c.IntN(3) {
			d, n := pick(c, h.Devices), 1+c.Int64N(9)
			p.Allocation.Claims = append(p.Allocation.Claims, pool.Claim{Device: d.ID, Class: d.Class, Amount: n})
			p.Allocation.Resources[d.Class] += n
		}
	}
	p.Allocation.Shape = pick(c, []string{"", "s", "s", "m"})
	switch c.IntN(40) {
	case 0:
		p.Allocation.Resources[pool.CPU] = math.MaxInt64 - c.Int64N(3)
	case 1:
		p.Allocation.Resources[pool.CPU] = -1
	}
	return p
}

// machine names an instance's present machine, or now and then another one.
func (c *chance) machine(id pool.InstanceID) pool.MachineID {
	i, ok := c.s.Instance(id)
	if !ok || c.IntN(15) == 0 {
		return id.Machine(c.IntN(3))
	}
	return i.Machine()
}

func (c *chance) cluster() pool.ClusterID {
	return pool.NewClusterID(pick(c, []string{"p", "q", "r"}), pick(c, []string{"a", "b"}))
}

var everyOwner = []string{"", "u-1", "u-1", "u-2"}

func (c *chance) event() pool.Event {
	if _, ok := c.s.Project("p"); !ok && c.IntN(4) == 0 { // without it little happens
		return c.tape.event(pool.KindProjectPut, &pool.Project{Name: "p"})
	}
	if c.toll && c.IntN(12) == 0 {
		return c.tape.toll(pick(c, []int64{0, 1, 1, 2, 3, 5, 7, math.MaxInt64 / 64}))
	}
	id := pick(c, everyInstance)
	if all := c.s.SortedInstances(); len(all) > 0 && c.IntN(10) > 0 {
		id = pick(c, all).ID
	}
	project := pick(c, []string{"p", "p", "p", "q", "r"})
	number := 0
	if i, ok := c.s.Instance(id); ok {
		number = i.Place.Number + c.IntN(10)/9 + 1 - c.IntN(10)/9
	}
	of := &pool.OfMachine{Machine: c.machine(id)}
	switch c.IntN(60) {
	case 2, 3, 4, 5:
		for _, i := range c.s.SortedInstances() {
			if i.Phase == pool.Reserved && c.IntN(8) > 0 {
				id = i.ID
			}
		}
		if c.IntN(2) == 0 {
			return c.tape.event(pool.KindCommitted, &pool.Of{Instance: id})
		}
		return c.tape.event(pool.KindLapsed, &pool.Lapsed{Instance: id, Released: c.IntN(2) == 0})
	case 0:
		return c.tape.event(pool.KindImported, &pool.Imported{Ledger: pick(c, everyLedger), From: pick(c, []string{c.s.Identity(), c.s.Identity(), "ledger"})})
	case 1:
		return c.tape.event(pool.KindConfirmed, &pool.Confirmed{Ledger: pick(c, []string{c.s.Identity(), "ledger"})})
	}
	what := c.IntN(46)
	if what == 45 && c.IntN(2) == 0 { // projects that lie one in another, as deep as they may
		p := &pool.Project{Name: fmt.Sprint("s", 1+c.IntN(9))}
		p.Parent = pick(c, []string{p.Name[:1] + string(p.Name[1]-1), "p", "q", ""})
		return c.tape.event(pool.KindProjectPut, p)
	}
	if (what >= 25 && what <= 32 || what >= 40 && what < 44) && c.IntN(4) > 0 { // mostly of those that can be moved or resized, or are
		moved, sized := what >= 27 && what <= 29, what == 31 || what >= 40
		for _, i := range c.s.SortedInstances() {
			if i.Phase == pool.Active && (i.Move != nil) == moved && (i.Resize != nil) == sized {
				id, of = i.ID, &pool.OfMachine{Machine: i.Machine()}
			}
		}
	}
	switch what {
	case 0, 1:
		return c.tape.event(pool.KindHostPut, &pool.HostPut{Host: c.host()})
	case 2:
		return c.tape.event(pool.KindHostConditions, &pool.HostConditions{
			Host: pick(c, everyHost), Conditions: pool.Conditions(c.IntN(32)), Reason: pick(c, words)})
	case 3:
		return c.tape.event(pool.KindHostRemoved, &pool.HostRemoved{Host: pick(c, everyHost)})
	case 4:
		p := &pool.Project{Name: pick(c, []string{"p", "p", "q", "r", "s"}), Quota: pool.Resources{pool.CPU: c.Int64N(100)}}
		if c.IntN(3) == 0 {
			p.Parent = pick(c, []string{"p", "q", "r", "s", "s1", "s2", "s9"})
		}
		if c.IntN(3) == 0 {
			p.PerUser, p.Users = pool.Resources{pool.CPU: c.Int64N(100)}, map[string]pool.Resources{"u-1": {pool.CPU: 0}}
		}
		return c.tape.event(pool.KindProjectPut, p)
	case 5:
		return c.tape.event(pool.KindProjectRemoved, &pool.Named{Name: pick(c, []string{"p", "q", "r", "s"})})
	case 6:
		return c.tape.event(pool.KindImagePut, &pool.Image{Name: project, User: "u", Sources: map[string]string{"d": project}})
	case 7:
		return c.tape.event(pick(c, []string{pool.KindImageRemoved, pool.KindFlavorRemoved}), &pool.Named{Name: project})
	case 8:
		return c.tape.event(pool.KindFlavorPut, &pool.Flavor{Name: project, Resources: pool.Resources{pool.CPU: c.Int64N(9)}})
	case 9:
		e := c.tape.event(pool.KindTakenOver, &pool.TakenOver{Holder: pick(c, words)})
		e.Epoch = c.s.Epoch() + c.Int64N(3) - c.Int64N(2)
		return e
	case 10:
		return c.tape.event(pool.KindOpened, &pool.Opened{Ledger: "ledger"})
	case 11:
		e := c.tape.event(pool.KindOpened, &pool.Opened{})
		e.Kind, e.Version = pick(c, []string{"alert.fired", pool.KindWanted, pool.KindSent}), 1+c.IntN(2)
		return stored(c.t, e) // another package's, a newer version, or data of another kind
	case 12, 13, 14, 15:
		id := pick(c, everyInstance)
		l := &pool.Launched{
			Instance: id, Name: "web", Project: project, Owner: pick(c, everyOwner), Want: pool.Running, Place: c.place(0),
			Spec: pool.Spec{Image: project, Flavor: c.flavor(), Labels: pick(c, []map[string]string{{"tier": "gold"}, {"tier": "lead", "app": "db"}, nil}), Guest: pool.Guest{User: "ada", SSHKeys: []string{"k"}}},
		}
		if c.IntN(4) == 0 {
			l.Waits, l.Reason = true, pick(c, words)
			if c.IntN(5) > 0 {
				l.Place = pool.Placement{}
			}
		}
		if c.IntN(4) == 0 {
			l.Until = time.Unix(1_800_000_000+c.Int64N(20), 0).UTC()
		}
		return c.tape.event(pool.KindLaunched, l)
	case 16, 38, 39:
		return c.tape.event(pick(c, []string{pool.KindSent, pool.KindCreated, pool.KindCreated, pool.KindRebooted, pool.KindSettled}), of)
	case 17:
		r := &pool.Refused{Machine: of.Machine, Reason: pick(c, words), Doubt: c.IntN(2) == 0}
		if c.IntN(2) == 0 {
			r.Until = time.Unix(1_700_000_000+int64(c.revision)+c.Int64N(20), 0).UTC()
		}
		return c.tape.event(pool.KindRefused, r)
	case 18, 19:
		o := &pool.Observed{Machine: of.Machine, Is: pick(c, []pool.Power{pool.Running, pool.Stopped, pool.Absent})}
		for range c.IntN(3) {
			o.Addresses = append(o.Addresses, pick(c, words))
		}
		return c.tape.event(pool.KindObserved, o)
	case 20:
		if c.s.WaitingCount() > 0 || c.IntN(4) == 0 {
			for _, i := range c.s.SortedInstances() {
				if i.Phase == pool.Waiting && i.Want != pool.Absent {
					id = i.ID
				}
			}
			return c.tape.event(pool.KindAwaiting, &pool.Awaiting{Instance: id, Host: pick(c, []pool.HostID{"", c.place(0).Host})})
		}
		return c.tape.event(pool.KindWanted, &pool.Wanted{Instance: id, Want: pick(c, []pool.Power{pool.Running, pool.Stopped, pool.Absent})})
	case 21:
		return c.tape.event(pool.KindRebootWanted, &pool.RebootWanted{Instance: id, Token: pick(c, words)})
	case 22:
		return c.tape.event(pool.KindPlaced, &pool.Placed{Instance: id, Place: c.place(number), Hold: c.IntN(2) == 0})
	case 23:
		return c.tape.event(pool.KindFailed, &pool.Ended{Instance: id, Reason: pick(c, words), Hold: c.IntN(3) == 0})
	case 24:
		return c.tape.event(pool.KindDeleted, &pool.Ended{Instance: id, Hold: c.IntN(3) == 0})
	case 25, 26:
		p := c.place(0)
		return c.tape.event(pool.KindMoving, &pool.Moving{Instance: id, Host: p.Host, Allocation: p.Allocation, Cold: c.IntN(2) == 0})
	case 27, 28:
		if i, ok := c.s.Instance(id); ok && i.Move != nil && c.IntN(2) == 0 {
			return c.tape.event(pool.KindStayed, &pool.Stayed{Machine: of.Machine, Reason: pick(c, words)})
		}
		to := pick(c, everyHost)
		if i, ok := c.s.Instance(id); ok && i.Move != nil && c.IntN(4) > 0 {
			to = i.Move.Host
		}
		return c.tape.event(pool.KindMoved, &pool.Moved{Machine: of.Machine, Host: to})
	case 29:
		return c.tape.event(pool.KindStayed, &pool.Stayed{Machine: of.Machine, Reason: pick(c, words)})
	case 30:
		after, during := c.place(0).Allocation, c.place(0).Allocation
		return c.tape.event(pool.KindResizing, &pool.ResizeWanted{Instance: id, After: after, During: during,
			Sizes: pool.Sizes{Flavor: c.flavor(), Resources: after.Resources, Disks: []pool.Disk{{Size: 1}}}})
	case 31, 40, 41:
		if c.IntN(3) == 0 {
			return c.tape.event(pool.KindUnresized, &pool.Stayed{Machine: of.Machine, Reason: pick(c, words)})
		}
		return c.tape.event(pool.KindResized, of)
	case 32:
		return c.tape.event(pool.KindShelved, &pool.Ended{Instance: id, Hold: c.IntN(3) == 0})
	case 33:
		return c.tape.event(pick(c, []string{pool.KindDiscarding, pool.KindDiscarded, pool.KindReplacing}), &pool.Of{Instance: id})
	case 34:
		return c.tape.event(pool.KindClusterPut, &pool.ClusterPut{Cluster: c.cluster(), Token: project, Owner: pick(c, everyOwner), Spec: pool.Spec{Image: project, Flavor: c.flavor(), Guest: pool.Guest{User: "ada"}}})
	case 35:
		return c.tape.event(pool.KindClusterActed, &pool.ClusterActed{Cluster: c.cluster(), Size: c.IntN(9), Want: pool.Running,
			Op: pool.ClusterOp{Verb: "scale", Reason: pick(c, words), Skipped: []pool.Skip{{Index: 1, Reason: "no"}}}})
	case 36:
		if all := slices.Collect(c.s.Clusters()); len(all) > 0 {
			in := slices.MinFunc(all, func(a, b *pool.Cluster) int { return strings.Compare(string(a.ID), string(b.ID)) })
			index := in.Next + c.IntN(2) - c.IntN(5)/4
			return c.tape.event(pool.KindLaunched, &pool.Launched{
				Instance: in.Member("ledger", index), Name: "web", Project: in.ID.Project(), Want: pool.Running, Place: c.place(0), Cluster: in.ID, Index: index,
			})
		}
		return c.tape.event(pool.KindLaunched, &pool.Launched{Instance: id, Place: c.place(0), Cluster: c.cluster()})
	case 37:
		return c.tape.event(pool.KindClusterRemoved, &pool.ClusterRemoved{Cluster: c.cluster()})
	case 44:
		return c.tape.event(pool.KindForgotten, &pool.Forgotten{Subject: pick(c, []string{string(id), string(c.cluster()), "somebody", ""})})
	default:
		m := of.Machine
		for h := range c.s.Held() {
			if m == of.Machine || h.Machine < m {
				m = h.Machine
			}
		}
		return c.tape.event(pool.KindReleased, &pool.OfMachine{Machine: m})
	}
}

// everyKind is what random histories must have, done and refused.
var everyKind = []string{
	pool.KindHostPut, pool.KindHostConditions, pool.KindHostRemoved, pool.KindProjectRemoved, pool.KindImageRemoved,
	pool.KindFlavorRemoved, pool.KindTakenOver, pool.KindOpened, pool.KindImported, pool.KindConfirmed, pool.KindLaunched, pool.KindAwaiting, pool.KindCommitted, pool.KindLapsed, pool.KindWanted, pool.KindRebootWanted,
	pool.KindRebooted, pool.KindSent, pool.KindCreated, pool.KindSettled, pool.KindRefused, pool.KindObserved, pool.KindPlaced,
	pool.KindFailed, pool.KindDeleted, pool.KindReleased, pool.KindMoving, pool.KindMoved, pool.KindStayed, pool.KindUnresized,
	pool.KindResizing, pool.KindResized, pool.KindShelved, pool.KindReplacing, pool.KindDiscarding, pool.KindDiscarded, pool.KindClusterPut, pool.KindClusterActed, pool.KindClusterRemoved,
	pool.KindForgotten, "toll.set",
}

// TestRandomHistories folds random histories in five ways that must agree after every batch, and recomputes
// every sum and index after every event.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	enough := func() bool {
		for _, kind := range everyKind {
			if seen[outcome(kind, nil)] < 3 || seen[outcome(kind, pool.ErrInvalid)] < 3 {
				return false
			}
		}
		return true
	}
	for seed := uint64(0); seed < 8 || seed < 100 && !enough(); seed++ {
		c := &chance{Rand: rand.New(rand.NewPCG(seed, 2)), tape: tape{t: t}, toll: seed%3 == 1}
		direct := pool.NewState(c.parts()...)    // as made
		replayed := pool.NewState(c.parts()...)  // as read back from a store
		forgotten := pool.NewState(c.parts()...) // the same, personal data forgotten
		layered := pool.NewState(c.parts()...)   // batch by batch through overlays
		c.s = direct
		for range 70 {
			c.revision++
			mayForget := portrait(layered, true)
			over := layered.Overlay()
			under := over
			if c.IntN(3) == 0 {
				over = under.Overlay()
			}
			abandoned := layered.Overlay()
			for index := range 1 + c.IntN(5) {
				e := c.event()
				e.Index = index
				before := direct.Clone()
				err := direct.Apply(&e)
				seen[outcome(e.Kind, err)]++
				if err != nil && !errors.Is(err, pool.ErrUnknownKind) {
					equal(t, before, direct) // an error leaves no trace
				}
				checkBooks(t, direct, true)

				back := stored(t, e)
				sameError(t, err, replayed.Apply(&back))
				back = stored(t, e)
				back.Private, back.Salt = nil, nil
				sameError(t, err, forgotten.Apply(&back))
				sameError(t, err, over.Apply(&e))
				sameError(t, err, abandoned.Apply(&e))
			}
			checkBooks(t, over, false)
			equal(t, direct, over)
			equal(t, direct, abandoned)
			require.Equal(t, mayForget, portrait(layered, true), "an overlay has changed its base")
			if over != under {
				under.Absorb(over)
			}
			layered.Absorb(under)
			checkBooks(t, layered, true)
			equal(t, direct, layered)
			equal(t, direct, replayed)
			checkBooks(t, replayed, true)
			require.Equal(t, portrait(direct, false), portrait(forgotten, false), "a fold works without personal data")
			if c.IntN(10) == 0 {
				written := string(snapshotOf(t, direct.Snapshot()))
				restored, err := pool.ReadSnapshot(strings.NewReader(written), c.parts()...)
				require.NoError(t, err)
				equal(t, direct, restored)
				checkBooks(t, restored, true)
				require.Equal(t, written, string(snapshotOf(t, restored.Snapshot())))
				for _, other := range []*pool.State{replayed, layered} {
					require.Equal(t, written, string(snapshotOf(t, other.Snapshot())), "the same books give the same bytes")
				}
				replayed = restored // goes on as one that was never written down
			}
			if c.IntN(10) == 0 {
				clone := direct.Clone()
				equal(t, direct, clone)
				checkBooks(t, clone, true)
				layered = clone
			}
		}
	}
	// Every kind must have succeeded and failed often enough to prove something.
	for _, kind := range everyKind {
		require.Greater(t, seen[outcome(kind, nil)], 2, "%s: %v", kind, seen)
		require.Greater(t, seen[outcome(kind, pool.ErrInvalid)], 2, "%s fails: %v", kind, slices.Sorted(maps.Keys(seen)))
	}
}

func outcome(kind string, err error) string {
	if err != nil {
		return kind + " refused"
	}
	return kind
}

func sameError(t *testing.T, want, got error) {
	t.Helper()
	if want == nil {
		require.NoError(t, got)
		return
	}
	require.EqualError(t, got, want.Error())
}

// FuzzApply: whatever bytes a store returns, Apply does not panic, and an error changes nothing.
func FuzzApply(f *testing.F) {
	p, _, id := setUp(f)
	for _, e := range []pool.Event{
		p.next(pool.KindHostPut, &pool.HostPut{Host: serverHost("d/h01")}),
		p.next(pool.KindHostRemoved, &pool.HostRemoved{Host: "d/h01"}),
		p.next(pool.KindLaunched, launched(everyInstance[1], place("d/h01", 0))),
		p.next(pool.KindPlaced, &pool.Placed{Instance: id, Place: place("d/h01", 1), Hold: true}),
		p.next(pool.KindFailed, &pool.Ended{Instance: id, Reason: "no"}),
		p.next(pool.KindWanted, &pool.Wanted{Instance: id, Want: pool.Absent}),
		p.next(pool.KindObserved, &pool.Observed{Machine: id.Machine(0), Addresses: []string{"192.0.2.1"}}),
		p.next(pool.KindHostConditions, &pool.HostConditions{Host: "d/h00", Conditions: pool.Fenced}),
		p.next(pool.KindCommitted, &pool.Of{Instance: id}),
		p.next(pool.KindLapsed, &pool.Lapsed{Instance: id, Released: true}),
	} {
		f.Add(e.Kind, []byte(e.Data), e.Private)
	}
	f.Add(pool.KindLaunched, []byte(`{"instance":"x","place":{"allocation":{"resources":{"cpu":-9223372036854775808}}}}`), []byte(`{`))
	f.Fuzz(func(t *testing.T, kind string, data, private []byte) {
		p, s, _ := setUp(t)
		before := s.Clone()
		e := pool.Event{ID: "e", Revision: p.revision + 1, Kind: kind, Version: 1, Data: data, Private: private}
		if err := s.Apply(&e); err != nil && !errors.Is(err, pool.ErrUnknownKind) {
			equal(t, before, s)
		}
		root := s.Clone()
		equal(t, s, root)
		for h := range s.Hosts() {
			for _, n := range h.Used {
				require.GreaterOrEqual(t, n, int64(0))
			}
		}
	})
}
