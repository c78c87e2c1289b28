package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// HostPath names a host in a path.
type HostPath struct {
	Driver string `path:"driver" maxLength:"63" doc:"First part of the host's id" example:"sim"`
	Native string `path:"host" maxLength:"255" doc:"The rest of the host's id; a slash in it is written %2F" example:"node-0001"`
}

func (p HostPath) id() pool.HostID { return pool.NewHostID(p.Driver, p.Native) }

type listHosts struct {
	Paging
	Changes
	Conditional
	Zone      string `query:"zone" maxLength:"63" doc:"Only hosts of this zone"`
	OfDriver  string `query:"driver" maxLength:"63" doc:"Only hosts of this driver"`
	Condition string `query:"condition" enum:"ready,cordoned,draining,unreachable,fenced,schedulable,unschedulable" doc:"Only hosts in this condition"`
	Name      string `query:"name" maxLength:"255" doc:"Only hosts whose id, name or address contains this"`
}

func (l *listHosts) wants(h *pool.HostRecord) bool {
	switch {
	case int64(h.Changed) <= l.Since && l.Since > 0,
		l.Zone != "" && h.Zone != l.Zone,
		l.OfDriver != "" && h.ID.Driver() != l.OfDriver,
		l.Name != "" && !strings.Contains(string(h.ID), l.Name) && !strings.Contains(h.Name, l.Name) && !strings.Contains(h.Address, l.Name):
		return false
	}
	switch l.Condition {
	case "":
		return true
	case "schedulable":
		return h.Conditions.Schedulable()
	case "unschedulable":
		return !h.Conditions.Schedulable()
	}
	return slices.Contains(h.Conditions.Names(), l.Condition)
}

type hostOutput struct{ Body Host }

// AddHostBody names a host that is to join.
type AddHostBody struct {
	ID string `json:"id" maxLength:"255" minLength:"1" doc:"Id of a host that its driver reports" example:"sim/node-0001"`
}

// CordonBody says why a host is to take no new instances.
type CordonBody struct {
	Reason string `json:"reason,omitempty" maxLength:"255" doc:"For people" example:"memory module to be replaced"`
}

func (a *api) registerHosts() {
	register(a, shows(auth.Hosts), nowhere, describe("list-hosts", http.MethodGet, "/hosts", "Hosts", "List hosts", "Hosts by id, with what they have and what is used of it.", 422),
		func(ctx context.Context, in *listHosts) (*pageOutput[HostSummary], error) {
			return a.listHosts(ctx, in)
		})
	register(a, reads(auth.Hosts), ofHost, describe("get-host", http.MethodGet, "/hosts/{driver}/{host}", "Hosts", "Get a host", "One host with its devices and what can be asked of it.", 404),
		func(_ context.Context, in *HostPath) (*hostOutput, error) { return a.host(in.id()) })
	op := describe("add-host", http.MethodPost, "/hosts", "Hosts", "Add a host",
		"Takes a host into the pool that its driver reports. Hosts join by themselves; this is for one that was removed before.", 404, 502)
	op.DefaultStatus = http.StatusCreated
	register(a, may(auth.Hosts, auth.Create), nowhere, withExample(op, AddHostBody{ID: "sim/node-0001"}),
		func(ctx context.Context, in *struct{ Body AddHostBody }) (*hostOutput, error) {
			h, err := a.as(ctx).AddHost(ctx, pool.HostID(in.Body.ID))
			if err != nil {
				return nil, problem.OfBody(err)
			}
			return a.host(h.ID)
		})
	register(a, may(auth.Hosts, auth.Delete), ofHost, describe("remove-host", http.MethodDelete, "/hosts/{driver}/{host}", "Hosts", "Remove a host",
		"Takes a host without instances out of the pool, until it is added again.", 404, 409),
		func(ctx context.Context, in *HostPath) (*struct{}, error) {
			return nil, problemOf(a.as(ctx).RemoveHost(ctx, in.id()))
		})
	register(a, may(auth.Hosts, auth.Operate), ofHost, withExample(describe("cordon-host", http.MethodPost, "/hosts/{driver}/{host}/cordon", "Hosts", "Cordon a host",
		"Keeps new instances off a host; what runs there goes on.", 404), CordonBody{Reason: "memory module to be replaced"}),
		func(ctx context.Context, in *struct {
			HostPath
			Body CordonBody
		}) (*hostOutput, error) {
			if _, err := a.as(ctx).Cordon(ctx, in.id(), in.Body.Reason); err != nil {
				return nil, problemOf(err)
			}
			return a.host(in.id())
		})
	register(a, may(auth.Hosts, auth.Operate), ofHost, describe("uncordon-host", http.MethodPost, "/hosts/{driver}/{host}/uncordon", "Hosts", "Uncordon a host",
		"Ends a cordon.", 404),
		func(ctx context.Context, in *HostPath) (*hostOutput, error) {
			if _, err := a.as(ctx).Uncordon(ctx, in.id()); err != nil {
				return nil, problemOf(err)
			}
			return a.host(in.id())
		})
	a.registerSamples()
}

