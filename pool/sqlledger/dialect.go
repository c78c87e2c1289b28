package sqlledger

import (
	"context"
	"database/sql"
	"strings"
)

// Dialect is what differs between SQL databases. It is made by a function named after the database.
type Dialect struct {
	name  string
	begin []string // statements that start a transaction that will write, on a connection with none
	now   string   // expression: the store's clock, in whole microseconds since the Unix epoch

	// placeholder returns the n-th placeholder of a statement, from 1; nil stands for question marks.
	placeholder func(n int) string

	// classify says what an error of the driver proves.
	classify func(error) class

	// prepare makes sure of what the database must offer, before anything is read or written.
	prepare func(context.Context, *sql.DB) error

	// migrations make the schema, in order. Where a database commits after each statement that changes the
	// schema, they can be run again after a part of them, and by several programs at once.
	migrations []migration

	// forget is the statement that removes the private parts of a subject that are not forgotten yet. flush,
	// if not empty, is run after something was removed, so that no bytes of it stay behind in a log.
	forget, flush string
}

// class is what an error proves about the transaction that it ended.
type class int

const (
	doubtful class = iota // nothing: if it came from COMMIT, the transaction may have been committed
	refused               // nothing was stored, also if it came from COMMIT
	again                 // nothing was stored; the same transaction, run again, meets what stopped it as a fact or not at all
)

// sql returns a statement written with question marks and {now} in the dialect's own terms.
func (d Dialect) sql(statement string) string {
	statement = strings.ReplaceAll(statement, "{now}", d.now)
	if d.placeholder == nil {
		return statement
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString(d.placeholder(n))
		statement = after
	}
}
