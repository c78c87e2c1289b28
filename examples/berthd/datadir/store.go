package datadir

import (
	"context"
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite", which needs no C

	"github.com/berthage/berthage/pool/sqlledger"
)

// Store is the file that has the ledger and the short-lived values beside it.
type Store struct {
	*sqlledger.Store
	db *sql.DB
}

// LedgerFile is its name in the data directory.
const LedgerFile = "ledger.db"

// connections bounds those to the file: one writes, the others read.
const connections = 8

// OpenStore opens the store of a data directory, which is made if it is not there.
func OpenStore(ctx context.Context, data string) (*Store, error) {
	path := filepath.Join(data, LedgerFile)
	if err := private(path); err != nil {
		return nil, err
	}
	// As a URL, since a path may hold characters that mean something to the driver.
	name := url.URL{Scheme: "file", OmitHost: true, Path: "/" + strings.TrimPrefix(filepath.ToSlash(path), "/")}
	db, err := sql.Open("sqlite", name.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	s, err := sqlledger.Open(ctx, db, sqlledger.SQLite())
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{s, db}, nil
}

// private makes the file one that only its owner can read, before SQLite does, which gives the files beside it
// the same mode: there are keys and user-data in it.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}

// Close closes the file.
func (s *Store) Close() error { return s.db.Close() }
