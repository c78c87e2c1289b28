package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota/showback"
)

// priceFile is what the file says that --prices names: YAML, or JSON. Prices are per hour, in the currency, with six decimals at most.
type priceFile struct {
	Currency string                 `json:"currency"`
	Classes  map[string]json.Number `json:"classes"` // of a core, a GiB of memory or storage, a GPU, an instance
	Flavors  map[string]json.Number `json:"flavors"` // of an instance of the flavor as a whole, instead
	Drivers  map[string]struct {
		Classes map[string]json.Number `json:"classes"`
		Flavors map[string]json.Number `json:"flavors"`
	} `json:"drivers"` // of the hosts of a driver, price by price instead of the others
}

// readPrices reads the file; none without a name.
func readPrices(name string) (showback.Prices, error) {
	var p showback.Prices
	if name == "" {
		return p, nil
	}
	var f priceFile
	err := readYAML(name, &f)
	if err == nil && f.Currency == "" {
		err = fmt.Errorf("currency: what the prices are in, such as EUR")
	}
	p.Currency = f.Currency
	if err == nil {
		p.Rates, err = rates(f.Classes, f.Flavors)
	}
	for driver, d := range f.Drivers {
		if err != nil {
			break
		}
		if p.Drivers == nil {
			p.Drivers = make(map[string]showback.Rates)
		}
		p.Drivers[driver], err = rates(d.Classes, d.Flavors)
	}
	if err == nil {
		err = p.Valid()
	}
	if err != nil {
		return p, fmt.Errorf("prices: %s: %w", name, err)
	}
	return p, nil
}

// setPrices puts the prices of the file into the ledger, if there is a file and it has others: there they count for limits of cost
// and for bills, the same for every daemon on that ledger, until one is started with another file.
func setPrices(ctx context.Context, m *berthage.Manager, name string) error {
	p, err := readPrices(name)
	if err != nil || name == "" || m.Status().Stale != "" {
		return err
	}
	if err := m.As("berthd", "--prices").SetPrices(ctx, p); err != nil {
		return fmt.Errorf("prices: %s: %w", name, err)
	}
	return nil
}

// rates converts prices to millionths.
func rates(classes, flavors map[string]json.Number) (r showback.Rates, err error) {
	r = showback.Rates{Classes: make(map[pool.Class]int64), Flavors: make(map[string]int64)}
	for c, price := range classes {
		if r.Classes[pool.Class(c)], err = millionths(c, price); err != nil {
			return r, err
		}
	}
	for f, price := range flavors {
		if r.Flavors[f], err = millionths(f, price); err != nil {
			return r, err
		}
	}
	return r, nil
}

func millionths(of string, price json.Number) (int64, error) {
	if about, err := price.Float64(); err == nil && about >= 0 && about < 9e12 && len(price) < 40 {
		n, ok := new(big.Rat).SetString(price.String())
		if !ok {
			n = big.NewRat(-1, 1)
		}
		if n.Mul(n, big.NewRat(1e6, 1)); n.IsInt() && n.Num().IsInt64() && n.Sign() >= 0 {
			return n.Num().Int64(), nil
		}
	}
	return 0, fmt.Errorf("%s: %q: a price per hour, zero or more, with six decimals at most", of, price.String())
}
