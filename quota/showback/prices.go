package showback

import (
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berthage/berthage/pool"
)

// Rates are prices per hour in millionths of the currency, zero or more.
type Rates struct {
	Classes map[pool.Class]int64 `json:"classes,omitempty"` // of Unit(class); of pool.Instances: of each instance
	Flavors map[string]int64     `json:"flavors,omitempty"` // of each instance of the flavor, in place of all its classes
}

// Prices are what is charged for. What has no price is shown without one, and listed in Bill.Unpriced.
type Prices struct {
	Currency string           `json:"currency"` // for people: "EUR"
	Rates                     // of all hosts
	Drivers  map[string]Rates `json:"drivers,omitempty"` // of the hosts of a driver, price by price in place of the others
}

// Unit returns how much of a class its price is for: a core, a GiB of memory or storage, a whole GPU; one of any other class.
func Unit(c pool.Class) int64 {
	switch {
	case c == pool.CPU:
		return pool.Core
	case c == pool.Memory, strings.HasPrefix(string(c), "storage."):
		return pool.GiB
	case c == pool.GPUShare:
		return 1000
	}
	return 1
}

// Valid reports, as an error, what is malformed.
func (p Prices) Valid() error {
	if err := pool.ValidText(p.Currency, 16); err != nil {
		return pool.InField("currency", err)
	}
	if err := p.Rates.valid(); err != nil {
		return err
	}
	for _, d := range slices.Sorted(maps.Keys(p.Drivers)) {
		if err := p.Drivers[d].valid(); err != nil {
			return pool.InField("drivers["+pool.Quote(d)+"]", err)
		}
	}
	return nil
}

func (r Rates) valid() error {
	for _, c := range slices.Sorted(maps.Keys(r.Classes)) {
		if err := c.Valid(); err != nil {
			return pool.InField("classes", err)
		}
		if c == pool.Cost {
			return invalid("classes."+string(c), "", "a class that is held, not what it costs")
		}
		if n := r.Classes[c]; n < 0 {
			return invalid("classes."+string(c), strconv.FormatInt(n, 10), "zero or more")
		}
	}
	for _, f := range slices.Sorted(maps.Keys(r.Flavors)) {
		if n := r.Flavors[f]; n < 0 {
			return invalid("flavors["+pool.Quote(f)+"]", strconv.FormatInt(n, 10), "zero or more")
		}
	}
	return nil
}

// Item is a line of a Bill.
type Item struct {
	Line
	Priced bool  `json:"priced"`          // there is a price, or that of the flavor covers it
	Price  int64 `json:"price"`           // per Unit(class) and hour, in millionths; zero where the flavor's covers it
	Cost   int64 `json:"cost"`            // in millionths, rounded to the nearest, halves up
	Whole  bool  `json:"whole,omitempty"` // it is the flavor's price, for the instance as a whole
}

// Bill is what usage comes to.
type Bill struct {
	From     time.Time    `json:"from"`
	Until    time.Time    `json:"until"`
	Currency string       `json:"currency"`
	Items    []Item       `json:"items"`
	Total    int64        `json:"total"`    // the sum of the items' costs, in millionths
	Unpriced []pool.Class `json:"unpriced"` // of which something was used and nothing was charged for want of a price
}

// Bill prices usage. A cost or a sum that no int64 holds is pool.ErrOverflow.
func (p Prices) Bill(u *Usage) (*Bill, error) {
	if err := p.Valid(); err != nil {
		return nil, pool.InField("prices", err)
	}
	b := &Bill{From: u.from, Until: u.until, Currency: p.Currency, Items: []Item{}, Unpriced: []pool.Class{}}
	for _, l := range u.Lines() {
		i := Item{Line: l}
		i.Price, i.Whole, i.Priced = p.of(l.Key)
		cost, ok := cost(l, i.Price)
		if ok {
			i.Cost = cost
			b.Total, ok = b.Total+cost, b.Total <= b.Total+cost
		}
		if !ok {
			return nil, &pool.Error{Kind: pool.ErrOverflow, Field: "cost of project " + pool.Quote(l.Project), Want: "a sum within an int64"}
		}
		if !i.Priced && l.Class != pool.Instances && !slices.Contains(b.Unpriced, l.Class) {
			b.Unpriced = append(b.Unpriced, l.Class)
		}
		b.Items = append(b.Items, i)
	}
	slices.Sort(b.Unpriced)
	return b, nil
}

// of returns the price of what a key stands for.
func (p *Prices) of(k Key) (price int64, whole, priced bool) {
	here := p.Drivers[k.Driver]
	flavor, ok := here.Flavors[k.Flavor]
	if !ok {
		flavor, ok = p.Flavors[k.Flavor]
	}
	if ok && k.Flavor != "" {
		if k.Class == pool.Instances {
			return flavor, true, true
		}
		return 0, false, true
	}
	if price, ok = here.Classes[k.Class]; !ok {
		price, ok = p.Classes[k.Class]
	}
	return price, false, ok
}

// cost returns what a line costs: what was held, times the price, by the unit and an hour's microseconds.
func cost(l Line, price int64) (int64, bool) {
	by := new(big.Int).Mul(big.NewInt(Unit(l.Class)), big.NewInt(int64(time.Hour/time.Microsecond)))
	n := new(big.Int).Mul(l.Held.MicroUnits(), big.NewInt(price))
	n.Add(n, new(big.Int).Rsh(by, 1)).Quo(n, by)
	return n.Int64(), n.IsInt64()
}

// Costs returns what each project's items cost, in millionths.
func (b *Bill) Costs() map[string]int64 {
	out := make(map[string]int64)
	for _, i := range b.Items {
		out[i.Project] += i.Cost
	}
	return out
}
