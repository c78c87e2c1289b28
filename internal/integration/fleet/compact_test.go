package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
)

// books is what a Manager knows, as bytes.
func books(t *testing.T, m *berthage.Manager) string {
	t.Helper()
	var shot *pool.Snapshot
	m.View(func(st *pool.State) { shot = st.Snapshot() })
	b, err := shot.Bytes()
	require.NoError(t, err)
	return string(b)
}

// Two running Managers on one SQLite file and a third that only compacts, as an operator's tool does, all at once,
// while the third's replies are lost: what runs is what was ordered, and the file, from its checkpoint as from its whole
// history, gives the same books.
func TestCompactionsOnSQLite(t *testing.T) {
	t.Parallel()
	for n := range max(1, rounds(t)/10) {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			fleet := fake.New(fake.Config{Name: "sim", Hosts: hosts(4)})
			ms := []*berthage.Manager{manager(t, path, fleet)}
			catalogue(t, ms[0])
			ms = append(ms, manager(t, path, fleet))
			faulty := ledgertest.NewFaulty(store(t, path), uint64(n), ledgertest.Faults{LostRequest: 0.1, LostReply: 0.1, Late: 0.1, LateBy: 200 * time.Millisecond})
			drivers := map[string]hypervisor.Driver{"sim": fleet}
			tool, err := berthage.Open(t.Context(), berthage.Config{Drivers: drivers, Ledger: faulty})
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				hosts := 0
				ms[1].View(func(st *pool.State) { hosts = st.HostCount() })
				return hosts == 4
			}, time.Minute, 5*time.Millisecond)
			var wg sync.WaitGroup
			for k := range 24 {
				wg.Go(func() {
					i, err := ms[k%2].Launch(t.Context(), request("vm-"+strconv.Itoa(k)))
					if err == nil && k%3 == 0 {
						_, err = ms[k%2].Delete(t.Context(), i.ID)
					}
					if err != nil {
						t.Errorf("vm-%d: %v", k, err)
					}
				})
			}
			moved := int64(0)
			wg.Go(func() {
				for range 10 {
					c, err := tool.Compact(t.Context())
					if err != nil {
						t.Errorf("compact: %v", err)
						return
					}
					moved += c.Batches
					time.Sleep(20 * time.Millisecond)
				}
			})
			wg.Wait()
			require.Eventually(t, func() bool { return running(fleet) == 16 }, time.Minute, 5*time.Millisecond)
			faulty.Settle()
			require.Positive(t, moved)
			for id, c := range fleet.Counts() {
				require.LessOrEqual(t, c.Creates, 1, "creates of %s", id)
			}
			faulty.Set(ledgertest.Faults{})
			require.Eventually(t, func() bool {
				_, err := tool.Compact(t.Context())
				return err == nil && books(t, ms[0]) == books(t, tool) && books(t, ms[1]) == books(t, tool)
			}, time.Minute, 50*time.Millisecond)
			s := store(t, path)
			again, err := berthage.Open(t.Context(), berthage.Config{Drivers: drivers, Ledger: s})
			require.NoError(t, err)
			whole := pool.NewState(berthage.Parts()...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for b, err := range again.Events(ctx, 0) {
				if errors.Is(err, context.Canceled) {
					break
				}
				require.NoError(t, err)
				for k := range b.Events {
					require.NoError(t, whole.Apply(&b.Events[k]))
				}
				if b.Revision == again.Status().Revision {
					cancel()
				}
			}
			bytes, err := whole.Snapshot().Bytes()
			require.NoError(t, err)
			require.Equal(t, books(t, again), string(bytes), fmt.Sprint("revision ", whole.Head()))
		})
	}
}
