package berthage

import (
	"context"
	"encoding/json"
	"maps"
	"time"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/quota"
	"github.com/berthage/berthage/quota/showback"
)

// AskQuota asks for higher limits of a project, or of an owner within it, in the name of the Manager's caller, and returns the
// request. It stays open until DecideQuota; the same again does nothing.
//
// Errors: pool.ErrInvalid, pool.ErrNotFound for an unknown project, pool.ErrExists where the id stands for another request, and
// pool.ErrUnavailable where there are too many that are open.
func (m *Manager) AskQuota(ctx context.Context, a quota.Ask) (quota.Request, error) {
	a.Quota = maps.Clone(a.Quota)
	return m.quotaRequest(ctx, quota.Command{Ask: &a}, a.Project, a.ID, "ask for quota")
}

// DecideQuota grants, refuses or withdraws a request in the name of the Manager's caller, and returns it. Granted, the limits are
// raised in the same commit: one that has become higher meanwhile is not lowered. Who may do what of this is for the caller to check.
func (m *Manager) DecideQuota(ctx context.Context, d quota.Decision) (quota.Request, error) {
	d.Quota = maps.Clone(d.Quota)
	return m.quotaRequest(ctx, quota.Command{Decide: &d}, d.Project, d.ID, "decide on quota")
}

func (m *Manager) quotaRequest(ctx context.Context, c quota.Command, project, id, op string) (quota.Request, error) {
	b, err := json.Marshal(c)
	if err == nil {
		err = m.do(ctx, ring.Command{ToPart: &ring.ToPart{Part: quota.PartName, Command: b}})
	}
	if err != nil {
		return quota.Request{}, named(err, op)
	}
	q, ok := m.requests().Get(project, id)
	if !ok { // its project was removed since
		return q, &pool.Error{Op: op, Kind: pool.ErrNotFound, Field: "request", Value: id}
	}
	return q, nil
}

// QuotaRequests returns the requests to raise quotas of a project, or of all where it is empty, the newest first: those that are open, and
// the last ones that were decided.
func (m *Manager) QuotaRequests(project string) []quota.Request { return m.requests().Of(project) }

func (m *Manager) requests() (r quota.Requests) {
	m.View(func(st *pool.State) {
		if p, ok := st.Part(quota.PartName); ok {
			r = p.(quota.Requests)
		}
	})
	return r
}

// SetPrices makes these all the prices in the ledger, in the name of the Manager's caller: by them what instances cost an hour is counted
// as pool.Cost, for limits of it (pool.Project.Quota) and by every Manager on the ledger alike. What is held already is counted anew. The same
// again does nothing. Who may set them is for the caller to check.
//
// Errors: pool.ErrInvalid, and pool.ErrOverflow where a project would cost more than an int64 holds.
func (m *Manager) SetPrices(ctx context.Context, p showback.Prices) error {
	const op = "set prices"
	if err := p.Valid(); err != nil {
		return named(pool.InField("prices", err), op)
	}
	b, err := json.Marshal(p)
	if err == nil {
		err = m.do(ctx, ring.Command{ToPart: &ring.ToPart{Part: showback.PartName, Command: b}})
	}
	return named(err, op)
}

// Prices returns the prices in the ledger; none of them until somebody has set some.
func (m *Manager) Prices() (p showback.Prices) {
	m.View(func(st *pool.State) {
		if part, ok := st.Part(showback.PartName); ok {
			p = part.(showback.Booked).Prices()
		}
	})
	return p
}

// Usage measures what projects have used from one moment to another, exactly, from the ledger: see package quota/showback. A zero from
// is the beginning of the ledger, a zero until is now. It folds the books as Replay does, with the same errors, and so takes as long; the
// present books are not touched.
func (m *Manager) Usage(ctx context.Context, from, until time.Time) (*showback.Usage, error) {
	const op = "measure usage"
	if until.IsZero() { // by whichever clock is ahead: what is written has happened
		until = time.Now()
		m.View(func(st *pool.State) {
			if last := st.Time(); until.Before(last) {
				until = last
			}
		})
	}
	books, err := m.ring.Past(ctx, from, nil)
	if err != nil {
		return nil, named(err, op)
	}
	meter, err := showback.New(books, from, until)
	if err != nil {
		return nil, named(err, op)
	}
	for b, err := range m.ring.History(ctx, books.Head()) {
		if err != nil {
			return nil, named(err, op)
		}
		if len(b.Events) > 0 && !b.Events[0].Time.Before(until) {
			break
		}
		if err := meter.Add(b); err != nil {
			return nil, named(err, op)
		}
	}
	return meter.Usage(), nil
}
