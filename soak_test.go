package berthage_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/hypervisor/fake"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/pool/ledgertest"
)

// Two Managers on one ledger, of which now and then one dies and comes back, a nearly full fleet of which
// every third call goes wrong, and a store of which every tenth does: looked at every virtual second, and
// again when all is healed. BERTHAGE_SEEDS is how many histories are run, BERTHAGE_SEED the first of them.
func TestSoak(t *testing.T) {
	t.Parallel()
	number := func(name string, otherwise uint64) uint64 {
		if s := os.Getenv(name); s != "" {
			n, err := strconv.ParseUint(s, 10, 32)
			require.NoError(t, err, name)
			return n
		}
		return otherwise
	}
	from := number("BERTHAGE_SEED", 1)
	for seed := from; seed < from+number("BERTHAGE_SEEDS", 2); seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { newSoak(t, seed).run() })
		})
	}
}

type soak struct {
	*testing.T
	seed    uint64
	random  *rand.Rand // of the test's own goroutine only
	fleet   *fake.Driver
	ledger  *pool.MemoryLedger
	scratch *pool.MemoryScratch
	seats   [2]seat
	calls   sync.WaitGroup // commands under way
	streams sync.WaitGroup

	mu  sync.Mutex
	ids map[string]pool.InstanceID // by token, of launches that were accepted
}

// seat is one of the two processes; it is empty while its Manager is dead.
type seat struct {
	m     *berthage.Manager
	store *ledgertest.Faulty
	end   context.CancelFunc
	done  chan error
}

const soakTokens = 60

func newSoak(t *testing.T, seed uint64) *soak {
	s := &soak{
		T: t, seed: seed, random: rand.New(rand.NewPCG(seed, 7)), ledger: pool.NewMemoryLedger(), scratch: pool.NewMemoryScratch(),
		ids: make(map[string]pool.InstanceID),
	}
	s.fleet = fake.New(fake.Config{
		Name: "sim", Hosts: hosts(3), Seed: seed, Overfill: true, Copies: seed%3 == 0, Settles: 30 * time.Second,
		Latency: fake.Latency{Mean: 100 * time.Millisecond, Max: time.Second},
		Build:   time.Second, Boot: 2 * time.Second, Shutdown: 2 * time.Second,
	})
	for n, tag := range []hypervisor.Tag{{}, {Ledger: "another", Machine: pool.NewInstanceID("another", "p", "t").Machine(0), Launched: 3}} {
		_, err := s.fleet.AddForeign(hypervisor.Machine{Ref: hypervisor.Ref{Host: hosts(3)[n].ID, Tag: tag}, Power: pool.Running})
		require.NoError(t, err)
	}
	return s
}

// begin opens and runs a Manager on a seat; the store may refuse several times.
func (s *soak) begin(n int) {
	store := ledgertest.NewFaulty(s.ledger, s.random.Uint64(), soakStore)
	c := berthage.Config{
		Drivers: map[string]hypervisor.Driver{"sim": s.fleet}, Ledger: store, Scratch: store.Scratch(s.scratch),
		Poll: 5 * time.Second, Grace: 20 * time.Second, CallTimeout: 20 * time.Second, LeaseTTL: 6 * time.Second,
		Ephemeral: true, Logger: slog.New(slog.NewTextHandler(soakLog(s.T), nil)),
	}
	if s.seed%2 == 0 {
		c.Name, c.Address, c.Forward = fmt.Sprintf("seat %d, %d", n, s.random.Uint32()), strconv.Itoa(n), s.forward
	}
	for range 100 {
		m, err := berthage.Open(context.Background(), c)
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		ctx, cancel := context.WithCancel(context.Background())
		p := seat{m: m, store: store, end: cancel, done: make(chan error, 1)}
		go func() { p.done <- m.Run(ctx) }()
		s.streams.Go(func() { s.follow(ctx, m) })
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seats[n] = p
		return
	}
	require.Fail(s, "never opened")
}

