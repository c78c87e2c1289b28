package ledgers_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
	"github.com/berthage/berthage/pool/sqlledger"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"
)

// openSQLite opens the database file at path, as each process would for itself.
func openSQLite(t testing.TB, path string) (*sqlledger.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s, err := sqlledger.Open(t.Context(), db, sqlledger.SQLite())
	require.NoError(t, err)
	return s, db
}

func TestSQLiteLedger(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, func(t *testing.T) ledgertest.Store {
		path := filepath.Join(t.TempDir(), "ledger.db")
		s, _ := openSQLite(t, path)
		return ledgertest.Store{
			Ledger: s,
			Again: func(context.Context) (pool.Ledger, error) {
				s, _ := openSQLite(t, path)
				return s, nil
			},
		}
	})
}

func TestSQLiteScratch(t *testing.T) {
	t.Parallel()
	ledgertest.RunScratch(t, func(t *testing.T) ledgertest.ScratchStore {
		path := filepath.Join(t.TempDir(), "ledger.db")
		s, _ := openSQLite(t, path)
		return ledgertest.ScratchStore{
			Scratch: s,
			Again: func(context.Context) (pool.Scratch, error) {
				s, _ := openSQLite(t, path)
				return s, nil
			},
		}
	})
}
