package script_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/berthage/berthage"
	"github.com/berthage/berthage/hypervisor"
	"github.com/berthage/berthage/pool"
)

// What is compared, and what is not because it differs by nature:
//
//   - Ids of instances follow from the ledger's random identity; wherever one stands the instance's name is read.
//   - Revisions and times: the same commands are committed, and driver results come between them as they come.
//   - Addresses: the simulated guests have some, and libvirt's test driver has no leases.
//   - A refusal in the hypervisor's own words, see plain.
//
// Compared is all else that commands, drivers and observations change, and of each host's machines their power and
// sizes, so that the books are right on both sides and not only alike. What a spec and an image were at launch is the
// command's own. Which of several members of a cluster is refused first by its hypervisor is a matter of time, and with it
// where there is still room for the others; no script leaves that to chance.

// plain is a text in which both hypervisors' own words for the same are the same words.
func plain(text string) string {
	return strings.NewReplacer(
		`no image "volume:default/none"`, "the image is lost",
		`image "default/none": Storage volume not found: no storage vol with matching name 'none'`, "the image is lost",
	).Replace(text)
}

// text is the books of a side and the machines of its hosts in a form that is the same on both.
func (s *side) text() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	var clusters []pool.ClusterID
	var draining []pool.HostID
	s.m.View(func(st *pool.State) {
		for _, h := range st.SortedHosts() {
			say("host %s: %s %q cold=%t proof=%q zone=%s; capacity %s; used %s, devices %v; %d placed, %d held",
				h.ID, h.Conditions, h.Reason, h.Cold, h.Proof, h.Zone, h.Capacity, h.Used, h.DeviceUsed, h.Placed, h.Held)
		}
		for h := range st.Hosts() {
			if h.Conditions.Has(pool.Draining) {
				draining = append(draining, h.ID)
			}
		}
		for _, name := range []string{"shop", "tight"} {
			p, ok := st.Project(name)
			if ok {
				say("project %s: used %s by %d, quota %s", name, p.Used, p.Members, p.Quota)
			}
		}
		all := st.SortedInstances()
		slices.SortFunc(all, func(x, y *pool.Instance) int { return strings.Compare(x.Name, y.Name) })
		for _, i := range all {
			say("instance %s of %s: %s, want %s, is %s (%s); %s; reason %q fault %q; started %t; %d of %d reboots; cluster %q %d ran=%t; moving %t resizing %t shelved %t",
				i.Name, i.Project, i.Phase, i.Want, i.Is, i.Status(), place(i), plain(i.Reason), i.Fault, i.Started, i.Rebooted, i.Reboots,
				i.Cluster, i.Index, i.Ran, i.Move != nil, i.Resize != nil, i.Shelf != nil)
		}
		for h := range st.Held() {
			say("held %s on %s: %v %q", h.Machine, h.Host, h.Allocation, h.Reason)
		}
		for c := range st.Clusters() {
			clusters = append(clusters, c.ID)
		}
	})
	slices.Sort(clusters)
	slices.Sort(draining)
	for _, id := range clusters {
		c, err := s.m.Cluster(id)
		require.NoError(s.t, err)
		say("cluster %s: %d wanted %s, stagger %d; %s concerns %d, %d refused %q; %d done, %d pending, %d failed, %d skipped",
			id, c.Size, c.Want, c.Stagger, c.Op.Verb, c.Op.Concern, c.Op.Refused, plain(c.Op.Reason), c.Done, c.Pending, c.Failed, c.Skipped)
		for _, m := range c.Members {
			say("  %d %s: %s, %s %q", m.Index, m.Name, m.Status, m.Outcome, plain(m.Reason))
		}
	}
	for _, h := range draining {
		leaving := s.m.Leaving(h)
		slices.SortFunc(leaving, func(x, y berthage.Leaver) int { return strings.Compare(x.Name, y.Name) })
		for _, l := range leaving {
			say("leaving %s: %s, %s, to %q: %q", h, l.Name, l.Status, l.To, l.Reason)
		}
	}
	machines := s.machines()
	slices.Sort(machines)
	for _, m := range machines {
		say("machine %s", m)
	}
	return s.named(b.String())
}

// place is where an instance is and what it holds there.
func place(i *pool.Instance) string {
	if !i.Placed() {
		return fmt.Sprintf("not placed, avoid %v", i.Avoid)
	}
	p := i.Place
	return fmt.Sprintf("%d on %s: %s %v, sent %t doubt %t, avoid %v", p.Number, p.Host, p.Allocation.Resources, p.Allocation.Claims, p.Sent, p.Doubt, i.Avoid)
}

