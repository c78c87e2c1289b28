package showback_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota/showback"
)

// tape is a small ledger of its own.
type tape struct {
	t       testing.TB
	st      *pool.State
	batches []pool.Batch
}

var began = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return began.Add(time.Duration(seconds * float64(time.Second))) }

// try appends an event at a moment if the books allow it.
func (p *tape) try(seconds float64, kind string, payload any) bool {
	e, err := pool.NewEvent(kind, payload)
	require.NoError(p.t, err)
	e.ID, e.Revision, e.Time = "e", p.st.Head()+1, at(seconds)
	if p.st.Apply(&e) != nil {
		return false
	}
	p.batches = append(p.batches, pool.Batch{Revision: e.Revision, Events: []pool.Event{e}})
	return true
}

func (p *tape) add(seconds float64, kind string, payload any) {
	p.t.Helper()
	require.True(p.t, p.try(seconds, kind, payload), "%s", kind)
}

// id returns the id of an instance that is called by a number.
func id(n int) pool.InstanceID { return pool.NewInstanceID("l", "p", fmt.Sprint(n)) }

func allocation(cpu, mem int64) pool.Allocation {
	return pool.Allocation{Resources: pool.Resources{pool.CPU: cpu, pool.Memory: mem}}
}

func newTape(t testing.TB) *tape {
	p := &tape{t: t, st: pool.NewState()}
	for _, h := range []pool.HostID{"a/h1", "a/h2", "b/h1"} {
		p.add(0, pool.KindHostPut, &pool.HostPut{Host: pool.Host{ID: h, Conditions: pool.Ready, Inventory: map[pool.Class]pool.Inventory{
			pool.CPU: {Total: 64_000}, pool.Memory: {Total: pool.TiB},
		}}})
	}
	p.add(0, pool.KindProjectPut, &pool.Project{Name: "p"})
	p.add(0, pool.KindProjectPut, &pool.Project{Name: "q"})
	return p
}

func (p *tape) launch(seconds float64, n int, host pool.HostID, a pool.Allocation, change ...func(*pool.Launched)) {
	p.t.Helper()
	l := &pool.Launched{Instance: id(n), Name: "i", Project: "p", Want: pool.Running, Place: pool.Placement{Host: host, Allocation: a}}
	for _, f := range change {
		f(l)
	}
	p.add(seconds, pool.KindLaunched, l)
}

// measure is the usage between two moments, from the books at the first one.
func (p *tape) measure(from, until float64) *showback.Usage {
	p.t.Helper()
	st, k := pool.NewState(), 0
	for ; k < len(p.batches) && !p.batches[k].Events[0].Time.After(at(from)); k++ {
		require.NoError(p.t, st.Apply(&p.batches[k].Events[0]))
	}
	m, err := showback.New(st, at(from), at(until))
	require.NoError(p.t, err)
	for _, b := range p.batches[k:] {
		require.NoError(p.t, m.Add(b))
	}
	return m.Usage()
}

// shown is usage in short: "p u-1 a small cpu" to units times seconds.
func shown(u *showback.Usage) map[string]string {
	out := make(map[string]string)
	for _, l := range u.Lines() {
		out[strings.Join(strings.Fields(fmt.Sprint(l.Project, " ", l.Owner, " ", l.Driver, " ", l.Flavor, " ", l.Class)), " ")] = l.Held.String()
	}
	return out
}

