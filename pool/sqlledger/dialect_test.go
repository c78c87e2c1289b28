package sqlledger_test

import (
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
	"github.com/stretchr/testify/require"
)

// TestReleasedMigrations: what has been released is never changed, only followed by more.
func TestReleasedMigrations(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{
		"2837f971aeb93be557fe9315634326163875c9e4e4914242d0c823db2ca934d4",
		"8bca1b60d7a5f153edb78370905a432c43e7e9f1e30cd055a5089f13efee3dae",
	}, sqlledger.Checksums(sqlledger.SQLite()))
	require.Equal(t, []string{
		"56d2ff3ab4162c5df0cef11e0b41620fd54a353eec5b04095f3d00fa0481ca6a",
	}, sqlledger.Checksums(sqlledger.PostgreSQL()))
	require.Equal(t, []string{
		"5ebc893a46d6149449cdd0f68f4c0bc4495b8a8c9bbe04c05cc91e2a14bba24c",
	}, sqlledger.Checksums(sqlledger.MariaDB()))
}

// stated is an error as drivers of PostgreSQL return it.
type stated string

func (e stated) Error() string    { return "ERROR: something (SQLSTATE " + string(e) + ")" }
func (e stated) SQLState() string { return string(e) }

// TestClassify: the codes of each database, and SQLite's texts for drivers that give no code.
func TestClassify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect sqlledger.Dialect
		want    string
		errs    []error
	}{
		{sqlledger.SQLite(), "again", []error{
			errBusy, &coded{517, "snapshot"}, &coded{6, "locked"}, &coded{262, "shared cache"}, errors.New("database is locked"), fmt.Errorf("exec: %w", errBusy),
		}},
		{sqlledger.SQLite(), "refused", []error{
			errFull, errors.New("database or disk is full"), &coded{8, "read-only"}, errors.New("attempt to write a readonly database"),
			&coded{1555, "primary key"}, &coded{275, "check"},
		}},
		{sqlledger.SQLite(), "doubtful", []error{
			errFlush, &coded{10, "disk I/O error"}, &coded{9, "interrupted"}, &coded{7, "out of memory"},
			errNetwork, errors.New("unknown"), &coded{1, "database is locked"},
		}},
		{sqlledger.PostgreSQL(), "again", []error{
			stated("40001"), stated("40P01"), stated("55P03"), stated("23505"), stated("42P07"), stated("42710"), fmt.Errorf("exec: %w", stated("40001")),
		}},
		{sqlledger.PostgreSQL(), "refused", []error{stated("23514"), stated("53100"), stated("25006"), stated("25P03"), stated("40000"), stated("40002")}},
		{sqlledger.PostgreSQL(), "doubtful", []error{
			stated("40003"), stated("57P01"), stated("57014"), stated("08006"), stated("XX000"), stated(""), errNetwork, errors.New("SQLSTATE 40001"),
		}},
		{sqlledger.MariaDB(), "again", []error{
			errors.New("Error 1213 (40001): Deadlock found when trying to get lock; try restarting transaction"), errors.New("Error 1205 (HY000): Lock wait timeout exceeded"),
			errors.New("Error 1062 (23000): Duplicate entry '4-0' for key 'PRIMARY'"), errors.New("Error 1020: Record has changed since last read"),
			fmt.Errorf("exec: %w", errors.New("Error 1213 (40001): Deadlock")),
		}},
		{sqlledger.MariaDB(), "refused", []error{errors.New("Error 1021 (HY000): Disk full"), errors.New("Error 1114 (HY000): The table is full"), errors.New("Error 1290 (HY000): read-only")}},
		{sqlledger.MariaDB(), "doubtful", []error{
			errors.New("invalid connection"), errNetwork, errors.New("Error 1180 (HY000): Got error 5 during COMMIT"), errors.New("Error 1317 (70100): Query execution was interrupted"),
			errors.New("Error 12134"), errors.New("error 1213"), errors.New("it said: Error 1213"), errors.New("Error"), errors.New(""),
		}},
	} {
		for _, err := range c.errs {
			require.Equal(t, c.want, sqlledger.Classify(c.dialect, err), "%v", err)
		}
	}
}

