package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berthage/berthage/alert"
	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/access"
	"github.com/berthage/berthage/examples/berthd/operation"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// need is what an operation takes of whoever asks for it. It is declared where the operation is registered, and stands in the description.
type need struct {
	on   auth.Resource
	verb auth.Verb

	// what the answer is made of: things of which each is shown to whoever may read it. Nobody is refused, and many see nothing.
	shown bool
	// nobody is refused who is known, since it is about themselves alone
	self bool
	// nor anybody else: it is how one becomes known
	public bool
}

func reads(on auth.Resource) need               { return need{on: on, verb: auth.Read} }
func may(on auth.Resource, verb auth.Verb) need { return need{on: on, verb: verb} }
func shows(on auth.Resource) need               { return need{on: on, verb: auth.Read, shown: true} }
func self() need                                { return need{self: true} }
func public() need                              { return need{self: true, public: true} }
func (n need) anybody() bool                    { return n.shown || n.self }
func (n need) extension() map[string]any {
	about := "thing"
	switch {
	case n.shown:
		about = "each"
	case n.public:
		return map[string]any{"about": "public"}
	case n.self:
		return map[string]any{"about": "self"}
	}
	return map[string]any{"resource": string(n.on), "verb": n.verb.String(), "about": about}
}

// Authorization is the name under which each operation of the description says what it takes: resource and verb as in docs/auth.md, and
// whether that is decided of the thing, of each thing that is shown, or is about the caller alone.
const Authorization = "x-authorization"

// place is what a request is about: where it lies and whose it is. Of what there is not it says only what was asked for.
type place struct {
	project, owner string
	mine           bool   // it is to be made: its owner is who asks
	itself         string // a project that is to be changed: whoever may read it knows of it, wherever it lies
	field, value   string // that name it
}

// register registers an operation that is carried out only for whoever may do what it needs with what it is about. It is the only way in.
func register[I, O any](a *api, n need, of func(*api, *I) place, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	op.Extensions = map[string]any{Authorization: n.extension()}
	if !n.anybody() {
		op.Errors = append(op.Errors, http.StatusNotFound)
		if n.verb != auth.Read {
			op.Errors = append(op.Errors, http.StatusForbidden)
		}
	}
	slices.Sort(op.Errors)
	op.Errors = slices.Compact(op.Errors)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		if err := a.allow(ctx, n, func() place { return of(a, in) }); err != nil {
			return nil, err
		}
		return h(ctx, in)
	})
}

// allow returns nil if the caller may. What they may not know of does not exist, and what does not exist is refused in the same words.
func (a *api) allow(ctx context.Context, n need, of func() place) error {
	if n.public {
		return nil
	}
	who, _ := access.From(ctx)
	if n.anybody() {
		known, err := a.c.Guard.Books().State(ctx)
		if err == nil {
			err = known.Good(who.Identity, time.Now())
		}
		return problemOf(err)
	}
	at := of()
	if at.mine {
		at.owner = who.Actor
	}
	err := a.c.Guard.Allow(ctx, n.verb, auth.Thing{Resource: n.on, Project: at.project, Owner: at.owner})
	var r *auth.Refusal
	if errors.As(err, &r) && r.Hidden && at.itself != "" && a.c.Guard.Allow(ctx, auth.Read, auth.Thing{Resource: n.on, Project: at.itself}) == nil {
		seen := *r
		seen.Hidden = false
		err = &seen
	}
	if errors.As(err, &r) && r.Hidden && r.Kind == auth.ErrForbidden {
		p := problem.NotFound.New("there is nothing of this kind that you may see")
		p.Field, p.Value, p.Cause = at.field, at.value, r
		return p
	}
	return problemOf(err)
}

// visible calls back with the books and with what of a resource the caller may read.
func (a *api) visible(ctx context.Context, on auth.Resource, use func(st *pool.State, shows func(project, owner string) bool)) error {
	who, _ := access.From(ctx)
	return problemOf(a.c.Guard.Books().Read(func(st *pool.State) {
		use(st, auth.Of(st).View(access.Projects(st), who.Identity, on, time.Now()).Shows)
	}))
}

