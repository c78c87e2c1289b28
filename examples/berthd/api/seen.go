package api

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/pool"
)

// seen returns what of a batch the caller may read, each event as what it is about. The error says that the caller is not to be heard any more, or that
// nothing can be decided.
func (a *api) seen(ctx context.Context, b pool.Batch) (pool.Batch, error) {
	who, _ := access.From(ctx)
	wait, cancel := context.WithTimeout(ctx, time.Second) // what is gone is asked of the operations, which follow the same ledger
	_ = a.c.Operations.Await(wait, b.Revision)            // or less is known, and less is shown
	cancel()
	out := pool.Batch{Revision: b.Revision}
	var bad error
	err := a.c.Guard.Books().Read(func(st *pool.State) {
		known, projects, now := auth.Of(st), access.Projects(st), time.Now()
		if bad = known.Good(who.Identity, now); bad != nil {
			return
		}
		views := make(map[auth.Resource]auth.View)
		for i := range b.Events {
			t := a.about(st, known, &b.Events[i])
			if t.Project != "" && b.Revision <= a.c.Operations.Removed(t.Project) { // it was of one that had the name before
				t.Project = ""
			}
			v, ok := views[t.Resource]
			if !ok {
				v = known.View(projects, who.Identity, t.Resource, now)
				views[t.Resource] = v
			}
			if v.Shows(t.Project, t.Owner) {
				out.Events = append(out.Events, b.Events[i])
			}
		}
		if len(out.Events) > 0 && !known.View(projects, who.Identity, auth.Hosts, now).Shows("", "") {
			for i := range out.Events {
				out.Events[i].Data = bareData(&out.Events[i])
			}
		}
	})
	if err == nil {
		err = bad
	}
	return out, err
}

// bareData is an event's data for whoever may not know of hosts: why something waits says how full they are.
func bareData(e *pool.Event) json.RawMessage {
	var data map[string]json.RawMessage
	if e.Kind != pool.KindLaunched || json.Unmarshal(e.Data, &data) != nil || data["reason"] == nil {
		return e.Data
	}
	delete(data, "reason")
	b, err := json.Marshal(data)
	if err != nil { // it was just read
		return json.RawMessage("{}")
	}
	return b
}

// bare is an answer for whoever may not know of hosts.
func bare(v any) any {
	switch v := v.(type) {
	case Waiter:
		v.Reason = ""
		return v
	case Page[Waiter]:
		for i := range v.Items {
			v.Items[i].Reason = ""
		}
	case Instance:
		return bareInstance(v)
	case Page[Instance]:
		for i := range v.Items {
			v.Items[i] = bareInstance(v.Items[i])
		}
	case Accepted:
		v.Instance = bareInstance(v.Instance)
		return v
	}
	return v
}

func bareInstance(i Instance) Instance {
	if i.Status == "waiting" {
		i.Reason = ""
	}
	return i
}

// about returns what an event is about.
func (a *api) about(st *pool.State, known *auth.State, e *pool.Event) auth.Thing {
	if t, ok := known.About(e); ok {
		return t
	}
	instance := func(id pool.InstanceID) auth.Thing {
		project, owner := a.instancePlace(st, id)
		return auth.Thing{Resource: auth.Instances, Project: project, Owner: owner}
	}
	machine := func(m pool.MachineID) auth.Thing {
		id, _, _ := m.Split()
		return instance(id)
	}
	cluster := func(id pool.ClusterID) auth.Thing {
		t := auth.Thing{Resource: auth.Clusters, Project: id.Project()}
		if c, ok := st.Cluster(id); ok && e.Revision >= c.Launched { // and not one that had the name before
			t.Owner = c.Owner
		}
		return t
	}
	payload, err := e.Payload()
	if err != nil {
		return ofPart(e.Kind)
	}
	switch p := payload.(type) {
	case *pool.Launched:
		return instance(p.Instance)
	case *pool.Of:
		return instance(p.Instance)
	case *pool.Awaiting:
		return instance(p.Instance)
	case *pool.Lapsed:
		return instance(p.Instance)
	case *pool.Wanted:
		return instance(p.Instance)
	case *pool.RebootWanted:
		return instance(p.Instance)
	case *pool.Placed:
		return instance(p.Instance)
	case *pool.Ended:
		return instance(p.Instance)
	case *pool.Moving:
		return instance(p.Instance)
	case *pool.ResizeWanted:
		return instance(p.Instance)
	case *pool.OfMachine:
		return machine(p.Machine)
	case *pool.Refused:
		return machine(p.Machine)
	case *pool.Observed:
		return machine(p.Machine)
	case *pool.Moved:
		return machine(p.Machine)
	case *pool.Stayed:
		return machine(p.Machine)
	case *pool.ClusterPut:
		return auth.Thing{Resource: auth.Clusters, Project: p.Cluster.Project(), Owner: p.Owner}
	case *pool.ClusterActed:
		return cluster(p.Cluster)
	case *pool.ClusterRemoved:
		return cluster(p.Cluster)
	case *pool.Project:
		return auth.Thing{Resource: auth.Projects, Project: p.Name}
	case *pool.Named:
		if e.Kind == pool.KindProjectRemoved {
			return auth.Thing{Resource: auth.Projects, Project: p.Name}
		}
		return ofPart(e.Kind)
	}
	return ofPart(e.Kind)
}

// ofPart returns what an event is about that lies in no project, by what its kind begins with.
func ofPart(kind string) auth.Thing {
	for _, of := range []struct {
		prefix string
		on     auth.Resource
	}{
		{"host.", auth.Hosts}, {"image.", auth.Images}, {"flavor.", auth.Flavors}, {"audit.", auth.Audit}, {"quota.", auth.Quotas}, {"prices.", auth.Usage},
		{"alert.rule.", auth.Rules}, {"alert.silence", auth.Silences}, {"alert.receiver.", auth.Receivers}, {"alert.routing.", auth.Routes},
		{"alert.messages.", auth.Messages}, {"alert.event", auth.Messages}, {"alert.", auth.Alerts},
	} {
		if strings.HasPrefix(kind, of.prefix) {
			return auth.Thing{Resource: of.on}
		}
	}
	return auth.Thing{Resource: auth.Events}
}