// What is held counts from the event that gives it to the one that takes it, whatever happens in between.
func TestWhatCounts(t *testing.T) {
	t.Parallel()
	p := newTape(t)
	m := func(n int) pool.MachineID { return id(n).Machine(0) }
	p.launch(10, 1, "a/h1", allocation(1000, 4))
	p.add(12, pool.KindCreated, &pool.OfMachine{Machine: m(1)})
	p.add(20, pool.KindMoving, &pool.Moving{Instance: id(1), Host: "b/h1", Allocation: allocation(1000, 4)})
	require.Equal(t, map[string]string{"p a cpu": "20000", "p a memory": "80", "p a instances": "20"}, shown(p.measure(0, 30)), "moved to the other host not before it is there")
	p.add(30, pool.KindMoved, &pool.Moved{Machine: m(1), Host: "b/h1"})
	p.add(40, pool.KindResizing, &pool.ResizeWanted{Instance: id(1), After: allocation(3000, 2), During: allocation(3000, 4)})
	p.add(50.5, pool.KindResized, &pool.OfMachine{Machine: m(1)})
	p.add(60, pool.KindWanted, &pool.Wanted{Instance: id(1), Want: pool.Shelved})
	p.add(61, pool.KindShelved, &pool.Ended{Instance: id(1)})
	p.add(100, pool.KindWanted, &pool.Wanted{Instance: id(1), Want: pool.Running})
	p.add(101, pool.KindPlaced, &pool.Placed{Instance: id(1), Place: pool.Placement{Number: 1, Host: "a/h2", Allocation: allocation(2000, 2)}})
	p.add(103, pool.KindWanted, &pool.Wanted{Instance: id(1), Want: pool.Absent})
	p.add(104, pool.KindDeleted, &pool.Ended{Instance: id(1), Hold: true})
	for name, c := range map[string]struct {
		from, until float64
		want        map[string]string
	}{
		"before":            {0, 10, map[string]string{}},
		"its first second":  {10, 11, map[string]string{"p a cpu": "1000", "p a memory": "4", "p a instances": "1"}},
		"a part of one":     {10.25, 10.75, map[string]string{"p a cpu": "500", "p a memory": "2", "p a instances": "0.5"}},
		"a microsecond":     {10, 10.000001, map[string]string{"p a cpu": "0.001", "p a memory": "0.000004", "p a instances": "0.000001"}},
		"over the move":     {29, 31, map[string]string{"p a cpu": "1000", "p a memory": "4", "p a instances": "1", "p b cpu": "1000", "p b memory": "4", "p b instances": "1"}},
		"over the resize":   {39, 52, map[string]string{"p b cpu": "37000", "p b memory": "49", "p b instances": "13"}},
		"until it is aside": {60, 100, map[string]string{"p b cpu": "3000", "p b memory": "2", "p b instances": "1"}},
		"anew":              {100, 200, map[string]string{"p a cpu": "6000", "p a memory": "6", "p a instances": "3"}},
		"when it is gone":   {104, 200, map[string]string{}},
	} {
		require.Equal(t, c.want, shown(p.measure(c.from, c.until)), name)
	}
}

// Whoever waits or has failed holds nothing; what is reserved does; flavors, owners, projects and drivers are told apart; what is held
// at the end is held until then.
func TestWhoseItIs(t *testing.T) {
	t.Parallel()
	p := newTape(t)
	of := func(project, owner, flavor string) func(*pool.Launched) {
		return func(l *pool.Launched) { l.Project, l.Owner, l.Spec.Flavor = project, owner, flavor }
	}
	p.launch(0, 1, "a/h1", allocation(1000, 0), of("p", "u-1", "small"))
	p.launch(0, 2, "a/h2", allocation(1000, 0), of("p", "u-1", "small"))
	p.launch(0, 3, "b/h1", allocation(1000, 0), of("p", "u-1", "small"))
	p.launch(0, 4, "a/h1", allocation(1000, 0), of("q", "u-2", "large"))
	p.launch(0, 5, "a/h1", allocation(1000, 0), of("q", "", ""), func(l *pool.Launched) { l.Until = at(50) })
	p.add(10, pool.KindLaunched, &pool.Launched{Instance: id(6), Name: "i", Project: "q", Waits: true})
	p.add(20, pool.KindLapsed, &pool.Lapsed{Instance: id(5)})
	p.add(30, pool.KindPlaced, &pool.Placed{Instance: id(6), Place: pool.Placement{Host: "a/h1", Number: 1, Allocation: allocation(500, 0)}})
	p.add(32, pool.KindFailed, &pool.Ended{Instance: id(6), Reason: "no"})
	u := p.measure(0, 60)
	require.Equal(t, map[string]string{
		"p u-1 a small cpu": "120000", "p u-1 a small instances": "120",
		"p u-1 b small cpu": "60000", "p u-1 b small instances": "60",
		"q u-2 a large cpu": "60000", "q u-2 a large instances": "60",
		"q a cpu": "21000", "q a instances": "22",
	}, shown(u))
	require.Equal(t, map[string]string{"q a cpu": "21000", "q a instances": "22"}, shown(u.Of(func(k showback.Key) bool { return k.Project == "q" && k.Owner == "" })))
}