// problemOf is problem.From for errors that may be nil.
func problemOf(err error) error {
	if err == nil {
		return nil
	}
	return problem.From(err)
}

func (a *api) listHosts(ctx context.Context, in *listHosts) (*pageOutput[HostSummary], error) {
	var tag string
	var rev pool.Revision
	var hosts []*pool.HostRecord
	var same error
	err := a.visible(ctx, auth.Hosts, func(st *pool.State, shows func(string, string) bool) {
		tag, rev = etag(st.Identity(), st.Head()), st.Head()
		if same = in.check(tag); same != nil || !shows("", "") {
			return
		}
		for h := range st.Hosts() {
			if in.wants(h) {
				hosts = append(hosts, h)
			}
		}
	})
	if err := cmp.Or(err, same); err != nil {
		return nil, err
	}
	slices.SortFunc(hosts, func(x, y *pool.HostRecord) int { return strings.Compare(string(x.ID), string(y.ID)) })
	out, err := paginate(in.Paging, requestOf(ctx).URL, rev, hosts, func(h *pool.HostRecord) string { return string(h.ID) }, hostSummary)
	if err != nil {
		return nil, problem.From(err)
	}
	out.ETag = tag
	return out, nil
}

func (a *api) host(id pool.HostID) (*hostOutput, error) {
	h := view(a.c.Manager, func(st *pool.State) *pool.HostRecord {
		h, _ := st.Host(id)
		return h
	})
	if h == nil {
		return nil, problem.From(&pool.Error{Op: "get host " + pool.Quote(string(id)), Kind: pool.ErrNotFound, Field: "host", Value: string(id)})
	}
	return &hostOutput{Body: host(h, a.c.Manager.Capabilities(id))}, nil
}

// Sample is one reading.
type Sample struct {
	Machine string    `json:"machine,omitempty" doc:"Empty: of the host itself"`
	Name    string    `json:"name" doc:"As Prometheus would name it" example:"cpu_seconds_total"`
	Device  string    `json:"device,omitempty" doc:"Disk, interface or storage pool, where there are several"`
	Value   float64   `json:"value"`
	Time    time.Time `json:"time"`
}

// Samples are the readings of a host.
type Samples struct {
	Items []Sample `json:"items" nullable:"false"`
}

func (a *api) registerSamples() {
	op := describe("get-host-samples", http.MethodGet, "/hosts/{driver}/{host}/samples", "Hosts", "Measure a host",
		"Present readings of the host and of our machines on it, asked of the hypervisor now. Needs the ability meter.", 404, 501, 502)
	register(a, reads(auth.Hosts), ofHost, op, func(ctx context.Context, in *HostPath) (*struct{ Body Samples }, error) {
		if _, err := a.host(in.id()); err != nil {
			return nil, err
		}
		samples, err := a.c.Manager.Sample(ctx, in.id())
		if err != nil {
			return nil, problem.From(err)
		}
		out := &struct{ Body Samples }{Samples{Items: []Sample{}}}
		for _, s := range samples {
			out.Body.Items = append(out.Body.Items, Sample{Machine: string(s.Machine), Name: s.Name, Device: s.Device, Value: s.Value, Time: s.Time})
		}
		return out, nil
	})

	op = describe("get-host-images", http.MethodGet, "/hosts/{driver}/{host}/images", "Hosts", "List what images can be made of",
		"What the catalogue's images may name as their sources for this driver, as the hypervisor lists it now. Needs the ability image.", 404, 501, 502)
	register(a, reads(auth.Hosts), ofHost, op, func(ctx context.Context, in *HostPath) (*struct{ Body SourceImages }, error) {
		if _, err := a.host(in.id()); err != nil {
			return nil, err
		}
		list, err := a.c.Manager.SourceImages(ctx, in.id())
		if err != nil {
			return nil, problem.From(err)
		}
		out := &struct{ Body SourceImages }{SourceImages{Items: []SourceImage{}}}
		for _, i := range list {
			out.Body.Items = append(out.Body.Items, SourceImage(i))
		}
		return out, nil
	})
}

// SourceImage is what an image of the catalogue can be made of.
type SourceImage struct {
	Source string `json:"source" doc:"As in an image's sources"`
	Name   string `json:"name" doc:"For people"`
	Size   int64  `json:"size,omitempty" doc:"Bytes of the disk that it makes at least; absent: not known"`
}

// SourceImages are those of a host.
type SourceImages struct {
	Items []SourceImage `json:"items" nullable:"false"`
}
