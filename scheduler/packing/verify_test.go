package packing_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/packing"
)

// copied returns a deep copy, by the way of JSON, which must lose nothing.
func copied(t *testing.T, r *packing.Result) *packing.Result {
	t.Helper()
	b, err := json.Marshal(r)
	require.NoError(t, err)
	var out packing.Result
	require.NoError(t, json.Unmarshal(b, &out))
	return &out
}

// mixed is a problem with all that a result can have: never, short, limits, excess, several kinds.
func mixed() *packing.Problem {
	return &packing.Problem{
		Items: []packing.Item{
			{Resources: pool.Resources{pool.CPU: 2, pool.Memory: 7}, Count: 30},
			{Resources: pool.Resources{pool.CPU: 3, pool.Memory: 2}, Count: 41},
			{Resources: pool.Resources{pool.CPU: 2, pool.Memory: 7}, Count: 2},
			{Resources: pool.Resources{pool.CPU: 1, pool.GPU: 1}, Count: 9},
			{Resources: pool.Resources{pool.CPU: 99}, Count: 3},
		},
		Hosts: []packing.HostKind{
			{Capacity: pool.Resources{pool.CPU: 16, pool.Memory: 32}, Cost: 5},
			{Capacity: pool.Resources{pool.CPU: 20, pool.Memory: 24, pool.GPU: 2}, Cost: 9, Count: 4},
			{Capacity: pool.Resources{pool.CPU: 8, pool.Memory: 64}, Count: 2, Owned: true},
		},
	}
}

func TestVerifyRejects(t *testing.T) {
	t.Parallel()
	p := mixed()
	res, err := packing.Plan(t.Context(), p, packing.Options{})
	require.NoError(t, err)
	require.NoError(t, packing.Verify(t.Context(), p, res))
	require.Equal(t, []packing.Never{{Item: 4, Count: 3, Kind: 1, Class: pool.CPU, Short: 79}}, res.Never)
	require.Equal(t, []packing.Amount{{Item: 3, Count: 1}}, res.Short)
	require.NoError(t, packing.Verify(t.Context(), p, copied(t, res)))

	// A higher bound with prices that add up to it is what a liar would want.
	raise := func(c *packing.Certificate, item int, by int64) {
		c.Prices[item] += by
		c.Bound.Add(c.Bound, big.NewRat(by*p.Items[item].Count, c.Scale))
	}
	for name, c := range map[string]struct {
		change func(*packing.Result)
		want   error
	}{
		"a bound that is not the sum":   {func(r *packing.Result) { r.Certificate.Bound.Add(r.Certificate.Bound, big.NewRat(1, 1000)) }, packing.ErrCertificate},
		"no bound":                      {func(r *packing.Result) { r.Certificate.Bound = nil }, packing.ErrCertificate},
		"a price that is too high":      {func(r *packing.Result) { raise(&r.Certificate, 1, r.Certificate.Scale/1000) }, packing.ErrCertificate},
		"two prices of one size":        {func(r *packing.Result) { raise(&r.Certificate, 2, 1) }, packing.ErrCertificate},
		"a price above the penalty":     {func(r *packing.Result) { raise(&r.Certificate, 3, r.Certificate.Scale*r.Certificate.Penalty) }, packing.ErrCertificate},
		"a negative price":              {func(r *packing.Result) { raise(&r.Certificate, 1, -r.Certificate.Prices[1]-1) }, packing.ErrCertificate},
		"a price beyond all sums":       {func(r *packing.Result) { r.Certificate.Prices[1] = 1 << 62 }, packing.ErrCertificate},
		"no excess":                     {func(r *packing.Result) { r.Certificate.Excess[2] = 0 }, packing.ErrCertificate},
		"an excess without limit":       {func(r *packing.Result) { r.Certificate.Excess[0]++ }, packing.ErrCertificate},
		"a negative excess":             {func(r *packing.Result) { r.Certificate.Excess[1] = -1 }, packing.ErrCertificate},
		"a scale of nothing":            {func(r *packing.Result) { r.Certificate.Scale = 0 }, packing.ErrCertificate},
		"another penalty":               {func(r *packing.Result) { r.Certificate.Penalty = 1 }, packing.ErrCertificate},
		"too few prices":                {func(r *packing.Result) { r.Certificate.Prices = r.Certificate.Prices[1:] }, packing.ErrCertificate},
		"a least that does not follow":  {func(r *packing.Result) { r.Least++ }, packing.ErrCertificate},
		"optimal when it is not proved": {func(r *packing.Result) { r.Optimal = !r.Optimal }, packing.ErrCertificate},
		"a host less":                   {func(r *packing.Result) { r.Groups[0].Hosts-- }, packing.ErrPlan},
		"a host more":                   {func(r *packing.Result) { r.Groups[0].Hosts++ }, packing.ErrPlan},
		"a group less":                  {func(r *packing.Result) { r.Groups = r.Groups[1:] }, packing.ErrPlan},
		"a copy more":                   {func(r *packing.Result) { r.Groups[0].Loads[0].Count++ }, packing.ErrPlan},
		"a kind that is not there":      {func(r *packing.Result) { r.Groups[0].Kind = 3 }, packing.ErrPlan},
		"a kind of too few":             {func(r *packing.Result) { r.Groups[0].Kind = 2 }, packing.ErrPlan},
		"an item that is not there":     {func(r *packing.Result) { r.Groups[0].Loads[0].Item = 5 }, packing.ErrPlan},
		"less left out":                 {func(r *packing.Result) { r.Short = nil }, packing.ErrPlan},
		"more left out":                 {func(r *packing.Result) { r.Short[0].Count++ }, packing.ErrPlan},
		"never, though it fits":         {func(r *packing.Result) { r.Never = append(r.Never, packing.Never{Item: 0, Count: 30}) }, packing.ErrPlan},
		"never, not said":               {func(r *packing.Result) { r.Never = nil }, packing.ErrPlan},
		"never, twice":                  {func(r *packing.Result) { r.Never = append(r.Never, r.Never...) }, packing.ErrPlan},
		"another cost":                  {func(r *packing.Result) { r.Cost-- }, packing.ErrPlan},
		"another number of hosts":       {func(r *packing.Result) { r.Hosts-- }, packing.ErrPlan},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := copied(t, res)
			c.change(r)
			require.ErrorIs(t, packing.Verify(t.Context(), p, r), c.want)
		})
	}
}

