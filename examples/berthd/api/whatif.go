package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler"
	"github.com/berthage/berthage/scheduler/packing"
	"github.com/berthage/berthage/scheduler/whatif"
)

// Bounds of one plan: placements tried, states of the packing, time; and how many plans are made side by side.
const (
	mostPlacements = 200_000
	mostStates     = 50_000_000
	mostPlanning   = 30 * time.Second
	mostPlans      = 2
)

// planned runs what may take long: bounded in time, and not too many side by side.
func planned[T any](ctx context.Context, a *api, work func(context.Context) (T, error)) (T, error) {
	var none T
	select {
	case a.planning <- struct{}{}:
		defer func() { <-a.planning }()
	default:
		p := problem.Unavailable.New("other plans are being made")
		p.RetryAfter = int(mostPlanning.Seconds()) / 6
		return none, p
	}
	ctx, cancel := context.WithTimeoutCause(ctx, mostPlanning, &pool.Error{Kind: pool.ErrInvalid, Field: "question", Want: "one that can be answered within " + mostPlanning.String()})
	defer cancel()
	out, err := work(ctx)
	if err != nil {
		return none, problem.OfBody(err)
	}
	return out, nil
}

// WhatIfBody is what would be otherwise.
type WhatIfBody struct {
	Lose      []string           `json:"lose,omitempty" maxItems:"1000" doc:"Hosts that are gone, with what is on them"`
	LoseZones []string           `json:"lose_zones,omitempty" maxItems:"100" doc:"All hosts of these zones too"`
	Add       []AddHosts         `json:"add,omitempty" maxItems:"100" doc:"Hosts that are there besides"`
	Ratios    map[string]float64 `json:"ratios,omitempty" doc:"Over-commit ratios of all servers, per class"`
	Demand    []WhatIfDemand     `json:"demand,omitempty" maxItems:"100" doc:"Instances that are wanted besides"`
	Fits      *WhatIfFits        `json:"fits,omitempty" doc:"How many more of these would fit, before and after"`
	Growth    float64            `json:"growth,omitempty" minimum:"1" maximum:"1000" doc:"Times what is placed now: 1.2 is a fifth more" example:"1.2"`
	Spare     int                `json:"spare,omitempty" minimum:"0" maximum:"1000" doc:"N+k: so many servers may fail at once, and the others still hold everything"`
	Buy       []string           `json:"buy,omitempty" maxItems:"16" doc:"Hosts like which more could be had; without any, one of the most frequent kind"`
}

// AddHosts is a number of hosts like one that is there.
type AddHosts struct {
	Like  string `json:"like" doc:"Id of a server" example:"sim/node-0001"`
	Count int    `json:"count" minimum:"0" maximum:"100000" example:"2"`
	Zone  string `json:"zone,omitempty" maxLength:"63" doc:"Of the new ones; empty: that of the other"`
}

// WhatIfDemand is a number of instances of one spec.
type WhatIfDemand struct {
	Name    string `json:"name,omitempty" maxLength:"255" doc:"For people" example:"the new shop"`
	Project string `json:"project" minLength:"1" maxLength:"63" doc:"Its quota is not asked" example:"default"`
	Spec    Spec   `json:"spec" doc:"What is asked of each"`
	Count   int    `json:"count" minimum:"0" maximum:"200000" example:"10"`
}

// WhatIfFits is of what it is counted how many more fit.
type WhatIfFits struct {
	Project string `json:"project" minLength:"1" maxLength:"63" doc:"Its quota is not asked" example:"default"`
	Spec    Spec   `json:"spec" doc:"Without a flavor and without resources: of each flavor, each alone"`
}