// machines are what the driver shows on the hosts. Cores are whole ones in these scripts: libvirt has no others.
func (s *side) machines() []string {
	hosts, err := s.driver.Hosts(s.t.Context())
	require.NoError(s.t, err)
	var out []string
	for _, h := range hosts {
		machines, err := s.driver.Machines(s.t.Context(), h.ID)
		require.NoError(s.t, err)
		for _, m := range machines {
			name := string(m.Machine)
			if m.Tag == (hypervisor.Tag{}) {
				name = m.Name
			}
			out = append(out, fmt.Sprintf("%s on %s: %s, %s, %q", s.named(name), h.ID, m.Power, m.Resources, m.Fault))
		}
	}
	return out
}

// learn remembers the instances' names.
func (s *side) learn() {
	s.m.View(func(st *pool.State) {
		for i := range st.Instances() {
			s.ids[i.Name] = i.ID
		}
	})
}

// named is a text with the names of instances instead of their ids.
func (s *side) named(text string) string {
	var pairs []string
	for name, id := range s.ids {
		pairs = append(pairs, string(id), name)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// restless says what a side has not come to rest with: everything but machines that are not there any more.
func (s *side) restless() string {
	var out []string
	s.m.View(func(st *pool.State) {
		for i := range st.Unsettled() {
			if i.Status() != "missing" || i.Move != nil || i.Resize != nil {
				out = append(out, fmt.Sprintf("%s is %s, want %s, is %s, %q", i.Name, i.Status(), i.Want, i.Is, i.Reason))
			}
		}
		for h := range st.Held() {
			out = append(out, "held "+string(h.Machine))
		}
	})
	return strings.Join(out, "; ")
}

// step is one command, given to both sides.
type step struct {
	name  string
	do    func(*side) error
	until func(*side) bool // beside being at rest
}

// take gives the command to both sides, waits until they are at rest and compares answers and books.
func (b *both) take(c step) error {
	b.t.Helper()
	b.log = append(b.log, c.name)
	var answers, books []string
	var answer error
	for n, s := range b.sides {
		err := c.do(s)
		if n == 0 {
			answer = err
		}
		s.learn()
		answers = append(answers, s.named(plain(fmt.Sprintf("%v\n%s", err, kinds(err)))))
	}
	require.Equal(b.t, answers[0], answers[1], "answers to %s of\n%s", c.name, b.sofar())
	for _, s := range b.sides {
		deadline := time.Now().Add(90 * time.Second)
		for s.restless() != "" || c.until != nil && !c.until(s) {
			if time.Now().After(deadline) {
				b.t.Fatalf("%s has not come to rest after %s: %s\n%s\n%s", s.name, c.name, s.restless(), s.text(), b.sofar())
			}
			time.Sleep(2 * time.Millisecond)
		}
		books = append(books, s.text())
	}
	require.Equal(b.t, books[0], books[1], "the books of %s and %s after %s of\n%s", b.sides[0].name, b.sides[1].name, c.name, b.sofar())
	return answer
}

// sofar is the script up to now.
func (b *both) sofar() string { return strings.Join(b.log, "\n") }

// step takes a step that is to be carried out and to show in some way.
func (b *both) step(c step) {
	b.t.Helper()
	require.NoError(b.t, b.take(c), c.name)
}

// same compares an answer that is no command's.
func (b *both) same(name string, ask func(*side) string) {
	b.t.Helper()
	var answers []string
	for _, s := range b.sides {
		answers = append(answers, s.named(plain(ask(s))))
	}
	require.Equal(b.t, answers[0], answers[1], "%s after\n%s", name, b.sofar())
}

// accept takes a step that is to be carried out.
func (b *both) accept(name string, do func(*side) error) {
	b.t.Helper()
	require.NoError(b.t, b.take(step{name: name, do: do}), name)
}

// refuse takes a step that is to be refused for a reason.
func (b *both) refuse(name string, kind error, do func(*side) error) {
	b.t.Helper()
	require.ErrorIs(b.t, b.take(step{name: name, do: do}), kind, name)
}

// kinds are the kinds of error that callers can ask for.
func kinds(err error) []string {
	var out []string
	for _, k := range []error{
		pool.ErrInvalid, pool.ErrOverflow, pool.ErrNotFound, pool.ErrExists, pool.ErrInUse, pool.ErrWrongState, pool.ErrNoRoom, pool.ErrOverQuota,
		pool.ErrUnavailable, pool.ErrUnknown, errors.ErrUnsupported,
	} {
		if errors.Is(err, k) {
			out = append(out, k.Error())
		}
	}
	return out
}
