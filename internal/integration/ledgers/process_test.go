package ledgers_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/sqlledger"
	"github.com/stretchr/testify/require"
)

// childLedger, when set, makes this test program a process that appends to a ledger until it is killed or has
// done what it was told. It names the driver and, after a space, the database as that driver wants it.
const childLedger = "BERTHAGE_TEST_LEDGER"

// child has 4 appenders write batches of 3 events, and prints the ids of each batch once it is
// acknowledged. It ends when its standard input does.
func child(ledger, name string) error {
	driver, dsn, _ := strings.Cut(ledger, " ")
	dialect := map[string]sqlledger.Dialect{"sqlite": sqlledger.SQLite(), "pgx": sqlledger.PostgreSQL(), "mysql": sqlledger.MariaDB()}[driver]
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	s, err := sqlledger.Open(ctx, db, dialect)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel(io.EOF)
	}()
	var out sync.Mutex
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			if err := appendUntil(ctx, s, fmt.Sprint(name, "-", i), func(rev pool.Revision, batch []pool.Event) {
				out.Lock()
				defer out.Unlock()
				fmt.Println(rev, batch[0].ID, batch[1].ID, batch[2].ID)
			}); err != nil {
				cancel(err)
			}
		})
	}
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, io.EOF) {
		return err
	}
	return db.Close()
}

// appendUntil appends against whoever else does, until the context ends.
func appendUntil(ctx context.Context, l pool.Ledger, name string, acknowledged func(pool.Revision, []pool.Event)) error {
	head := pool.Revision(0)
	for n := 0; ctx.Err() == nil; {
		batch := make([]pool.Event, 3)
		for i := range batch {
			batch[i] = pool.Event{ID: fmt.Sprint(name, "-", n, ".", i), Kind: "k", Version: 1, Time: time.Now(), Data: make([]byte, rand.IntN(3000))}
		}
		rev, err := l.Append(ctx, head, batch...)
		for errors.Is(err, pool.ErrUnknown) && ctx.Err() == nil {
			rev, err = l.Append(ctx, head, batch...)
		}
		switch {
		case err == nil:
			acknowledged(rev, batch)
			n++
			head = rev
		case errors.Is(err, pool.ErrConflict):
			for b, err := range l.Read(ctx, head) {
				if err != nil && ctx.Err() == nil {
					return err
				}
				head = max(head, b.Revision)
			}
			time.Sleep(rand.N(4 * time.Millisecond))
		case ctx.Err() == nil:
			return err
		}
	}
	return nil
}

// process is a running child.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines chan string // what it has acknowledged; closed at its end
	err   *strings.Builder
}

func start(t *testing.T, d database, name string) *process {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	p := &process{cmd: exec.Command(exe, name), lines: make(chan string, 1<<16), err: new(strings.Builder)}
	p.cmd.Env = append(os.Environ(), childLedger+"="+d.driver+" "+d.dsn)
	p.cmd.Stderr = p.err
	stdin, err := p.cmd.StdinPipe()
	require.NoError(t, err)
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.lines)
		for r := bufio.NewReader(stdout); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return // a line that was cut off by the kill has not been acknowledged to anyone
			}
			p.lines <- strings.TrimSpace(line)
		}
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// stop lets the child finish and returns what it acknowledged.
func (p *process) stop(t *testing.T) []string {
	t.Helper()
	require.NoError(t, p.stdin.Close())
	lines := p.drain()
	require.NoError(t, p.cmd.Wait(), p.err.String())
	return lines
}

// kill sends SIGKILL and returns what it had acknowledged.
func (p *process) kill(t *testing.T) []string {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
	lines := p.drain()
	require.Error(t, p.cmd.Wait())
	require.Empty(t, p.err.String())
	return lines
}

// await returns once the child has acknowledged that many more batches.
func (p *process) await(t *testing.T, n int) {
	t.Helper()
	n += len(p.lines)
	require.Eventually(t, func() bool { return len(p.lines) >= n }, time.Minute, time.Millisecond, "the process makes no progress")
}

func (p *process) drain() (lines []string) {
	for l := range p.lines {
		lines = append(lines, l)
	}
	return lines
}

// verify opens the ledger and compares it with what was acknowledged. It returns the number of batches
// that are stored though their acknowledgement never came.
func verify(t *testing.T, d database, acknowledged []string) (surplus int) {
	t.Helper()
	s, db := d.ledger(t)
	if d.path != "" {
		var check string
		require.NoError(t, db.QueryRow("PRAGMA integrity_check").Scan(&check))
		require.Equal(t, "ok", check)
	}
	stored := make(map[string]bool)
	seen := make(map[string]bool)
	for i, b := range read(t, s) {
		require.EqualValues(t, i+1, b.Revision)
		require.Len(t, b.Events, 3)
		for _, e := range b.Events {
			require.False(t, seen[e.ID], "event %s is stored twice", e.ID)
			seen[e.ID] = true
		}
		stored[fmt.Sprint(b.Revision, " ", b.Events[0].ID, " ", b.Events[1].ID, " ", b.Events[2].ID)] = true
	}
	for _, line := range acknowledged {
		require.True(t, stored[line], "the batch %q was acknowledged and is not stored there", line)
	}
	return len(stored) - len(acknowledged)
}

// TestProcesses: two processes race on one ledger; nothing is lost, nothing twice.
func TestProcesses(t *testing.T) {
	t.Parallel()
	each(t, sqlEngines(), "two processes", func(t *testing.T, e engine) {
		d := e.store(t)
		a, b := start(t, d, "a"), start(t, d, "b")
		a.await(t, 20)
		b.await(t, 20)
		time.Sleep(time.Duration(rounds(t)) * time.Second)
		fromA, fromB := a.stop(t), b.stop(t)
		t.Logf("acknowledged: %d by one process, %d by the other", len(fromA), len(fromB))
		require.LessOrEqual(t, verify(t, d, append(fromA, fromB...)), 8, "at most one batch of each appender was cut off")
	})
}

// TestKill kills processes in the middle of their writing; what they acknowledged is there.
func TestKill(t *testing.T) {
	t.Parallel()
	each(t, sqlEngines(), "processes killed", func(t *testing.T, e engine) {
		d := e.store(t)
		var acknowledged []string
		kills := 3 * rounds(t)
		surplus := 0
		for i := range kills {
			p, other := start(t, d, fmt.Sprint("p", i)), start(t, d, fmt.Sprint("q", i))
			p.await(t, 10)
			other.await(t, 10)
			time.Sleep(rand.N(300 * time.Millisecond))
			acknowledged = append(acknowledged, p.kill(t)...)
			if i%2 == 0 {
				acknowledged = append(acknowledged, other.kill(t)...)
			} else { // it must go on with what the dead one left
				other.await(t, 10)
				acknowledged = append(acknowledged, other.stop(t)...)
			}
			surplus = verify(t, d, acknowledged)
		}
		t.Logf("%d kills: %d batches acknowledged, 0 lost, %d stored without their reply having come", kills+(kills+1)/2, len(acknowledged), surplus)
	})
}