// A result is one for its problem only.
func TestVerifyReadsTheProblem(t *testing.T) {
	t.Parallel()
	res, err := packing.Plan(t.Context(), mixed(), packing.Options{})
	require.NoError(t, err)
	for name, change := range map[string]func(*packing.Problem){
		"less room":   func(p *packing.Problem) { p.Hosts[0].Capacity[pool.CPU]-- },
		"fewer hosts": func(p *packing.Problem) { p.Hosts[2].Count-- },
		"more demand": func(p *packing.Problem) { p.Items[1].Count++ },
		"less demand": func(p *packing.Problem) { p.Items[1].Count-- },
		"larger":      func(p *packing.Problem) { p.Items[0].Resources[pool.Memory] = 17 },
	} {
		p := mixed()
		change(p)
		require.ErrorIs(t, packing.Verify(t.Context(), p, res), packing.ErrPlan, name)
	}
}

// What cannot be decided within the room given is not taken for proved.
func TestVerifyUndecided(t *testing.T) {
	t.Parallel()
	undecided := 0
	for seed := range uint64(6) {
		p := large(seed, 16, 3, 1)
		res, err := packing.Plan(t.Context(), p, packing.Options{Tight: true, Work: 20_000_000})
		require.NoError(t, err)
		require.NoError(t, packing.Verify(t.Context(), p, res))
		if err := packing.VerifyWithin(t.Context(), p, res, 1); err != nil {
			require.ErrorIs(t, err, packing.ErrUndecided)
			undecided++
		}
	}
	require.Positive(t, undecided)
}

// Whatever is changed in a certificate, it is either refused or still below the optimum.
func TestVerifyIsNotFooled(t *testing.T) {
	t.Parallel()
	accepted, refused := 0, 0
	for seed := range uint64(1500) {
		r := rand.New(rand.NewPCG(2, seed))
		p := small(r)
		if total(p) > 7 || total(p) == 0 {
			continue
		}
		res, err := packing.Plan(t.Context(), p, packing.Options{})
		require.NoError(t, err)
		c := &res.Certificate
		for range 1 + r.IntN(2) {
			i := r.IntN(len(c.Prices))
			by := r.Int64N(c.Scale/8) - c.Scale/16
			for j := range p.Items {
				if p.Items[j].Resources.Equal(p.Items[i].Resources) {
					c.Prices[j] = max(0, c.Prices[j]+by)
				}
			}
			h := r.IntN(len(c.Excess))
			if p.Hosts[h].Count > 0 {
				c.Excess[h] = max(0, c.Excess[h]+r.Int64N(c.Scale/8)-c.Scale/16)
			}
		}
		sum := new(big.Int)
		add := func(a, b int64) { sum.Add(sum, new(big.Int).Mul(big.NewInt(a), big.NewInt(b))) }
		never := make(map[int]bool)
		for _, n := range res.Never {
			never[n.Item] = true
		}
		for i := range p.Items {
			if !never[i] {
				add(p.Items[i].Count, c.Prices[i])
			}
		}
		for h := range p.Hosts {
			add(-p.Hosts[h].Count, c.Excess[h])
		}
		c.Bound.SetFrac(sum, big.NewInt(c.Scale))
		// What follows from the bound is set as a liar would; unit costs are not assumed.
		short, cost := bruteForce(p)
		optimum := big.NewRat(cost+short*c.Penalty, 1)
		err = packing.Verify(t.Context(), p, res)
		if c.Bound.Cmp(optimum) > 0 {
			require.Error(t, err, "seed %d: %v above %v", seed, c.Bound, optimum)
			refused++
		} else if err == nil || errors.Is(err, packing.ErrCertificate) {
			accepted++
		}
	}
	t.Logf("%d bounds above the optimum, all refused; %d below", refused, accepted)
	require.Positive(t, refused)
}

func TestVerifyEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := mixed()
	res, err := packing.Plan(t.Context(), p, packing.Options{})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, packing.Verify(ctx, p, res), context.Canceled)
}
