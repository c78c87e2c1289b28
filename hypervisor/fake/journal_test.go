package fake_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
)

// reopen closes a fleet and opens its file anew.
func reopen(t *testing.T, d *fake.Driver, path string) *fake.Driver {
	t.Helper()
	require.NoError(t, d.Close())
	d, err := fake.Open(fake.Config{Path: path, Copies: true, Overfill: true})
	require.NoError(t, err)
	return d
}

// plainly returns what Inspect and Shelf show, with times that can be compared. The shelf is a host without a name.
func plainly(d *fake.Driver) []fake.HostView {
	out := append(d.Inspect(), fake.HostView{Machines: d.Shelf()})
	for i := range out {
		for j := range out[i].Machines {
			out[i].Machines[j].Since = out[i].Machines[j].Since.Round(0).UTC()
		}
	}
	return out
}

// Whatever is done to a fleet, it is the same after it was closed and opened.
func TestFleetIsFoundAgain(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		path := filepath.Join(t.TempDir(), "fleet")
		d, err := fake.Open(fake.Config{Path: path, Copies: true, Overfill: true, Hosts: fake.Fleet("", 5, seed), Faults: fake.Faults{Spoil: 0.1, Break: 0.1}})
		require.NoError(t, err)
		r := rand.New(rand.NewPCG(seed, 0))
		for step := range 200 {
			host := pool.HostID(fmt.Sprintf("fake/node-%04d", 1+r.IntN(6)))
			o := order(host, r.IntN(30))
			switch r.IntN(16) {
			case 12:
				_ = d.Shelve(t.Context(), o.Ref)
				if shelf := d.Shelf(); len(shelf) > 0 {
					_ = d.Unshelve(t.Context(), o, shelf[r.IntN(len(shelf))].Ref)
				}
				if shelf := d.Shelf(); len(shelf) > 1 {
					require.NoError(t, d.Discard(t.Context(), shelf[r.IntN(len(shelf))].Ref))
				}
			case 13:
				_ = d.Resize(t.Context(), sized(o, int64(1+r.IntN(8))*pool.GiB, int64(10+r.IntN(2))*pool.GiB))
			case 14:
				_ = d.Migrate(t.Context(), o.Ref, to(o, pool.HostID(fmt.Sprintf("fake/node-%04d", 1+r.IntN(6)))))
			case 15:
				_ = d.Snapshot(t.Context(), o.Ref, fmt.Sprintf("s%d", step))
				_ = d.Revert(t.Context(), o.Ref, fmt.Sprintf("s%d", step))
				_ = d.DeleteSnapshot(t.Context(), o.Ref, fmt.Sprintf("s%d", step-r.IntN(2)))
				if r.IntN(4) == 0 {
					_, _ = d.Fence(t.Context(), host)
				}
			case 0, 1, 2:
				_ = d.Create(t.Context(), o)
			case 3, 4:
				_ = d.Start(t.Context(), o.Ref)
			case 5:
				_ = d.Stop(t.Context(), o.Ref)
			case 6:
				_ = d.Suspend(t.Context(), o.Ref)
			case 7:
				_ = d.Destroy(t.Context(), o.Ref)
			case 8:
				_ = d.SetHostState(host, []fake.HostState{fake.Up, fake.Dead, fake.CutOff, fake.Up}[r.IntN(4)])
			case 9:
				if r.IntN(8) == 0 {
					require.NoError(t, d.RemoveHost(host))
				} else {
					require.NoError(t, d.AddHost(fake.Fleet("", 6, seed+uint64(r.IntN(2)))[5]))
				}
			case 10:
				m := hypervisor.Machine{Ref: hypervisor.Ref{Host: host}, Name: "db", Power: pool.Running, Resources: pool.Resources{pool.Memory: pool.GiB}}
				if native, err := d.AddForeign(m); err == nil && r.IntN(2) == 0 {
					require.NoError(t, d.RemoveForeign(host, native))
				}
			case 11:
				before := plainly(d)
				d = reopen(t, d, path)
				require.Equal(t, before, plainly(d), "seed %d, step %d", seed, step)
			}
		}
		before := plainly(d)
		d = reopen(t, d, path)
		require.Equal(t, before, plainly(d))
		audit(t, d, true)

		// Addresses are not given twice, and a double start is seen across the gap.
		require.NoError(t, d.AddHost(server("fake/a")))
		require.NoError(t, d.AddHost(server("fake/b")))
		for _, host := range []pool.HostID{"fake/a", "fake/b"} {
			o := order(host, 1000)
			require.NoError(t, d.Create(t.Context(), o))
			require.NoError(t, d.Start(t.Context(), o.Ref))
			d = reopen(t, d, path)
			require.Empty(t, d.Doubles(), "of before")
		}
		o := order("fake/a", 1000)
		require.NoError(t, d.Stop(t.Context(), o.Ref))
		require.NoError(t, d.Start(t.Context(), o.Ref))
		require.Len(t, d.Doubles(), 1)
		require.NoError(t, d.Close())
	}
}

