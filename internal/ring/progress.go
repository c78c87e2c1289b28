package ring

import (
	"slices"
	"strings"

	"github.com/berthage/berthage/pool"
)

// ClusterView is a cluster with how far its last command has come.
type ClusterView struct {
	pool.Cluster

	Done    int      `json:"done"`    // members that are as they are wanted
	Pending int      `json:"pending"` // on their way
	Failed  int      `json:"failed"`  // given up, or never placed
	Skipped int      `json:"skipped"` // left as they were
	Members []Member `json:"members"` // by index
}

// Member is a member of a cluster.
type Member struct {
	Instance pool.InstanceID `json:"instance"`
	Name     string          `json:"name"`
	Index    int             `json:"index"`
	Status   string          `json:"status"`
	Outcome  string          `json:"outcome"` // "done", "pending", "failed" or "skipped", of the last command
	Reason   string          `json:"reason,omitempty"`
}

// Cluster returns a cluster and its members as they are in the books.
func (r *Ring) Cluster(id pool.ClusterID) (ClusterView, bool) {
	var v ClusterView
	found := false
	r.View(func(st *pool.State) {
		c, ok := st.Cluster(id)
		if found = ok; !ok {
			return
		}
		v.Cluster, v.Failed = *c, c.Op.Refused
		v.Members = make([]Member, 0, len(c.Members))
		for _, i := range membersOf(st, c) {
			m := Member{Instance: i.ID, Name: i.Name, Index: i.Index, Status: i.Status(), Outcome: "pending", Reason: i.Reason}
			skip := slices.IndexFunc(c.Op.Skipped, func(s pool.Skip) bool { return s.Index == i.Index })
			switch {
			case i.Phase == pool.Failed, i.Fault != "":
				m.Outcome, m.Reason = "failed", strings.Join(slices.DeleteFunc([]string{i.Reason, i.Fault}, func(s string) bool { return s == "" }), "; ")
				v.Failed++
			case c.Want == pool.Shelved && i.Want != pool.Shelved && i.Reason != "" && skip < 0: // it was refused
				m.Outcome = "failed"
				v.Failed++
			case skip >= 0:
				m.Outcome, m.Reason = "skipped", c.Op.Skipped[skip].Reason
				v.Skipped++
			case i.Settled():
				m.Outcome = "done"
				v.Done++
			default:
				v.Pending++
			}
			v.Members = append(v.Members, m)
		}
	})
	return v, found
}

// Leaver is an instance on a host that is being drained.
type Leaver struct {
	Instance pool.InstanceID `json:"instance"`
	Name     string          `json:"name"`
	Status   string          `json:"status"`
	To       pool.HostID     `json:"to,omitempty"`     // where it is being moved
	Reason   string          `json:"reason,omitempty"` // why it is not, if it is not
}

// Leaving returns the instances that are on a host, by id, with what keeps those that are not being moved.
func (r *Ring) Leaving(host pool.HostID) []Leaver {
	var out []Leaver
	r.View(func(st *pool.State) {
		h, ok := st.Host(host)
		if !ok {
			return
		}
		for i := range st.InstancesOn(host) {
			l := Leaver{Instance: i.ID, Name: i.Name, Status: i.Status()}
			if i.Move != nil {
				l.To = i.Move.Host
			} else if _, err := unbusy(st, i.ID); err != nil {
				l.Reason = reason(err)
			} else if _, err := r.rules.at(r.now()).drained(st, i, h, nil); err != nil {
				l.Reason = reason(err)
			}
			out = append(out, l)
		}
	})
	slices.SortFunc(out, func(a, b Leaver) int { return strings.Compare(string(a.Instance), string(b.Instance)) })
	return out
}
