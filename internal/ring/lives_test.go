package ring_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage/internal/ring"
	"github.com/berthage/berthage/pool"
	"github.com/berthage/berthage/scheduler/lifetime"
)

// What was reserved and never committed has not lived: how long the others live stays what it was.
func TestLapsedHaveNotLived(t *testing.T) {
	t.Parallel()
	l := newLedger(t)
	l.add(pool.KindProjectPut, &pool.Project{Name: "p"})
	host := l.host("a", 64, 64)
	var lives ring.Lives
	step := func(kind string, payload any) {
		l.n++
		o := l.st.Overlay()
		e, err := pool.NewEvent(kind, payload)
		require.NoError(t, err)
		e.ID, e.Revision, e.Time = fmt.Sprint("e", l.n), pool.Revision(l.n), time.Unix(int64(60*l.n), 0)
		require.NoError(t, o.Apply(&e))
		lives.Follow(o)
		l.st.Absorb(o)
	}
	spec := sized(1, 1, 0, "")
	class := lifetime.Class{Project: "p", Flavor: spec.Resources.String(), Batch: 1}
	launch := func(name string, until time.Time) pool.InstanceID {
		id := l.st.InstanceFor("p", name)
		step(pool.KindLaunched, &pool.Launched{Instance: id, Name: name, Project: "p", Spec: spec, Image: pool.Image{Name: "debian-12", User: "debian"},
			Want: pool.Running, Until: until, Place: pool.Placement{Host: host, Allocation: pool.Allocation{Resources: spec.Resources}}})
		return id
	}
	for n := range 20 {
		launch(fmt.Sprint("lives", n), time.Time{})
	}
	at := time.Unix(int64(60*(l.n+1000)), 0)
	before := lives.Expect(class, at)
	for n := range 20 {
		id := launch(fmt.Sprint("lapses", n), time.Unix(1e9, 0))
		step(pool.KindLapsed, &pool.Lapsed{Instance: id})
	}
	require.Equal(t, before, lives.Expect(class, at))
}