// sees reports whether the caller may read what of a resource lies in no project.
func (a *api) sees(ctx context.Context, on auth.Resource) (yes bool) {
	err := a.visible(ctx, on, func(_ *pool.State, shows func(string, string) bool) { yes = shows("", "") })
	return err == nil && yes
}

// nowhere is of what lies in no project.
func nowhere[I any](*api, *I) place { return place{} }

// lie is where something in a list lies and whose it is.
type lie[R any] func(st *pool.State, r R) (project, owner string)

// inNone is that of what lies in no project.
func inNone[R any](*pool.State, R) (project, owner string) { return "", "" }

// ofHost is of a host that the path names.
func ofHost[I interface{ id() pool.HostID }](_ *api, in *I) place {
	return place{field: "host", value: string((*in).id())}
}

// ofInstance is of an instance that the path names, or of a reservation, which has the id of an instance.
func ofInstance[I interface{ id() pool.InstanceID }](a *api, in *I) place {
	id := (*in).id()
	var project, owner string
	a.c.Manager.View(func(st *pool.State) { project, owner = a.instancePlace(st, id) })
	return place{project: project, owner: owner, field: "instance", value: string(id)}
}

// instancePlace is where an instance lies; of one that is gone, for as long as what was done to it is remembered.
func (a *api) instancePlace(st *pool.State, id pool.InstanceID) (project, owner string) {
	if i, ok := st.Instance(id); ok {
		return i.Project, i.Owner
	}
	o, _ := a.c.Operations.Find(id, func(*operation.Operation) bool { return true })
	return o.Project, o.Owner
}

// ofCluster is of a cluster that the path names.
func ofCluster[I interface{ id() pool.ClusterID }](a *api, in *I) place {
	id := (*in).id()
	at := place{project: id.Project(), field: "cluster", value: string(id)}
	a.c.Manager.View(func(st *pool.State) {
		if c, ok := st.Cluster(id); ok {
			at.owner = c.Owner
		}
	})
	return at
}

// inProject is of something that is to be made in a project.
func inProject(project string) place {
	return place{project: project, mine: true, field: "project", value: project}
}

// ofProject is of a project itself, to read it.
func ofProject[I interface{ named() string }](_ *api, in *I) place {
	name := (*in).named()
	return place{project: name, field: "project", value: name}
}

// ofParent is of a project that is to be changed, which is for those above it to say.
func ofParent[I interface{ named() string }](a *api, in *I) place {
	at := place{itself: (*in).named(), field: "project", value: (*in).named()}
	a.c.Manager.View(func(st *pool.State) {
		if p, ok := st.Project(at.value); ok {
			at.project = p.Parent
		}
	})
	return at
}

// ofNamed is of something in no project that the path names.
func ofNamed[I interface{ named() string }](_ *api, in *I) place {
	return place{field: "name", value: (*in).named()}
}

// alertPlace is where an alert lies: with the instance that it is about, or in the project.
func (a *api) alertPlace(st *pool.State, l alert.Labels) (project, owner string) {
	if id := l.Get(labelInstance); id != "" {
		return a.instancePlace(st, pool.InstanceID(id))
	}
	return l.Get(labelProject), ""
}

// The labels by which an alert says what it is about.
const (
	labelInstance = "vm_id"
	labelProject  = "project"
)

// ofAlert is of an alert that the path names.
func ofAlert[I interface{ alert() string }](a *api, in *I) place {
	at := place{field: "alert", value: (*in).alert()}
	if s, err := a.findAlert(at.value); err == nil {
		a.c.Manager.View(func(st *pool.State) { at.project, at.owner = a.alertPlace(st, s.Alert.Labels) })
	}
	return at
}

// ofSilence is of a silence that the path names.
func ofSilence[I interface{ silence() string }](a *api, in *I) place {
	at := place{field: "silence", value: (*in).silence()}
	for _, s := range a.c.Manager.Alerts().Silences() {
		if s.ID == at.value {
			at.project = silencePlace(s.Matchers)
		}
	}
	return at
}

// silencePlace is the project that a silence is about alone.
func silencePlace(matchers alert.Matchers) string {
	for _, m := range matchers {
		if m.Name() == labelProject && m.Op() == alert.Equal {
			return m.Value()
		}
	}
	return ""
}
