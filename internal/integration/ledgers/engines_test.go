package ledgers_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
	"github.com/berthage/berthage/pool/sqlledger"
	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// rounds says how long the long tests run: 1 is short, make test-all sets more.
func rounds(t testing.TB) int {
	t.Helper()
	given := os.Getenv("BERTHAGE_LEDGER_ROUNDS")
	if given == "" {
		return 1
	}
	n, err := strconv.Atoi(given)
	require.NoError(t, err, "BERTHAGE_LEDGER_ROUNDS")
	require.Positive(t, n, "BERTHAGE_LEDGER_ROUNDS")
	return n
}

// engine is a database that keeps ledgers.
type engine struct {
	name    string
	missing string // why there is none here; empty if there is one
	dialect sqlledger.Dialect
	store   func(t testing.TB) database // makes a new and empty one
}

// database is a place for one ledger.
type database struct {
	engine
	driver string
	dsn    string
	path   string // of a file
	name   string // of a schema or database on a server
	server string // host:port of a server

	// open returns a pool of connections to it by way of that address, with further options of the driver.
	open func(t testing.TB, addr string, options url.Values) *sql.DB
}

// need ends the test if the engine is not here.
func (e engine) need(t testing.TB) {
	t.Helper()
	if e.missing != "" {
		t.Skipf("NOT RUN: %s: %s", e.name, e.missing)
	}
}

// ledger opens a store in the database, as each process would for itself.
func (d database) ledger(t testing.TB) (*sqlledger.Store, *sql.DB) {
	t.Helper()
	return d.at(t, d.server, nil)
}

func (d database) at(t testing.TB, addr string, options url.Values) (*sqlledger.Store, *sql.DB) {
	t.Helper()
	db := d.open(t, addr, options)
	s, err := sqlledger.Open(t.Context(), db, d.dialect)
	require.NoError(t, err)
	return s, db
}

// judged opens it for the suite: through a relay, or behind a wire.
func (d database) judged(t testing.TB) ledgertest.Store {
	t.Helper()
	again := func(context.Context) (pool.Ledger, error) {
		s, _ := d.ledger(t)
		return s, nil
	}
	if d.server == "" {
		s, w := openWired(t, d.path)
		return ledgertest.Store{Ledger: s, Again: again, LoseReply: w.loseReply, Outage: w.outage, Landing: landing}
	}
	r := relayTo(t, d.server)
	s, _ := d.at(t, r.addr, nil)
	return ledgertest.Store{Ledger: s, Again: again, LoseReply: r.loseReply, Outage: r.outage, Landing: landing}
}

// landing is how late a commit lands whose reply was lost.
const landing = 2 * time.Second

// sqlEngines returns the engines of pool/sqlledger.
func sqlEngines() []engine {
	return []engine{sqliteEngine(), postgreSQLEngine(), mariaDBEngine()}
}

// servers returns those that are servers.
func servers() []engine { return sqlEngines()[1:] }

func sqliteEngine() engine {
	e := engine{name: "SQLite", dialect: sqlledger.SQLite()}
	e.store = func(t testing.TB) database {
		path := filepath.Join(t.TempDir(), "ledger.db")
		return database{engine: e, driver: "sqlite", dsn: path, path: path, open: func(t testing.TB, _ string, _ url.Values) *sql.DB { return opened(t, "sqlite", path) }}
	}
	return e
}

func postgreSQLEngine() engine {
	e := engine{name: "PostgreSQL", dialect: sqlledger.PostgreSQL()}
	base := os.Getenv("BERTHAGE_POSTGRESQL")
	e.missing = absent(base, "BERTHAGE_POSTGRESQL")
	e.store = func(t testing.TB) database {
		e.need(t)
		u, err := url.Parse(base)
		require.NoError(t, err)
		name := "berthage_test_" + strings.ToLower(rand.Text())
		admin(t, "pgx", base, "CREATE SCHEMA "+name, "DROP SCHEMA "+name+" CASCADE")
		direct := *u
		direct.RawQuery = u.RawQuery + "&search_path=" + name
		return database{engine: e, driver: "pgx", dsn: direct.String(), name: name, server: u.Host, open: func(t testing.TB, addr string, options url.Values) *sql.DB {
			through := *u
			through.Host = addr
			query := u.Query()
			maps.Copy(query, options)
			query.Set("search_path", name)
			through.RawQuery = query.Encode()
			return opened(t, "pgx", through.String())
		}}
	}
	return e
}

func mariaDBEngine() engine {
	e := engine{name: "MariaDB", dialect: sqlledger.MariaDB()}
	base := os.Getenv("BERTHAGE_MARIADB")
	e.missing = absent(base, "BERTHAGE_MARIADB")
	e.store = func(t testing.TB) database {
		e.need(t)
		config, err := mysql.ParseDSN(base)
		require.NoError(t, err)
		name := "berthage_test_" + strings.ToLower(rand.Text())
		admin(t, "mysql", base, "CREATE DATABASE "+name, "DROP DATABASE "+name)
		direct := config.Clone()
		direct.DBName = name
		return database{engine: e, driver: "mysql", dsn: direct.FormatDSN(), name: name, server: config.Addr, open: func(t testing.TB, addr string, options url.Values) *sql.DB {
			through := config.Clone()
			through.Addr, through.DBName = addr, name
			through, err := mysql.ParseDSN(through.FormatDSN() + "?" + options.Encode())
			require.NoError(t, err)
			through.Logger = new(mysql.NopLogger) // or every lost connection would be a line on standard error
			connector, err := mysql.NewConnector(through)
			require.NoError(t, err)
			db := sql.OpenDB(connector)
			t.Cleanup(func() { require.NoError(t, db.Close()) })
			return db
		}}
	}
	return e
}

// absent says why the variable names no server.
func absent(base, variable string) string {
	if base != "" {
		return ""
	}
	if why := os.Getenv(variable + "_MISSING"); why != "" {
		return why
	}
	return variable + " names no server; make test-ledgers starts one"
}

// admin runs a statement now and another at the test's end.
func admin(t testing.TB, driver, dsn, now, end string) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	_, err = db.Exec(now)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := db.Exec(end)
		require.NoError(t, err)
		require.NoError(t, db.Close())
	})
}

func opened(t testing.TB, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}