// WhatIfRoom is how many more fit.
type WhatIfRoom struct {
	Name   string `json:"name,omitempty" doc:"The flavor" example:"small"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
}

// WhatIf is what would be.
type WhatIf struct {
	Revision  int64                `json:"revision" doc:"Of the books on which this rests; they are not changed"`
	Fits      bool                 `json:"fits" doc:"Everything is placed, nothing is overfull, and all failures that were asked for are survived"`
	Displaced Outcome              `json:"displaced" doc:"Instances of the lost hosts"`
	Demand    []Outcome            `json:"demand" nullable:"false" doc:"In the order of the question"`
	Growth    Outcome              `json:"growth" doc:"Instances that growth brings"`
	Untried   int                  `json:"untried,omitempty" doc:"Instances that there was no work left for"`
	Overfull  int                  `json:"overfull,omitempty" doc:"Servers that would have to carry more than their capacity"`
	HowMany   []WhatIfRoom         `json:"how_many" nullable:"false" doc:"How many more fit, where that is asked; flavors that no instance may have are left out"`
	Use       map[string]WhatIfUse `json:"use" doc:"Of all servers that are not lost, per class"`
	Hosts     []WhatIfHost         `json:"hosts" nullable:"false" doc:"By id; those lost and those added too"`
	Spare     *WhatIfSpare         `json:"spare,omitempty"`
	Missing   *Missing             `json:"missing,omitempty" doc:"Where it does not all fit"`
}

// Outcome is what became of a number of instances.
type Outcome struct {
	Name    string           `json:"name,omitempty"`
	Asked   int              `json:"asked"`
	Placed  int              `json:"placed"`
	Refused []WhatIfRefusals `json:"refused" nullable:"false" doc:"By what they ask for"`
}

// WhatIfRefusals are instances that ask for the same and do not fit.
type WhatIfRefusals struct {
	Count  int              `json:"count"`
	Name   string           `json:"name,omitempty" doc:"Of one of them"`
	Reason *problem.Refusal `json:"reason" doc:"Why; the verdicts on single hosts are left out"`
}

// WhatIfUse is one class before and after.
type WhatIfUse struct {
	Capacity      int64 `json:"capacity"`
	Used          int64 `json:"used"`
	CapacityAfter int64 `json:"capacity_after"`
	UsedAfter     int64 `json:"used_after"`
}

// WhatIfHost is how full a host would be.
type WhatIfHost struct {
	Host      string               `json:"host"`
	Zone      string               `json:"zone,omitempty"`
	Lost      bool                 `json:"lost,omitempty"`
	Added     bool                 `json:"added,omitempty"`
	Part      float64              `json:"part" doc:"Of its capacity that is used afterwards, of the class of which most is; more than 1: overfull"`
	Instances int                  `json:"instances" doc:"On it now"`
	After     int                  `json:"after" doc:"And afterwards"`
	Use       map[string]WhatIfUse `json:"use"`
}

// WhatIfSpare is what became of hosts that fail.
type WhatIfSpare struct {
	Hosts     int      `json:"hosts" doc:"That fail at once"`
	Sets      int      `json:"sets" doc:"Of such hosts: each server in turn, with the most used others"`
	Survived  int      `json:"survived" doc:"Sets of which everything fits on the other hosts"`
	Untried   int      `json:"untried,omitempty" doc:"Sets that there was no work left for"`
	Worst     []string `json:"worst" nullable:"false" doc:"The set of which most fits nowhere"`
	Displaced Outcome  `json:"displaced" doc:"Of the worst"`
}

// Missing is how many more hosts it takes.
type Missing struct {
	Hosts     int64         `json:"hosts" doc:"Would do if everything were packed anew"`
	Least     int64         `json:"least" doc:"Certified: fewer cannot do, whatever is moved"`
	Never     int64         `json:"never,omitempty" doc:"Refused instances that are on no kind of server"`
	Uncovered int64         `json:"uncovered,omitempty" doc:"Spare hosts for large servers for which no kind that can be had stands in"`
	Kinds     []MissingKind `json:"kinds" nullable:"false"`
}

// MissingKind is a kind of host that could be had.
type MissingKind struct {
	Like  string `json:"like" doc:"Id of a host of that kind"`
	Hosts int64  `json:"hosts" doc:"Of those that would do if everything were packed anew"`
	Alone *int   `json:"alone,omitempty" doc:"Of this kind only, and nothing that is there moved; absent where there was no work left for that"`
	Unfit int    `json:"unfit,omitempty" doc:"Instances that would be refused even then"`
}

func (b *WhatIfBody) question() (whatif.Question, []berthage.WhatIfDemand, error) {
	q := whatif.Question{LoseZones: b.LoseZones, Spare: b.Spare, Lose: hostIDs(b.Lose), Buy: hostIDs(b.Buy)}
	for _, x := range b.Add {
		q.Add = append(q.Add, whatif.Addition{Like: pool.HostID(x.Like), Count: x.Count, Zone: x.Zone})
	}
	ratio := func(field string, x float64) (pool.Ratio, error) {
		r, err := pool.ParseRatio(strconv.FormatFloat(x, 'f', -1, 64))
		return r, pool.InField(field, err)
	}
	var err error
	if b.Growth != 0 {
		if q.Growth, err = ratio("growth", b.Growth); err != nil {
			return q, nil, err
		}
	}
	if len(b.Ratios) > 0 {
		q.Ratios = make(map[pool.Class]pool.Ratio)
	}
	for c, x := range b.Ratios {
		if q.Ratios[pool.Class(c)], err = ratio("ratios."+c, x); err != nil {
			return q, nil, err
		}
	}
	var demand []berthage.WhatIfDemand
	for _, d := range b.Demand {
		demand = append(demand, berthage.WhatIfDemand{Name: d.Name, Project: d.Project, Spec: d.Spec.spec(), Count: d.Count})
	}
	return q, demand, nil
}

// of returns what is counted: one spec, or every flavor that may be launched.
func (f *WhatIfFits) of(a *api) []berthage.WhatIfDemand {
	if f == nil {
		return nil
	}
	one := berthage.WhatIfDemand{Name: f.Spec.Flavor, Project: f.Project, Spec: f.Spec.spec(), Fits: true}
	if one.Spec.Flavor != "" || len(one.Spec.Resources) > 0 {
		return []berthage.WhatIfDemand{one}
	}
	var out []berthage.WhatIfDemand
	var refused error
	for _, name := range a.flavorNames() {
		one.Name, one.Spec.Flavor = name, name
		if _, err := a.c.Manager.Explain(berthage.Launch{Token: "what-if", Project: f.Project, Name: "what-if", Spec: one.Spec}); err != nil {
			refused = err
			continue
		}
		out = append(out, one)
	}
	if len(out) == 0 && refused != nil { // then it is most likely not the flavors that are wrong
		return []berthage.WhatIfDemand{one}
	}
	return out
}

func hostIDs(in []string) []pool.HostID {
	var out []pool.HostID
	for _, h := range in {
		out = append(out, pool.HostID(h))
	}
	return out
}

func outcome(o whatif.Outcome) Outcome {
	out := Outcome{Name: o.Name, Asked: o.Asked, Placed: o.Placed, Refused: []WhatIfRefusals{}}
	for _, r := range o.Refused {
		out.Refused = append(out.Refused, WhatIfRefusals{
			Count: r.Count, Name: r.Name,
			Reason: problem.NewRefusal(scheduler.Explanation{Demand: r.Demand, Counts: r.Counts, Never: r.Never, Nearest: r.Nearest}),
		})
	}
	return out
}

func whatIfUse(in map[pool.Class]whatif.Use) map[string]WhatIfUse {
	out := make(map[string]WhatIfUse, len(in))
	for c, u := range in {
		out[string(c)] = WhatIfUse(u)
	}
	return out
}

func whatIf(w *whatif.Answer) WhatIf {
	out := WhatIf{
		Revision: int64(w.Revision), Fits: w.Fits(), Displaced: outcome(w.Displaced), Growth: outcome(w.Growth), Demand: []Outcome{}, HowMany: []WhatIfRoom{},
		Untried: w.Untried, Overfull: w.Overfull, Use: whatIfUse(w.Use), Hosts: []WhatIfHost{},
	}
	for _, d := range w.Demand {
		out.Demand = append(out.Demand, outcome(d))
	}
	for _, r := range w.HowMany {
		out.HowMany = append(out.HowMany, WhatIfRoom(r))
	}
	for n := range w.Hosts {
		h := &w.Hosts[n]
		out.Hosts = append(out.Hosts, WhatIfHost{
			Host: string(h.Host), Zone: h.Zone, Lost: h.Lost, Added: h.Added, Part: h.Part(), Instances: h.Instances, After: h.After, Use: whatIfUse(h.Use),
		})
	}
	if s := w.Spare; s != nil {
		out.Spare = &WhatIfSpare{Hosts: s.Hosts, Sets: s.Sets, Survived: s.Survived, Untried: s.Untried, Worst: names(s.Worst), Displaced: outcome(s.Displaced)}
	}
	if m := w.Missing; m != nil {
		out.Missing = &Missing{Hosts: m.Hosts, Least: m.Least, Never: m.Never, Uncovered: m.Uncovered, Kinds: []MissingKind{}}
		for _, k := range m.Kinds {
			out.Missing.Kinds = append(out.Missing.Kinds, MissingKind{Like: string(k.Like), Hosts: k.Hosts, Alone: k.Alone, Unfit: k.Unfit})
		}
	}
	return out
}

// CapacityBody is what hosts are to be provided for.
type CapacityBody struct {
	Items        []CapacityItem `json:"items" nullable:"false" maxItems:"5000" doc:"What is to be placed"`
	Hosts        []CapacityHost `json:"hosts" nullable:"false" maxItems:"100" doc:"Kinds of host that are there or can be had"`
	Growth       float64        `json:"growth,omitempty" minimum:"0.001" maximum:"1000" doc:"Times every count, rounded up" example:"1.5"`
	Spare        int64          `json:"spare,omitempty" minimum:"0" maximum:"1000000" doc:"Hosts that may fail at once"`
	Domains      int64          `json:"domains,omitempty" minimum:"0" maximum:"1000" doc:"Failure domains over which the hosts are spread evenly"`
	SpareDomains int64          `json:"spare_domains,omitempty" minimum:"0" maximum:"1000" doc:"Of these, those that may fail at once"`
}

// CapacityItem is a size with a count.
type CapacityItem struct {
	Name      string  `json:"name,omitempty" maxLength:"255" example:"small"`
	Resources Amounts `json:"resources" doc:"Of each; storage too, by its class"`
	Count     int64   `json:"count" minimum:"0" maximum:"1000000000" example:"100"`
}

// CapacityHost is a kind of host.
type CapacityHost struct {
	Name     string                   `json:"name,omitempty" maxLength:"255" example:"64 cores"`
	Capacity Amounts                  `json:"capacity" doc:"What instances may take of one"`
	Units    map[string]packing.Units `json:"units,omitempty" doc:"What one instance may take of a class"`
	Count    int64                    `json:"count,omitempty" minimum:"0" maximum:"1000000000" doc:"How many there are; 0: no limit, but of owned ones none"`
	Cost     int64                    `json:"cost,omitempty" minimum:"0" maximum:"1000000000" doc:"Of one; 0 is 1, so that the fewest are sought"`
	Owned    bool                     `json:"owned,omitempty" doc:"They are there already, and cost nothing"`
}

// Capacity is how many hosts of which kind it takes.
type Capacity struct {
	Kinds   []CapacityKind  `json:"kinds" nullable:"false" doc:"In the order of the question"`
	Hosts   int64           `json:"hosts" doc:"In all"`
	Cost    int64           `json:"cost" doc:"Of those that are not owned; their number unless costs are given"`
	Least   int64           `json:"least" doc:"Certified: nothing that holds all of it costs less"`
	Optimal bool            `json:"optimal" doc:"The cost is just that"`
	Never   []CapacityShort `json:"never" nullable:"false" doc:"Items that fit on no kind of host; the rest is as if they had not been asked for"`
	Short   []CapacityShort `json:"short" nullable:"false" doc:"Items for which hosts with a count do not suffice"`
	Missing int64           `json:"missing,omitempty" doc:"Spare hosts that cannot be had"`
}

// CapacityKind is how many hosts of a kind it takes.
type CapacityKind struct {
	Name      string `json:"name,omitempty"`
	Total     int64  `json:"total"`
	PerDomain int64  `json:"per_domain"`
	Busy      int64  `json:"busy" doc:"Carry what was asked for once all that may fail has failed"`
	Spare     int64  `json:"spare" doc:"Stand in for hosts that fail"`
}

// CapacityShort is a number of instances of an item.
type CapacityShort struct {
	Item  int    `json:"item" doc:"Its index in the question"`
	Name  string `json:"name,omitempty"`
	Count int64  `json:"count"`
	Class string `json:"class,omitempty" doc:"Of which the nearest kind of host has too little, or by its limits allows no such amount"`
}

func (b *CapacityBody) need() (*packing.Need, error) {
	n := &packing.Need{Spare: b.Spare, Domains: b.Domains, SpareDomains: b.SpareDomains}
	for _, i := range b.Items {
		n.Items = append(n.Items, packing.Item{Name: i.Name, Resources: i.Resources.resources(), Count: i.Count})
	}
	for _, h := range b.Hosts {
		k := packing.HostKind{Name: h.Name, Capacity: h.Capacity.resources(), Count: h.Count, Cost: h.Cost, Owned: h.Owned}
		if len(h.Units) > 0 {
			k.Units = make(map[pool.Class]packing.Units)
		}
		for c, u := range h.Units {
			k.Units[pool.Class(c)] = u
		}
		n.Hosts = append(n.Hosts, k)
	}
	var err error
	if b.Growth != 0 {
		n.Growth, err = pool.ParseRatio(strconv.FormatFloat(b.Growth, 'f', -1, 64))
	}
	return n, pool.InField("growth", err)
}

// presentCapacity is the question that a pool is today.
func presentCapacity(p *packing.Problem) CapacityBody {
	out := CapacityBody{Items: []CapacityItem{}, Hosts: []CapacityHost{}}
	for _, i := range p.Items {
		out.Items = append(out.Items, CapacityItem{Name: i.Name, Resources: amounts(i.Resources), Count: i.Count})
	}
	for _, h := range p.Hosts {
		k := CapacityHost{Name: h.Name, Capacity: amounts(h.Capacity), Count: h.Count, Owned: true}
		if len(h.Units) > 0 {
			k.Units = make(map[string]packing.Units)
		}
		for c, u := range h.Units {
			k.Units[string(c)] = u
		}
		out.Hosts = append(out.Hosts, k)
	}
	return out
}

func capacity(n *packing.Need, c *packing.Capacity) Capacity {
	out := Capacity{
		Kinds: []CapacityKind{}, Hosts: c.Hosts, Cost: c.Cost, Least: c.Least, Optimal: c.Cost == c.Least && len(c.Plan.Short) == 0,
		Never: []CapacityShort{}, Short: []CapacityShort{}, Missing: c.Missing,
	}
	for i, k := range c.Kinds {
		out.Kinds = append(out.Kinds, CapacityKind{Name: n.Hosts[i].Name, Total: k.Total, PerDomain: k.PerDomain, Busy: k.Busy, Spare: k.Spare})
	}
	for _, x := range c.Plan.Never {
		out.Never = append(out.Never, CapacityShort{Item: x.Item, Name: n.Items[x.Item].Name, Count: x.Count, Class: string(x.Class)})
	}
	for _, x := range c.Plan.Short {
		out.Short = append(out.Short, CapacityShort{Item: x.Item, Name: n.Items[x.Item].Name, Count: x.Count})
	}
	return out
}

func (a *api) registerWhatIf() {
	op := describe("what-if", http.MethodPost, "/what-if", "Plans", "Ask what would be",
		"Hosts lost or added, other ratios, more instances, growth, hosts that may fail: what would fit, what would not and why, how full each host would be, and how many hosts are missing. "+
			"It is decided on a copy of the books by the scheduler that places for real, and changes nothing. Quotas are not asked.")
	register(a, may(auth.Plans, auth.Create), nowhere, withExample(op, WhatIfBody{
		Lose: []string{"sim/node-0001"}, Add: []AddHosts{{Like: "sim/node-0002", Count: 1}}, Growth: 1.2, Spare: 1,
		Demand: []WhatIfDemand{{Name: "the new shop", Project: "default", Spec: Spec{Image: "debian-12", Flavor: "small"}, Count: 10}},
	}), func(ctx context.Context, in *struct{ Body WhatIfBody }) (*struct{ Body WhatIf }, error) {
		q, demand, err := in.Body.question()
		if err != nil {
			return nil, problem.OfBody(err)
		}
		return planned(ctx, a, func(ctx context.Context) (*struct{ Body WhatIf }, error) {
			w, err := a.c.Manager.WhatIf(ctx, q, append(demand, in.Body.Fits.of(a)...), whatif.Options{Placements: mostPlacements, Packing: mostStates})
			if err != nil {
				return nil, err
			}
			return &struct{ Body WhatIf }{whatIf(w)}, nil
		})
	})
	register(a, reads(auth.Plans), nowhere, describe("get-capacity", http.MethodGet, "/capacity", "Plans", "The present demand and hosts",
		"What is placed on servers, by size, and the servers that accept instances, by kind: a question about the pool as it is, to be changed and asked by POST. Asked as it is, it tells how few hosts there have to be besides those that are there: none. "+
			"Without owned it tells how few of them could carry everything, packed anew."),
		func(context.Context, *struct{}) (*struct{ Body CapacityBody }, error) {
			var p *packing.Problem
			a.c.Manager.View(func(st *pool.State) { p = packing.FromBooks(st) })
			return &struct{ Body CapacityBody }{presentCapacity(p)}, nil
		})
	op = describe("plan-capacity", http.MethodPost, "/capacity", "Plans", "Plan hosts for a demand",
		"The fewest or cheapest hosts for a demand that grows, of which some may fail, with a certified bound. It knows resources and limits of units only, and does not look at the pool: what is there already is a kind that is owned.")
	register(a, may(auth.Plans, auth.Create), nowhere, withExample(op, CapacityBody{
		Items: []CapacityItem{{Name: "small", Resources: Amounts{"cpu": 2000, "memory": 4 << 30}, Count: 300}}, Growth: 1.5, Spare: 1,
		Hosts: []CapacityHost{{Name: "here already", Capacity: Amounts{"cpu": 32000, "memory": 128 << 30}, Count: 9, Owned: true}, {Name: "64 cores", Capacity: Amounts{"cpu": 64000, "memory": 256 << 30}}},
	}), func(ctx context.Context, in *struct{ Body CapacityBody }) (*struct{ Body Capacity }, error) {
		need, err := in.Body.need()
		if err != nil {
			return nil, problem.OfBody(err)
		}
		return planned(ctx, a, func(ctx context.Context) (*struct{ Body Capacity }, error) {
			c, err := packing.Provide(ctx, need, packing.Options{Work: mostStates})
			if c == nil {
				return nil, err
			}
			return &struct{ Body Capacity }{capacity(need, c)}, nil // when time is over, what was found till then
		})
	})
}
