package daemon

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

// store is the file that has the ledger and the short-lived values beside it.
type store struct {
	*sqlledger.Store
	db *sql.DB
}

// ledgerFile is its name in the data directory.
const ledgerFile = "ledger.db"

// connections bounds those to the file: one writes, the others read.
const connections = 8

func openStore(ctx context.Context, data string) (*store, error) {
	path := filepath.Join(data, ledgerFile)
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
	return &store{s, db}, nil
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
func (s *store) Close() error { return s.db.Close() }