// The hosts of the configuration are those of a new file; a file that is there has its own.
func TestTheFileWins(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fleet")
	d, err := fake.Open(fake.Config{Path: path, Hosts: []pool.Host{server("fake/a")}})
	require.NoError(t, err)
	require.NoError(t, d.RemoveHost("fake/a"))
	require.NoError(t, d.Close())
	d, err = fake.Open(fake.Config{Path: path, Hosts: []pool.Host{server("fake/a")}})
	require.NoError(t, err)
	require.Empty(t, d.Inspect())
	require.NoError(t, d.Close())
}

// A file that has grown by history is written anew, in the middle of everything.
func TestTheFileStaysShort(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fleet")
	d, err := fake.Open(fake.Config{Path: path, Hosts: []pool.Host{server("fake/a")}})
	require.NoError(t, err)
	o := order("fake/a", 1)
	require.NoError(t, d.Create(t.Context(), o))
	for range 2500 {
		require.NoError(t, d.Start(t.Context(), o.Ref))
		require.NoError(t, d.Stop(t.Context(), o.Ref))
	}
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Less(t, bytes.Count(b, []byte{'\n'}), 4200)
	before := plainly(d)
	d = reopen(t, d, path)
	require.Equal(t, before, plainly(d))
	require.NoError(t, d.Close())
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 1, "nothing is left beside the file")
}

// A call whose effect cannot be written has no effect, and says so.
func TestADiskThatIsFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fleet")
	d, err := fake.Open(fake.Config{Path: path, Hosts: []pool.Host{server("fake/a"), server("fake/b")}})
	require.NoError(t, err)
	o, aside := order("fake/a", 1), order("fake/a", 3)
	require.NoError(t, d.Create(t.Context(), o))
	require.NoError(t, d.Create(t.Context(), aside))
	require.NoError(t, d.Shelve(t.Context(), aside.Ref))
	before := plainly(d)
	fake.BreakFile(d)
	require.ErrorIs(t, d.Create(t.Context(), order("fake/a", 2)), hypervisor.ErrRefused)
	require.ErrorIs(t, d.Start(t.Context(), o.Ref), hypervisor.ErrRefused)
	require.ErrorIs(t, d.Destroy(t.Context(), o.Ref), hypervisor.ErrRefused)
	require.ErrorIs(t, d.Shelve(t.Context(), o.Ref), hypervisor.ErrRefused)
	require.ErrorIs(t, d.Unshelve(t.Context(), order("fake/a", 2), aside.Ref), hypervisor.ErrRefused)
	require.ErrorIs(t, d.Discard(t.Context(), aside.Ref), hypervisor.ErrRefused)
	require.ErrorIs(t, d.Resize(t.Context(), sized(o, 2*pool.GiB, 10*pool.GiB)), hypervisor.ErrRefused)
	require.ErrorIs(t, d.Migrate(t.Context(), o.Ref, to(o, "fake/b")), hypervisor.ErrRefused)
	require.ErrorIs(t, d.Snapshot(t.Context(), o.Ref, "a"), hypervisor.ErrRefused)
	_, err = d.Fence(t.Context(), "fake/a")
	require.ErrorIs(t, err, hypervisor.ErrRefused)
	require.Error(t, d.AddHost(server("fake/c")))
	require.Error(t, d.RemoveHost("fake/a"))
	require.Error(t, d.SetHostState("fake/a", fake.Dead))
	_, err = d.AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: "fake/a"}})
	require.Error(t, err)
	require.Equal(t, before, plainly(d))
	d, err = fake.Open(fake.Config{Path: path})
	require.NoError(t, err)
	require.Equal(t, before, plainly(d))
	require.NoError(t, d.Close())
}

