package ring

import "github.com/berthage/berthage/pool"

// ConfirmImport is a person's word that nobody else acts on what an imported ledger's books say is ours. Until
// then hosts are observed and commands recorded, but no driver is asked to change anything.
type ConfirmImport struct {
	Ledger string `json:"ledger"` // its identity, so that no other ledger is confirmed by mistake
}

func (c *ConfirmImport) decide(_ *rules, st *pool.State) ([]pool.Event, error) {
	if c.Ledger != st.Identity() {
		return nil, invalid("ledger", c.Ledger, "this ledger's identity, "+pool.Quote(st.Identity()))
	}
	if st.Confirmed() {
		return nil, nil
	}
	return one(pool.KindConfirmed, &pool.Confirmed{Ledger: c.Ledger})
}
