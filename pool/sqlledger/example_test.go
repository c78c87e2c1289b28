package sqlledger_test

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
)

// The caller links a driver of SQLite, here one that is registered as "sqlite", and opens the file; Open
// sees to the rest.
func ExampleOpen() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "berthage.db")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	store, err := sqlledger.Open(ctx, db, sqlledger.SQLite())
	if err != nil {
		fmt.Println(err)
		return
	}

	var ledger pool.Ledger = store
	for batch, err := range ledger.Read(ctx, 0) {
		fmt.Println(batch.Revision, err)
	}
	var scratch pool.Scratch = store
	version, err := scratch.Put(ctx, "lease", []byte("daemon-a"), 0, 3*time.Second)
	fmt.Println(version, err)
}

// Several daemons share one ledger on a server. The schema "berthage" is the ledger's own; the driver, here pgx,
// is registered as "pgx".
func ExamplePostgreSQL() {
	db, err := sql.Open("pgx", "postgres://berthage@db.example.com/fleet?sslmode=verify-full&search_path=berthage")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	store, err := sqlledger.Open(context.Background(), db, sqlledger.PostgreSQL())
	fmt.Println(store, err)
}

// With MariaDB a database is the ledger's own. The driver, here go-sql-driver/mysql, is registered as "mysql".
func ExampleMariaDB() {
	db, err := sql.Open("mysql", "berthage@tcp(db.example.com:3306)/berthage?tls=true")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	store, err := sqlledger.Open(context.Background(), db, sqlledger.MariaDB())
	fmt.Println(store, err)
}

// Before a backup is trusted, and from time to time, a ledger is read as a whole and compared. The tree that
// Verify returns is kept elsewhere: a history that was rewritten or cut off has another.
func ExampleStore_Verify() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "berthage.db")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	store, err := sqlledger.Open(ctx, db, sqlledger.SQLite())
	if err != nil {
		fmt.Println(err)
		return
	}
	tree, err := store.Verify(ctx, 0)
	fmt.Printf("%d events up to revision %d, root %x, error %v\n", tree.Size, tree.Revision, tree.Root, err)
}

// A dialect is required; what cannot be used is refused with a typed error.
func ExampleOpen_refused() {
	db := sql.OpenDB(new(fake))
	defer db.Close()
	_, err := sqlledger.Open(context.Background(), db, sqlledger.Dialect{})
	fmt.Println(err)
	// Output:
	// open ledger: dialect invalid: one of this package's, such as SQLite()
}