// follow checks that a stream of events has every batch once and in order, and none that readers do not see.
func (s *soak) follow(ctx context.Context, m *berthage.Manager) {
	after := pool.Revision(0)
	for ctx.Err() == nil {
		for b, err := range m.Events(ctx, after) {
			if err != nil {
				if ctx.Err() == nil && !is(err, pool.ErrUnavailable) {
					s.Errorf("events: %v", err)
				}
				break
			}
			if b.Revision != after+1 || b.Revision > m.Status().Revision {
				s.Errorf("batch %d after %d at head %d", b.Revision, after, m.Status().Revision)
			}
			after = b.Revision
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// forward is the network between the two, which loses some of what it carries.
func (s *soak) forward(ctx context.Context, address string, command []byte) ([]byte, error) {
	s.mu.Lock()
	m := s.seats[address[0]-'0'].m
	s.mu.Unlock()
	if m == nil || command[len(command)/2]%16 == 0 {
		return nil, errors.New("connection refused")
	}
	answer, err := m.Accept(ctx, command)
	if len(answer)%16 == 0 {
		return nil, errors.New("connection reset")
	}
	return answer, err
}

func soakLog(t *testing.T) io.Writer {
	if testing.Verbose() {
		return t.Output()
	}
	return io.Discard
}

func (s *soak) kill(n int) {
	s.mu.Lock()
	p := s.seats[n]
	s.seats[n] = seat{}
	s.mu.Unlock()
	p.end()
	require.NoError(s, <-p.done)
	p.m.Close()
}

var (
	soakStore  = ledgertest.Faults{Refused: 0.04, LostRequest: 0.02, LostReply: 0.02, Late: 0.02, Latency: 20 * time.Millisecond}
	soakFaults = fake.Faults{
		Refuse: 0.05, Unavailable: 0.05, Drop: 0.05, Lose: 0.05, Late: 0.05, Spoil: 0.03, Shorten: 0.02, Hang: 0.3,
	}
)

func (s *soak) run() {
	ctx := context.Background()
	defer func() {
		s.calls.Wait()
		for n := range s.seats {
			if s.seats[n].m != nil {
				s.kill(n)
			}
		}
		s.streams.Wait()
	}()
	s.begin(0)
	for _, err := range []error{
		s.sure(func() error {
			return s.seats[0].m.PutImage(ctx, pool.Image{Name: "debian-12", User: "debian", Sources: map[string]string{"sim": "debian"}})
		}),
		s.sure(func() error {
			return s.seats[0].m.PutProject(ctx, pool.Project{Name: "shop", Quota: pool.Resources{pool.Instances: 22}})
		}),
	} {
		require.NoError(s, err)
	}
	s.begin(1)
	faults := soakFaults
	if s.seed%3 != 0 { // a second delivery makes a second copy there, which nothing can prevent
		faults.Duplicate = 0.03
	}
	require.NoError(s, s.fleet.SetFaults(faults))
	for range 400 {
		for range s.random.IntN(3) {
			s.act()
		}
		switch n := s.random.IntN(2); {
		case s.seats[n].m == nil:
			if s.random.IntN(5) == 0 {
				s.begin(n)
			}
		case s.seats[1-n].m != nil && s.random.IntN(25) == 0:
			s.kill(n)
		}
		if h := hosts(3)[s.random.IntN(3)].ID; s.random.IntN(40) == 0 {
			require.NoError(s, s.fleet.SetHostState(h, []fake.HostState{fake.CutOff, fake.Dead}[s.random.IntN(2)]))
		} else if s.random.IntN(5) == 0 {
			require.NoError(s, s.fleet.SetHostState(h, fake.Up))
		}
		time.Sleep(time.Second)
		s.audit()
	}
	s.heal()
}

// sure repeats what the store may refuse.
func (s *soak) sure(call func() error) (err error) {
	for range 100 {
		if err = call(); !is(err, pool.ErrUnavailable, pool.ErrUnknown) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// act gives one command at random through any living Manager, without waiting for it.
func (s *soak) act() {
	n := s.random.IntN(2)
	if s.seats[n].m == nil {
		n = 1 - n
	}
	m := s.seats[n].m
	token := fmt.Sprintf("vm-%d", s.random.IntN(soakTokens))
	what, power := s.random.IntN(20), []pool.Power{pool.Running, pool.Stopped, pool.Suspended}[s.random.IntN(3)]
	host := hosts(3)[s.random.IntN(3)].ID
	s.mu.Lock()
	id, known := s.ids[token]
	s.mu.Unlock()
	s.calls.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		var err error
		switch {
		case what < 9 || !known:
			var i pool.Instance
			if i, err = m.Launch(ctx, berthage.Launch{Token: token, Project: "shop", Name: token, Spec: spec()}); err == nil {
				s.mu.Lock()
				if old, ok := s.ids[token]; ok && old != i.ID {
					s.Errorf("token %s gave %s and %s", token, old, i.ID)
				}
				s.ids[token] = i.ID
				s.mu.Unlock()
			}
		case what < 13:
			_, err = m.Delete(ctx, id)
		case what < 17:
			_, err = m.SetPower(ctx, id, power)
		case what < 19:
			_, err = m.Reboot(ctx, id, fmt.Sprint(time.Now()))
		case power == pool.Stopped:
			_, err = m.Cordon(ctx, host, "soak")
		default:
			_, err = m.Uncordon(ctx, host)
		}
		if err != nil && !is(err, pool.ErrUnavailable, pool.ErrUnknown, pool.ErrNoRoom, pool.ErrOverQuota, pool.ErrWrongState, pool.ErrNotFound) {
			s.Errorf("%s: %v", token, err)
		}
	})
}

// audit checks what must hold at every moment.
func (s *soak) audit() {
	for n := range s.seats {
		if m := s.seats[n].m; m != nil {
			sound(s.T, m, s.fleet)
			m.View(func(st *pool.State) {
				if p, ok := st.Project("shop"); ok {
					require.LessOrEqual(s, p.Used[pool.Instances], p.Quota[pool.Instances], "over quota")
				}
			})
		}
	}
	if s.seats[0].m != nil && s.seats[1].m != nil {
		require.False(s, s.seats[0].m.Status().Leading && s.seats[1].m.Status().Leading, "two lead")
	}
}

// heal ends all faults and checks what must be true soon after.
func (s *soak) heal() {
	s.calls.Wait()
	require.NoError(s, s.fleet.SetFaults(fake.Faults{}))
	for _, h := range hosts(3) {
		require.NoError(s, s.fleet.SetHostState(h.ID, fake.Up))
	}
	for n := range s.seats {
		if s.seats[n].m == nil {
			s.begin(n)
		}
		s.seats[n].store.Set(ledgertest.Faults{})
	}
	for range 600 {
		time.Sleep(time.Second)
		s.audit()
	}
	m := s.seats[0].m
	head := m.Status().Revision
	require.Equal(s, head, s.seats[1].m.Status().Revision)
	time.Sleep(10 * time.Minute)
	require.Equal(s, head, m.Status().Revision, "a fleet at rest appends nothing")

	books := make(map[hypervisor.Ref]pool.Power)
	m.View(func(st *pool.State) {
		for i := range st.Instances() {
			require.True(s, i.Settled(), "%s is %s and wanted %s: %+v", i.Name, i.Status(), i.Want, i)
			if i.Placed() {
				books[hypervisor.Ref{Host: i.Place.Host, Tag: hypervisor.Tag{Ledger: st.Identity(), Machine: i.Machine(), Launched: i.Launched}}] = i.Is
			}
		}
		for h := range st.Held() {
			require.Fail(s, "still held", "%+v", h)
		}
	})
	there, foreign := make(map[hypervisor.Ref]pool.Power), 0
	for _, h := range s.fleet.Inspect() {
		for _, x := range h.Machines {
			if x.Foreign {
				foreign++
				continue
			}
			_, twice := there[x.Ref]
			require.False(s, twice, "two copies of %v", x.Ref)
			there[x.Ref] = x.Power
		}
	}
	require.Equal(s, books, there, "the books and the machines")
	require.Equal(s, 2, foreign)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Logf("%d instances launched, %d remain; calls %v, of which faulty %v", len(s.ids), len(books), s.fleet.Calls(), s.fleet.Injected())
}
