package showback

import (
	"encoding/json"
	"maps"
	"math"
	"math/bits"
	"time"

	"github.com/berthage/berthage/pool"
)

// PartName is the name of Booked as a pool.Part, with which its kind of event begins.
const PartName = "prices"

// KindSet is the kind of event of Booked: Prices, all that there are from then on.
const KindSet = "prices.set"

// Booked are the prices that stand in the ledger, as a pool.Part and pool.Pricer: by them what instances cost is counted, and limited,
// by every program that reads the ledger in the same way. It is immutable; the zero value has no prices.
type Booked struct{ prices *Prices }

// Prices returns a copy of the prices.
func (b Booked) Prices() Prices {
	if b.prices == nil {
		return Prices{}
	}
	return b.prices.Clone()
}

// Clone returns a deep copy.
func (p Prices) Clone() Prices {
	p.Rates = p.Rates.clone()
	p.Drivers = maps.Clone(p.Drivers)
	for d, r := range p.Drivers {
		p.Drivers[d] = r.clone()
	}
	return p
}

func (r Rates) clone() Rates { return Rates{maps.Clone(r.Classes), maps.Clone(r.Flavors)} }

// Equal reports whether both are the same; a price of zero and none differ.
func (p Prices) Equal(o Prices) bool {
	return p.Currency == o.Currency && p.Rates.equal(o.Rates) && maps.EqualFunc(p.Drivers, o.Drivers, Rates.equal)
}

func (r Rates) equal(o Rates) bool {
	return maps.Equal(r.Classes, o.Classes) && maps.Equal(r.Flavors, o.Flavors)
}

// Name implements pool.Part.
func (Booked) Name() string { return PartName }

// Decide returns the event that follows from a command, which is Prices as JSON: none where they are the prices already. It is pure.
func (b Booked) Decide(_ *pool.State, command json.RawMessage, _ time.Time) ([]pool.Event, error) {
	p, err := readPrices(command)
	if err != nil || b.Prices().Equal(*p) {
		return nil, err
	}
	e, err := pool.PartEvent(KindSet, 1, p)
	return []pool.Event{e}, err
}

func readPrices(b []byte) (*Prices, error) {
	p := new(Prices)
	err := pool.PartData(b, p)
	if err == nil {
		err = p.Valid()
	}
	return p, err
}

// Fold implements pool.Part.
func (b Booked) Fold(e *pool.Event) (pool.Part, error) {
	switch {
	case e.Kind == pool.KindForgotten: // there is nothing personal in it
		return b, nil
	case e.Kind != KindSet || e.Version != 1:
		return nil, &pool.Error{Kind: pool.ErrUnknownKind, Field: "kind", Value: e.Kind}
	}
	return b.Load(e.Data)
}

// Save implements pool.Part.
func (b Booked) Save() ([]byte, error) {
	if b.prices == nil {
		return nil, nil
	}
	return json.Marshal(b.prices)
}

// Load implements pool.Part.
func (Booked) Load(saved []byte) (pool.Part, error) {
	p, err := readPrices(saved)
	if err != nil {
		return nil, err
	}
	return Booked{p}, nil
}

// Rate implements pool.Pricer, as Prices.Rate.
func (b Booked) Rate(driver, flavor string, r pool.Resources) int64 {
	if b.prices == nil {
		return 0
	}
	return b.prices.Rate(driver, flavor, r)
}

// Rate returns what it costs an hour, in millionths, to hold resources on a host of a driver for one instance of a flavor, which may be none: what a
// Bill of an hour of that instance alone comes to. Without a driver it is the least that it costs with any. What has no price costs
// nothing, and what no int64 holds is the most that one does.
func (p *Prices) Rate(driver, flavor string, r pool.Resources) int64 {
	if driver != "" || len(p.Drivers) == 0 {
		return p.rate(driver, flavor, r)
	}
	least := p.rate("", flavor, r) // of the drivers without prices of their own
	for d := range p.Drivers {
		least = min(least, p.rate(d, flavor, r))
	}
	return least
}

func (p *Prices) rate(driver, flavor string, r pool.Resources) int64 {
	k := Key{Driver: driver, Flavor: flavor, Class: pool.Instances}
	sum, whole, _ := p.of(k)
	if whole {
		return sum
	}
	for c, n := range r {
		if k.Class = c; c == pool.Instances || n <= 0 {
			continue
		}
		price, _, _ := p.of(k)
		cost := hourly(n, price, Unit(c))
		if sum += cost; sum < 0 {
			return math.MaxInt64
		}
	}
	return sum
}

// hourly returns amount times price by unit, to the nearest, halves up.
func hourly(amount, price, unit int64) int64 {
	high, low := bits.Mul64(uint64(amount), uint64(price))
	low, carry := bits.Add64(low, uint64(unit)/2, 0)
	if high += carry; high >= uint64(unit) {
		return math.MaxInt64
	}
	n, _ := bits.Div64(high, low, uint64(unit))
	return int64(min(n, math.MaxInt64))
}