// history makes a random life of a small pool, in whole seconds.
func history(t *testing.T, seed uint64) *tape {
	p, r := newTape(t), rand.New(rand.NewPCG(seed, 1))
	hosts := []pool.HostID{"a/h1", "a/h2", "b/h1"}
	some := func() pool.Allocation { return allocation(r.Int64N(4)*500, r.Int64N(3)) }
	for now := 0.0; now < 100; now += float64(r.IntN(3)) {
		n := r.IntN(8)
		i, _ := p.st.Instance(id(n))
		host := hosts[r.IntN(len(hosts))]
		place := pool.Placement{Host: host, Allocation: some()}
		var machine pool.MachineID
		if i != nil {
			place.Number, machine = i.Place.Number+1, i.Machine()
		}
		switch r.IntN(14) {
		case 0, 1, 2:
			l := &pool.Launched{Instance: id(n), Name: "i", Project: []string{"p", "q"}[r.IntN(2)], Owner: []string{"", "u"}[r.IntN(2)], Want: pool.Running, Place: place}
			l.Spec.Flavor = []string{"", "f"}[r.IntN(2)]
			l.Place.Number = 0
			if r.IntN(4) == 0 {
				l.Until = at(now + 5)
			} else if r.IntN(4) == 0 {
				l.Waits, l.Place = true, pool.Placement{}
			}
			p.try(now, pool.KindLaunched, l)
		case 3, 4:
			p.try(now, pool.KindCreated, &pool.OfMachine{Machine: machine})
		case 5:
			p.try(now, pool.KindPlaced, &pool.Placed{Instance: id(n), Place: place, Hold: r.IntN(2) == 0})
		case 6:
			p.try(now, pool.KindMoving, &pool.Moving{Instance: id(n), Host: host, Allocation: place.Allocation})
		case 7:
			p.try(now, pool.KindMoved, &pool.Moved{Machine: machine, Host: host})
		case 8:
			p.try(now, pool.KindResizing, &pool.ResizeWanted{Instance: id(n), After: some(), During: some(), Sizes: pool.Sizes{Flavor: "g"}})
		case 9:
			p.try(now, pool.KindResized, &pool.OfMachine{Machine: machine})
		case 10:
			p.try(now, pool.KindShelved, &pool.Ended{Instance: id(n)})
		case 11:
			p.try(now, pool.KindFailed, &pool.Ended{Instance: id(n)})
		case 12:
			p.try(now, pool.KindDeleted, &pool.Ended{Instance: id(n)})
		default:
			p.try(now, pool.KindLapsed, &pool.Lapsed{Instance: id(n)})
		}
	}
	return p
}

// naive counts second by second what the books say is held.
func (p *tape) naive(from, until int) map[string]string {
	sums := make(map[string]*big.Int)
	st, k := pool.NewState(), 0
	for s := 0; s < until; s++ {
		for ; k < len(p.batches) && !p.batches[k].Events[0].Time.After(at(float64(s))); k++ {
			require.NoError(p.t, st.Apply(&p.batches[k].Events[0]))
		}
		if s < from {
			continue
		}
		for i := range st.Instances() {
			if !i.Placed() {
				continue
			}
			held := i.Place.Allocation.Resources.Clone()
			held[pool.Instances] = 1
			for c, n := range held {
				key := strings.Join(strings.Fields(fmt.Sprint(i.Project, " ", i.Owner, " ", i.Place.Host.Driver(), " ", i.Spec.Flavor, " ", c)), " ")
				if sums[key] == nil {
					sums[key] = new(big.Int)
				}
				sums[key].Add(sums[key], big.NewInt(n))
			}
		}
	}
	out := make(map[string]string)
	for k, n := range sums {
		out[k] = n.String()
	}
	return out
}

// What a Meter measures is what counting every second finds, and what is used in an interval is what is used in its parts.
func TestRandomHistories(t *testing.T) {
	t.Parallel()
	lines := 0
	for seed := range uint64(60) {
		p, r := history(t, seed), rand.New(rand.NewPCG(seed, 2))
		for range 4 {
			from := r.IntN(100)
			until := from + 1 + r.IntN(60)
			whole := p.measure(float64(from), float64(until))
			require.Equal(t, p.naive(from, until), shown(whole), "seed %d, %d to %d", seed, from, until)
			lines += len(whole.Lines())

			cut := float64(from) + float64(1+r.IntN((until-from)*1e6-1))/1e6 // anywhere, also between seconds
			a, b := p.measure(float64(from), cut), p.measure(cut, float64(until))
			joined, err := a.Join(b)
			require.NoError(t, err)
			require.Equal(t, shown(whole), shown(joined), "seed %d, cut at %v", seed, cut)
			require.Equal(t, whole.From(), joined.From())
			require.Equal(t, whole.Until(), joined.Until())
			_, err = b.Join(a)
			require.ErrorIs(t, err, pool.ErrInvalid)
		}
	}
	require.Greater(t, lines, 1000, "histories in which enough is held")
}