// A file that is not one of ours is refused, and left as it is; a last line without its end is dropped.
func TestFilesThatAreNotWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fleet")
	d, err := fake.Open(fake.Config{Path: path, Hosts: []pool.Host{server("fake/a")}})
	require.NoError(t, err)
	require.NoError(t, d.Create(t.Context(), order("fake/a", 1)))
	whole := plainly(d)
	require.NoError(t, d.Create(t.Context(), order("fake/a", 2)))
	require.NoError(t, d.Close())
	b, err := os.ReadFile(path)
	require.NoError(t, err)

	require.NoError(t, os.WriteFile(path, b[:len(b)-10], 0o600))
	d, err = fake.Open(fake.Config{Path: path})
	require.NoError(t, err)
	require.Equal(t, whole, plainly(d))
	require.NoError(t, d.Create(t.Context(), order("fake/a", 3)))
	with := plainly(d)
	d = reopen(t, d, path)
	require.Equal(t, with, plainly(d))
	require.NoError(t, d.Close())

	for name, content := range map[string]string{
		"no JSON":         "{\"version\":1}\nhello\n",
		"another version": "{\"version\":99}\n",
		"no version":      "{\"gone_host\":\"fake/a\"}\n",
		"no host":         "{\"version\":1}\n{\"machine\":{\"host\":\"fake/x\",\"native\":\"m\",\"power\":\"running\"}}\n",
		"malformed host":  "{\"version\":1}\n{\"host\":{\"id\":\"a b\"}}\n",
		"negative":        "{\"version\":1}\n{\"host\":{\"id\":\"fake/a\",\"state\":\"up\"}}\n{\"machine\":{\"host\":\"fake/a\",\"native\":\"m\",\"power\":\"running\",\"demand\":{\"memory\":-1}}}\n",
		"negative disk":   "{\"version\":2}\n{\"shelved\":{\"native\":\"m\",\"power\":\"stopped\",\"disks\":[-1]}}\n",
		"no power":        "{\"version\":1}\n{\"host\":{\"id\":\"fake/a\",\"state\":\"up\"}}\n{\"machine\":{\"host\":\"fake/a\",\"native\":\"m\"}}\n",
	} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := fake.Open(fake.Config{Path: path})
		require.ErrorIs(t, err, pool.ErrUnavailable, name)
		_, err = fake.New(fake.Config{Path: path}).Hosts(t.Context())
		require.ErrorIs(t, err, hypervisor.ErrUnavailable, name)
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, string(got), name)
	}
	_, err = fake.Open(fake.Config{Path: filepath.Join(t.TempDir(), "no", "such", "directory")})
	require.ErrorIs(t, err, pool.ErrUnavailable)
}

// FuzzOpen: no file makes the driver panic, and what it accepts it writes and reads again as the same.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("{\"version\":1}\n{\"host\":{\"id\":\"fake/a\",\"state\":\"up\",\"inventory\":{\"memory\":{\"total\":10}}}}\n" +
		"{\"machine\":{\"host\":\"fake/a\",\"native\":\"m\",\"power\":\"running\",\"demand\":{\"memory\":3},\"claims\":[{\"device\":\"d\",\"amount\":3}]}}\n" +
		"{\"gone\":{\"host\":\"fake/a\",\"native\":\"m\"}}\n{\"gone_host\":\"fake/a\"}\n"))
	f.Add([]byte("{\"version\":1}\n{\"machine\":null}\n\n"))
	f.Add([]byte("{\"version\":2}\n{\"shelved\":{\"native\":\"m\",\"power\":\"stopped\",\"tag\":{\"ledger\":\"l\",\"machine\":\"m-0\",\"launched\":1},\"disks\":[1]}}\n" +
		"{\"discarded\":{\"ledger\":\"l\",\"machine\":\"m-0\",\"launched\":1}}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "fleet")
		require.NoError(t, os.WriteFile(path, b, 0o600))
		d, err := fake.Open(fake.Config{Path: path})
		if err != nil {
			return
		}
		ctx := context.Background()
		hosts, err := d.Hosts(ctx)
		require.NoError(t, err)
		for _, h := range hosts {
			_, _ = d.Machines(ctx, h.ID)
			_, _ = d.Sample(ctx, h.ID)
			require.NoError(t, d.SetHostState(h.ID, fake.Dead))
		}
		before := plainly(d)
		require.NoError(t, d.Close())
		d, err = fake.Open(fake.Config{Path: path})
		require.NoError(t, err)
		require.Equal(t, before, plainly(d))
		require.NoError(t, d.Close())
	})
}

