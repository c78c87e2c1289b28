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

// A dialect is required; what cannot be used is refused with a typed error.
func ExampleOpen_refused() {
	db := sql.OpenDB(new(fake))
	defer db.Close()
	_, err := sqlledger.Open(context.Background(), db, sqlledger.Dialect{})
	fmt.Println(err)
	// Output:
	// open ledger: dialect invalid: one of this package's, such as SQLite()
}