// A batch whose events are of different moments, as another program may have written it, counts each at its own.
func TestMomentsWithinABatch(t *testing.T) {
	t.Parallel()
	p := newTape(t)
	p.launch(5, 1, "a/h1", allocation(1000, 0))
	p.add(8, pool.KindFailed, &pool.Ended{Instance: id(1)})
	p.add(8, pool.KindDeleted, &pool.Ended{Instance: id(1)})
	m, err := showback.New(pool.NewState(), at(0), at(100))
	require.NoError(t, err)
	all := pool.Batch{Revision: 1}
	for _, b := range p.batches {
		e := b.Events[0]
		e.Revision, e.Index = 1, len(all.Events)
		all.Events = append(all.Events, e)
	}
	require.NoError(t, m.Add(all))
	require.Equal(t, map[string]string{"p a cpu": "3000", "p a instances": "3"}, shown(m.Usage()))
	require.ErrorIs(t, m.Add(all), pool.ErrInvalid, "not the next one")
	require.ErrorIs(t, m.Add(pool.Batch{Revision: 2, Events: []pool.Event{{Revision: 2, Kind: "newer.kind", Version: 1, Time: at(9)}}}), pool.ErrUnknownKind)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	_, err := showback.New(pool.NewState(), at(1), at(1))
	require.ErrorIs(t, err, pool.ErrInvalid)
	p := newTape(t)
	p.launch(5, 1, "a/h1", allocation(1000, 0))
	_, err = showback.New(p.st, at(4), at(10))
	require.ErrorIs(t, err, pool.ErrInvalid, "what was before is not in these books")
	_, err = showback.New(p.st.Clone(), at(5), at(10))
	require.NoError(t, err)
}

// hour is a usage of one hour of one instance.
func hour(t *testing.T, flavor, host string, a pool.Allocation) *showback.Usage {
	p := newTape(t)
	p.launch(0, 1, pool.HostID(host), a, func(l *pool.Launched) { l.Spec.Flavor = flavor })
	return p.measure(0, 3600)
}

func TestPrices(t *testing.T) {
	t.Parallel()
	prices := showback.Prices{
		Currency: "EUR",
		Rates:    showback.Rates{Classes: map[pool.Class]int64{pool.CPU: 10_000, pool.Memory: 4}, Flavors: map[string]int64{"small": 5_000_000}},
		Drivers:  map[string]showback.Rates{"b": {Classes: map[pool.Class]int64{pool.CPU: 20_000}, Flavors: map[string]int64{"small": 7}}},
	}
	for name, c := range map[string]struct {
		u        *showback.Usage
		total    int64
		unpriced []pool.Class
	}{
		"by class":            {hour(t, "", "a/h1", allocation(2500, 2*pool.GiB)), 25_008, nil},
		"of a driver":         {hour(t, "", "b/h1", allocation(2500, 2*pool.GiB)), 50_008, nil},
		"by flavor":           {hour(t, "small", "a/h1", allocation(2500, 2*pool.GiB)), 5_000_000, nil},
		"flavor of a driver":  {hour(t, "small", "b/h1", allocation(2500, 2*pool.GiB)), 7, nil},
		"a flavor not priced": {hour(t, "large", "a/h1", allocation(1000, 0)), 10_000, nil},
		"half of a millionth": {hour(t, "", "a/h1", allocation(0, pool.GiB/8)), 1, nil},
		"less than half":      {hour(t, "", "a/h1", allocation(0, pool.GiB/8-1)), 0, nil},
		"a class not priced":  {hour(t, "", "a/h1", pool.Allocation{Resources: pool.Resources{"own": 3, pool.CPU: 1000}}), 10_000, []pool.Class{"own"}},
		"covered by a flavor": {hour(t, "small", "a/h1", pool.Allocation{Resources: pool.Resources{"own": 3}}), 5_000_000, nil},
		"nothing":             {newTape(t).measure(0, 1), 0, nil},
		"amounts like these":  {hour(t, "", "a/h1", allocation(0, 1<<62)), 4 << 32, nil},
	} {
		b, err := prices.Bill(c.u)
		require.NoError(t, err, name)
		require.Equal(t, c.total, b.Total, name)
		require.ElementsMatch(t, c.unpriced, b.Unpriced, name)
		sum := int64(0)
		for _, n := range b.Costs() {
			sum += n
		}
		require.Equal(t, b.Total, sum, name)
	}
	for name, price := range map[string]int64{"one line": math.MaxInt64, "the sum": math.MaxInt64 / 3} {
		p := showback.Prices{Rates: showback.Rates{Classes: map[pool.Class]int64{pool.CPU: price, pool.Memory: price}}}
		_, err := p.Bill(hour(t, "", "a/h1", allocation(2000, 2*pool.GiB)))
		require.ErrorIs(t, err, pool.ErrOverflow, name)
	}
	for name, bad := range map[string]showback.Prices{
		"negative":       {Rates: showback.Rates{Classes: map[pool.Class]int64{pool.CPU: -1}}},
		"flavor":         {Rates: showback.Rates{Flavors: map[string]int64{"f": -1}}},
		"driver":         {Drivers: map[string]showback.Rates{"d": {Flavors: map[string]int64{"f": -1}}}},
		"hostile class":  {Rates: showback.Rates{Classes: map[pool.Class]int64{"A b": 1}}},
		"strange money":  {Currency: "E\nUR"},
		"long-winded it": {Currency: strings.Repeat("x", 17)},
	} {
		_, err := bad.Bill(newTape(t).measure(0, 1))
		require.ErrorIs(t, err, pool.ErrInvalid, name)
	}
}