// FuzzClassify: no text of an error, wherever it comes from, breaks anything or counts as a proof unless it
// is the server's own.
func FuzzClassify(f *testing.F) {
	for _, s := range []string{"Error 1213 (40001): x", "Error -1", "Error 99999999999999999999", "x Error 1213", "database is locked"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		err := errors.New(text)
		require.Equal(t, "doubtful", sqlledger.Classify(sqlledger.PostgreSQL(), err))
		if !strings.HasPrefix(text, "Error") {
			require.Equal(t, "doubtful", sqlledger.Classify(sqlledger.MariaDB(), err))
		}
		_ = sqlledger.Classify(sqlledger.SQLite(), err)
	})
}

// TestDialectText: placeholders and the clock's expression.
func TestDialectText(t *testing.T) {
	t.Parallel()
	const statement = "SELECT {now} FROM t WHERE a = ? AND b IN (?, ?) AND c > {now}"
	require.Equal(t, "SELECT clock() FROM t WHERE a = ? AND b IN (?, ?) AND c > clock()", sqlledger.Text(nil, "clock()", statement))
	numbered := func(n int) string { return fmt.Sprint("$", n) }
	require.Equal(t, "SELECT clock() FROM t WHERE a = $1 AND b IN ($2, $3) AND c > clock()", sqlledger.Text(numbered, "clock()", statement))
}

// TestServersRefused: servers that are too old, or set up so that they cannot keep the promises.
func TestServersRefused(t *testing.T) {
	t.Parallel()
	const postgres, mariadb = "server_version_num", "@@autocommit"
	for _, c := range []struct {
		dialect sqlledger.Dialect
		version string // what VERSION() gives
		row     []driver.Value
		text    string
	}{
		{sqlledger.PostgreSQL(), "", []driver.Value{int64(130022), "UTF8", "on"}, `PostgreSQL "130022" invalid: version 140000 or newer`},
		{sqlledger.PostgreSQL(), "", []driver.Value{int64(150018), "SQL_ASCII", "on"}, `encoding "SQL_ASCII" invalid: UTF8`},
		{sqlledger.PostgreSQL(), "", []driver.Value{int64(150018), "UTF8", "off"}, `fsync "off" invalid: on`},
		{sqlledger.MariaDB(), "10.5.29-MariaDB", nil, `MariaDB "10.5.29-MariaDB" invalid: MariaDB 10.6 or newer`},
		{sqlledger.MariaDB(), "8.4.7", nil, "MariaDB 10.6 or newer"},
		{sqlledger.MariaDB(), "10.11.19-MariaDB", []driver.Value{"READ-UNCOMMITTED", int64(1), int64(1), int64(16 << 20)}, "tx_isolation"},
		{sqlledger.MariaDB(), "10.11.19-MariaDB", []driver.Value{"REPEATABLE-READ", int64(0), int64(1), int64(16 << 20)}, "autocommit"},
		{sqlledger.MariaDB(), "10.11.19-MariaDB", []driver.Value{"REPEATABLE-READ", int64(1), int64(2), int64(16 << 20)}, "innodb_flush_log_at_trx_commit"},
		{sqlledger.MariaDB(), "10.11.19-MariaDB", []driver.Value{"REPEATABLE-READ", int64(1), int64(1), int64(1 << 20)}, "max_allowed_packet"},
	} {
		db := sql.OpenDB(&fake{script: func(q string, args []driver.NamedValue) ([][]driver.Value, error) {
			switch {
			case q == "SELECT VERSION()":
				return [][]driver.Value{{c.version}}, nil
			case strings.Contains(q, postgres), strings.Contains(q, mariadb):
				return [][]driver.Value{c.row}, nil
			}
			return healthy(nil)(q, args)
		}})
		_, err := sqlledger.Open(t.Context(), db, c.dialect)
		require.ErrorIs(t, err, pool.ErrInvalid)
		require.ErrorContains(t, err, c.text)
		require.NoError(t, db.Close())
	}
}