// What a call has answered is there after the process was killed, at whatever moment.
func TestKilled(t *testing.T) {
	if path := os.Getenv("BERTHAGE_TEST_FLEET"); path != "" {
		create(path)
		return
	}
	t.Parallel()
	exe, err := os.Executable()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "fleet")
	answered := make(map[string]bool)
	for round := range 8 {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "BERTHAGE_TEST_FLEET="+path, fmt.Sprintf("BERTHAGE_TEST_ROUND=%d", round))
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		const before = 40 // answers before it is killed, in the middle of what follows
		for n := 0; n < before && lines.Scan(); {
			if id, ok := strings.CutPrefix(lines.Text(), "made "); ok {
				answered[id] = true
				n++
			}
		}
		require.NoError(t, cmd.Process.Kill()) // SIGKILL where there are signals
		for lines.Scan() {
			if id, ok := strings.CutPrefix(lines.Text(), "made "); ok {
				answered[id] = true
			}
		}
		_, _ = io.Copy(io.Discard, out)
		require.Error(t, cmd.Wait())

		d, err := fake.Open(fake.Config{Path: path})
		require.NoError(t, err)
		there := make(map[string]bool)
		for _, v := range d.Inspect() {
			for _, m := range v.Machines {
				there[string(m.Machine)] = true
			}
		}
		require.NoError(t, d.Close())
		for id := range answered {
			require.True(t, there[id], "%s was answered and is lost", id)
		}
	}
	require.GreaterOrEqual(t, len(answered), 8*40)
}

// create makes machines until it is killed, and says which.
func create(path string) {
	d, err := fake.Open(fake.Config{Path: path, Hosts: fake.Fleet("", 20, 1), Overfill: true, Copies: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	var at int
	_, _ = fmt.Sscan(os.Getenv("BERTHAGE_TEST_ROUND"), &at)
	for i := range 1 << 20 {
		o := order(pool.HostID(fmt.Sprintf("fake/node-%04d", i%20+1)), at<<20+i)
		o.Spec.Disks = nil
		if err := d.Create(context.Background(), o); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("made " + string(o.Machine))
		if i > 200 {
			time.Sleep(time.Millisecond)
		}
	}
}

func BenchmarkCreateStart(b *testing.B) {
	for _, path := range []string{"", filepath.Join(b.TempDir(), "fleet")} {
		name := "memory"
		if path != "" {
			name = "file"
		}
		b.Run(name, func(b *testing.B) {
			d, err := fake.Open(fake.Config{Path: path, Hosts: fake.Fleet("", 200, 1), Overfill: true})
			require.NoError(b, err)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				o := order(pool.HostID(fmt.Sprintf("fake/node-%04d", i%200+1)), i)
				o.Spec.Disks = nil
				if err := d.Create(b.Context(), o); err != nil {
					b.Fatal(err)
				}
				if err := d.Start(b.Context(), o.Ref); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, d.Close())
		})
	}
}

// What is put aside, kept and moved is found again too, and what was discarded is not.
func TestTheShelfIsFoundAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fleet")
	d, err := fake.Open(fake.Config{Path: path, Hosts: []pool.Host{server("fake/a"), server("fake/b")}})
	require.NoError(t, err)
	kept, gone, moves := order("fake/a", 1), order("fake/a", 2), order("fake/a", 3)
	for _, o := range []hypervisor.Order{kept, gone, moves} {
		made(t, d, o)
	}
	require.NoError(t, d.Snapshot(t.Context(), moves.Ref, "one"))
	require.NoError(t, d.Start(t.Context(), moves.Ref))
	require.NoError(t, d.Migrate(t.Context(), moves.Ref, to(moves, "fake/b")))
	require.NoError(t, d.Shelve(t.Context(), kept.Ref))
	require.NoError(t, d.Shelve(t.Context(), gone.Ref))
	require.NoError(t, d.Discard(t.Context(), gone.Ref))
	before := plainly(d)
	for range 2 { // from history, and from the file that was written anew
		d = reopen(t, d, path)
		require.Equal(t, before, plainly(d))
		require.Len(t, d.Shelf(), 1)
	}
	content := d.Shelf()[0].Content
	back := to(kept, "fake/b")
	require.NoError(t, d.Unshelve(t.Context(), back, kept.Ref))
	require.Equal(t, content, view(t, d, back.Ref).Content)
	require.ErrorIs(t, d.Migrate(t.Context(), to(moves, "fake/b").Ref, moves), hypervisor.ErrRefused, "an earlier order")
	require.NoError(t, d.Close())
}