// A month of a large pool is no overflow: amounts over time are as long as they are.
func TestLargeAmounts(t *testing.T) {
	t.Parallel()
	p := newTape(t)
	p.launch(0, 1, "a/h1", allocation(0, math.MaxInt64/4))
	u := p.measure(0, 31*86400)
	want := new(big.Int).Mul(big.NewInt(math.MaxInt64/4), big.NewInt(31*86400))
	require.Equal(t, want.String(), shown(u)["p a memory"])
	require.Equal(t, new(big.Int).Mul(want, big.NewInt(1e6)), u.Lines()[1].Held.MicroUnits())
}

func bill(t testing.TB) *showback.Bill {
	p := newTape(t)
	p.launch(0, 1, "a/h1", allocation(2000, pool.GiB), func(l *pool.Launched) { l.Owner, l.Spec.Flavor = "=cmd|' /C calc'!A0", "small" })
	p.launch(1800, 2, "b/h1", allocation(1000, 0), func(l *pool.Launched) { l.Owner = `u, "1"` })
	b, err := showback.Prices{Currency: "EUR", Rates: showback.Rates{Classes: map[pool.Class]int64{pool.CPU: 10_000}}}.Bill(p.measure(0, 3600))
	require.NoError(t, err)
	return b
}

func TestWriteCSV(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, bill(t).WriteCSV(&out))
	require.Equal(t, strings.ReplaceAll(`from,until,project,owner,driver,flavor,class,held,price,cost,currency
2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,p,'=cmd|' /C calc'!A0,a,small,cpu,7200000,10000,20000,EUR
2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,p,'=cmd|' /C calc'!A0,a,small,instances,3600,,0,EUR
2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,p,'=cmd|' /C calc'!A0,a,small,memory,3865470566400,,0,EUR
2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,p,"u, ""1""",b,,cpu,1800000,10000,5000,EUR
2026-11-01T00:00:00Z,2026-11-01T01:00:00Z,p,"u, ""1""",b,,instances,1800,,0,EUR
`, "\n", "\r\n"), out.String())
}

func TestWriteJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, bill(t).WriteJSON(&out))
	var back struct {
		Total    int64            `json:"total"`
		Unpriced []string         `json:"unpriced"`
		Items    []map[string]any `json:"items"`
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &back))
	require.EqualValues(t, 25_000, back.Total)
	require.Equal(t, []string{"memory"}, back.Unpriced)
	require.Equal(t, map[string]any{
		"project": "p", "owner": `u, "1"`, "driver": "b", "class": "cpu", "held": "1800000", "priced": true, "price": 10000.0, "cost": 5000.0,
	}, back.Items[3])
}

// FuzzWriteCSV: whatever an owner is called, the file is read as it was written, and no cell is a formula.
func FuzzWriteCSV(f *testing.F) {
	for _, s := range []string{"", "u-1", "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1", `"`, "a,b", "'=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, owner string) {
		if pool.ValidOwner(owner) != nil {
			return
		}
		b := &showback.Bill{Items: []showback.Item{{Line: showback.Line{Key: showback.Key{Project: "p", Owner: owner, Class: pool.CPU}}}}}
		var out bytes.Buffer
		require.NoError(t, b.WriteCSV(&out))
		rows, err := csv.NewReader(&out).ReadAll()
		require.NoError(t, err)
		cell := rows[1][3]
		require.Contains(t, []string{owner, "'" + owner}, cell)
		require.False(t, strings.ContainsAny(cell[:1], "=+-@"))
	})
}
