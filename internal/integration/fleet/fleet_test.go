package fleet_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
)

// store opens a handle of its own on an SQLite file, as another process would.
func store(t *testing.T, path string) *sqlledger.Store {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
	require.NoError(t, err)
	return s
}

func hosts(n int) []pool.Host {
	var out []pool.Host
	for i := range n {
		out = append(out, pool.Host{
			ID: pool.NewHostID("sim", fmt.Sprintf("h%02d", i)), Name: fmt.Sprintf("h%02d", i), Conditions: pool.Ready,
			Inventory: map[pool.Class]pool.Inventory{
				pool.CPU: {Total: 8 * pool.Core}, pool.Memory: {Total: 16 * pool.GiB}, pool.StorageStandard: {Total: pool.TiB},
			},
		})
	}
	return out
}

func request(name string) berthage.Launch {
	return berthage.Launch{Token: name, Project: "shop", Name: name, Spec: pool.Spec{
		Image: "debian-12", Resources: pool.Resources{pool.CPU: pool.Core, pool.Memory: 2 * pool.GiB}, Disks: []pool.Disk{{Size: 10 * pool.GiB}},
	}}
}

// manager opens and runs a Manager on its own handle of the file.
func manager(t *testing.T, path string, fleet hypervisor.Driver) *berthage.Manager {
	t.Helper()
	s := store(t, path)
	m, err := berthage.Open(t.Context(), berthage.Config{
		Drivers: map[string]hypervisor.Driver{"sim": fleet}, Ledger: s, Scratch: s, Tail: 20 * time.Millisecond, LeaseTTL: 2 * time.Second,
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		m.Close()
	})
	return m
}

func catalogue(t *testing.T, m *berthage.Manager) {
	t.Helper()
	require.NoError(t, m.PutImage(t.Context(), pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"sim": "debian"}}))
	require.NoError(t, m.PutProject(t.Context(), pool.Project{Name: "shop"}))
}

func running(d *fake.Driver) (n int) {
	for _, h := range d.Inspect() {
		for _, m := range h.Machines {
			if m.Power == pool.Running {
				n++
			}
		}
	}
	return n
}

// rounds is how often a race is run: BERTHAGE_ROUNDS, or 50.
func rounds(t *testing.T) int {
	t.Helper()
	if s := os.Getenv("BERTHAGE_ROUNDS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	return 50
}

// Two Managers on one SQLite file, 40 racing launches into room for 16: exactly 16 run, each created once.
func TestRacingLaunchesOnSQLite(t *testing.T) {
	t.Parallel()
	for n := range rounds(t) {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ledger.db")
			fleet := fake.New(fake.Config{Name: "sim", Hosts: hosts(2)})
			first := manager(t, path, fleet)
			catalogue(t, first)
			ms := []*berthage.Manager{first, manager(t, path, fleet)}
			for _, m := range ms {
				require.Eventually(t, func() bool {
					n := 0
					m.View(func(st *pool.State) { n = st.HostCount() })
					return n == 2
				}, time.Minute, 5*time.Millisecond)
			}
			var wg sync.WaitGroup
			var accepted atomic.Int32
			for k := range 40 {
				wg.Go(func() {
					_, err := ms[k%2].Launch(t.Context(), request("vm-"+strconv.Itoa(k)))
					switch {
					case err == nil:
						accepted.Add(1)
					case !errors.Is(err, pool.ErrNoRoom):
						t.Errorf("launch %d: %v", k, err)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 16, accepted.Load())
			require.Eventually(t, func() bool { return running(fleet) == 16 }, time.Minute, 5*time.Millisecond)
			require.Empty(t, fleet.Doubles())
			for id, c := range fleet.Counts() {
				require.Equal(t, 1, c.Creates, "creates of %s", id)
			}
		})
	}
}

// A copy of the ledger's own file, taken before 50 machines were launched, knows none of them and touches
// none of them.
func TestOlderCopyOfTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, older := filepath.Join(dir, "ledger.db"), filepath.Join(dir, "older.db")
	fleet := fake.New(fake.Config{Name: "sim", Hosts: hosts(8)})
	t.Run("launch", func(t *testing.T) {
		m := manager(t, path, fleet)
		catalogue(t, m)
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		_, err = db.ExecContext(t.Context(), "VACUUM INTO ?", older)
		require.NoError(t, err)
		require.NoError(t, db.Close())
		require.Eventually(t, func() bool {
			n := 0
			m.View(func(st *pool.State) { n = st.HostCount() })
			return n == 8
		}, time.Minute, 5*time.Millisecond)
		for k := range 50 {
			_, err := m.Launch(t.Context(), request("vm-"+strconv.Itoa(k)))
			require.NoError(t, err)
		}
		require.Eventually(t, func() bool { return running(fleet) == 50 }, time.Minute, 5*time.Millisecond)
	})
	t.Run("older", func(t *testing.T) {
		m := manager(t, older, fleet)
		require.Eventually(t, func() bool { return len(m.Unknown()) == 50 }, time.Minute, 5*time.Millisecond)
		for k := range 100 { // beyond the revisions that the tags name
			require.NoError(t, m.PutProject(t.Context(), pool.Project{Name: "p" + strconv.Itoa(k)}))
		}
		time.Sleep(2 * time.Second)
		require.Equal(t, 50, running(fleet))
		require.Empty(t, fleet.Touched())
	})
}
