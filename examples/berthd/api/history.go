package api

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/berthage/berthage/auth"
	"github.com/berthage/berthage/examples/berthd/history"
	"github.com/berthage/berthage/examples/berthd/problem"
	"github.com/berthage/berthage/pool"
)

// Bounds of what is shown of the past.
const (
	usualPoints = 240  // of a curve, where the caller does not say how far apart they are
	mostPoints  = 2000 // of a curve
)

// History is what was measured of a host or an instance.
type History struct {
	From    time.Time `json:"from" doc:"Of the first moment that is shown"`
	To      time.Time `json:"to" doc:"Of the last one"`
	Step    int64     `json:"step" doc:"Seconds between two moments"`
	Figures []Figure  `json:"figures" nullable:"false"`
}

// Figure is one thing that was measured.
type Figure struct {
	Figure string  `json:"figure" enum:"cpu,memory,disk,disk_io,network,load"`
	Title  string  `json:"title" doc:"For people" example:"CPU"`
	Unit   string  `json:"unit" enum:"percent,bytes/second,cores"`
	Curves []Curve `json:"curves" nullable:"false"`
}

// Curve is a figure, or a part of it, over time.
type Curve struct {
	Name   string       `json:"name" doc:"Which part: used, read, written, received, transmitted, load" example:"used"`
	Points [][2]float64 `json:"points" nullable:"false" doc:"Moment, in seconds since 1970, and value; a moment of which nothing is known is left out"`
}

// UsageNow is what hosts or instances use now.
type UsageNow struct {
	At    time.Time  `json:"at"`
	Of    string     `json:"of" enum:"hosts,instances"`
	Total int        `json:"total" doc:"How many are known; items may be fewer"`
	Items []UsageRow `json:"items" nullable:"false" doc:"Those that use most first"`
}

// UsageRow is what one host or instance uses now. A figure that nothing is known of is left out.
type UsageRow struct {
	ID          string   `json:"id" doc:"Of the host or the instance"`
	Name        string   `json:"name" doc:"For people"`
	Project     string   `json:"project,omitempty" doc:"Of the instance"`
	CPU         *float64 `json:"cpu,omitempty" doc:"Per cent of its cores"`
	Memory      *float64 `json:"memory,omitempty" doc:"Per cent"`
	Disk        *float64 `json:"disk,omitempty" doc:"Per cent of the fullest"`
	Read        *float64 `json:"read,omitempty" doc:"Bytes per second from disks"`
	Written     *float64 `json:"written,omitempty" doc:"Bytes per second to disks"`
	Received    *float64 `json:"received,omitempty" doc:"Bytes per second from the network"`
	Transmitted *float64 `json:"transmitted,omitempty" doc:"Bytes per second to the network"`
	Load        *float64 `json:"load,omitempty" doc:"Cores that are busy, or wanted and not had"`
}

// HistoryRange is a stretch of time.
type HistoryRange struct {
	From time.Time `query:"from" doc:"Beginning; without it an hour before the end" example:"2026-11-01T12:00:00Z"`
	To   time.Time `query:"to" doc:"End; without it now" example:"2026-11-01T13:00:00Z"`
	Step int64     `query:"step" minimum:"1" maximum:"31536000" doc:"Seconds between two moments; without it as many as make 240 of them or fewer"`
}

// resolve gives what the caller has not said its default, and refuses what cannot be answered.
func (r HistoryRange) resolve(now time.Time, interval time.Duration) (from, to time.Time, step time.Duration, err error) {
	from, to = r.From, r.To
	if to.IsZero() {
		to = now
	}
	if from.IsZero() {
		from = to.Add(-time.Hour)
	}
	invalid := func(field, want string) error {
		return problem.From(&pool.Error{Kind: pool.ErrInvalid, Field: field, Want: want})
	}
	switch year := 365 * 24 * time.Hour; {
	case from.Year() < 1970 || to.Year() > 9999:
		return from, to, 0, invalid("from", "a moment from 1970 on")
	case !from.Before(to):
		return from, to, 0, invalid("from", "a moment before to")
	case to.Sub(from) > 100*year:
		return from, to, 0, invalid("from", "a moment at most 100 years before to")
	}
	unit := max(interval, time.Second)
	if step = time.Duration(r.Step) * time.Second; step == 0 {
		step = (to.Sub(from)/usualPoints + unit - 1) / unit * unit
		step = max(step.Round(time.Second), time.Second)
	}
	if to.Sub(from)/step >= mostPoints {
		return from, to, 0, invalid("step", "so many seconds that there are at most 2000 moments")
	}
	// Moments are whole multiples of the step since 1970, so that the same moment has the same value whenever it is asked for.
	floor := func(t time.Time) time.Time { s := int64(step / time.Second); return time.Unix(t.Unix()/s*s, 0).UTC() }
	last := floor(to)
	if from = floor(from.Add(step - 1)); from.After(last) {
		from = last
	}
	return from, last, step, nil
}

func (a *api) registerHistory() {
	about := "Without from and to it is the last hour. Moments are whole multiples of the step. A daemon that keeps no history answers 503."
	register(a, reads(auth.Hosts), ofHost, describe("get-host-history", http.MethodGet, "/hosts/{driver}/{host}/history", "History", "What a host was doing",
		"CPU, memory, disk, network and load of a host over time. "+about, 404, 422),
		func(ctx context.Context, in *struct {
			HostPath
			HistoryRange
		}) (*struct{ Body History }, error) {
			if _, err := a.host(in.id()); err != nil {
				return nil, err
			}
			return a.history(ctx, history.Hosts, string(in.id()), in.HistoryRange)
		})
	register(a, reads(auth.History), ofInstance, describe("get-instance-history", http.MethodGet, "/instances/{id}/history", "History", "What an instance was doing",
		"CPU, memory, disk, network and load of an instance over time, wherever it was. "+about, 404, 422),
		func(ctx context.Context, in *struct {
			InstancePath
			HistoryRange
		}) (*struct{ Body History }, error) {
			if _, err := a.c.Manager.Instance(in.id()); err != nil {
				return nil, problem.From(err)
			}
			return a.history(ctx, history.Instances, string(in.id()), in.HistoryRange)
		})
	register(a, shows(auth.Usage), nowhere, describe("get-usage", http.MethodGet, "/usage", "History", "Who uses most now",
		"What hosts or instances use now, those that use most first. A daemon that keeps no history answers 503.", 422),
		func(ctx context.Context, in *struct {
			Of      string `query:"of" enum:"hosts,instances" default:"hosts" doc:"Of which"`
			By      string `query:"by" enum:"cpu,memory,disk,read,written,received,transmitted,load" default:"cpu" doc:"By which figure they are ordered"`
			Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"20" doc:"At most so many items"`
			Project string `query:"project" maxLength:"63" doc:"Only instances of this project"`
		}) (*struct{ Body UsageNow }, error) {
			out, err := a.usage(ctx, in.Of, in.By, in.Project, in.Limit)
			if err != nil {
				return nil, err
			}
			return &struct{ Body UsageNow }{*out}, nil
		})
}

// kept returns the history, or the problem that there is none.
func (a *api) kept() (*history.History, error) {
	if a.c.History == nil {
		p := problem.Unavailable.New("this daemon keeps no history")
		p.Want = "a daemon that is started with --history, such as 15s"
		return nil, p
	}
	return a.c.History, nil
}

func (a *api) history(ctx context.Context, of history.Subject, id string, r HistoryRange) (*struct{ Body History }, error) {
	h, err := a.kept()
	if err != nil {
		return nil, err
	}
	from, to, step, err := r.resolve(time.Now(), h.Interval())
	if err != nil {
		return nil, err
	}
	curves, err := h.Curves(ctx, of, id, from, to, step)
	if err != nil {
		return nil, unanswered(err)
	}
	out := History{From: from, To: to, Step: int64(step / time.Second), Figures: []Figure{}}
	for _, c := range curves {
		if n := len(out.Figures); n == 0 || out.Figures[n-1].Figure != c.Figure {
			out.Figures = append(out.Figures, Figure{Figure: c.Figure, Title: c.Title, Unit: c.Unit})
		}
		points := make([][2]float64, 0, len(c.Points))
		for _, p := range c.Points {
			points = append(points, [2]float64{float64(p.At.UnixMilli()) / 1000, p.Value})
		}
		f := &out.Figures[len(out.Figures)-1]
		f.Curves = append(f.Curves, Curve{Name: c.Line, Points: points})
	}
	return &struct{ Body History }{out}, nil
}

// unanswered is a query of ours that was not answered: it took too long, or the database failed.
func unanswered(err error) error {
	p := problem.Unavailable.New("the history did not answer in time")
	p.RetryAfter, p.Cause = 2, err
	return p
}

// usage ranks all hosts or instances that are in the books.
func (a *api) usage(ctx context.Context, of, by, project string, limit int) (*UsageNow, error) {
	h, err := a.kept()
	if err != nil {
		return nil, err
	}
	subject, label := history.Hosts, history.LabelHost
	if of == "instances" {
		subject, label = history.Instances, history.LabelVMID
	}
	rows := make(map[string]*UsageRow)
	on := auth.Usage
	if subject == history.Hosts {
		on = auth.Hosts
	}
	err = a.visible(ctx, on, func(st *pool.State, shows func(string, string) bool) {
		if subject == history.Hosts {
			if !shows("", "") {
				return
			}
			for x := range st.Hosts() {
				rows[string(x.ID)] = &UsageRow{ID: string(x.ID), Name: x.Name}
			}
			return
		}
		for i := range st.Instances() {
			if (project == "" || i.Project == project) && shows(i.Project, i.Owner) {
				rows[string(i.ID)] = &UsageRow{ID: string(i.ID), Name: i.Name, Project: i.Project}
			}
		}
	})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, f := range history.Figures() {
		for _, l := range f.Lines {
			name := l.Name
			if name == "used" {
				name = f.Name
			}
			list, err := h.Query(ctx, l.Expr(subject, "", h.Window(0)), now)
			if err != nil {
				return nil, unanswered(err)
			}
			for _, r := range list {
				if row := rows[r.Labels[label]]; row != nil && !math.IsNaN(r.Value) && !math.IsInf(r.Value, 0) {
					*row.figure(name) = &r.Value
				}
			}
		}
	}
	out := &UsageNow{At: now, Of: of, Items: make([]UsageRow, 0, len(rows))}
	for _, r := range rows {
		out.Items = append(out.Items, *r)
	}
	value := func(r UsageRow) float64 {
		if v := *r.figure(by); v != nil {
			return *v
		}
		return -1
	}
	slices.SortFunc(out.Items, func(x, y UsageRow) int {
		return cmp.Or(cmp.Compare(value(y), value(x)), strings.Compare(x.ID, y.ID))
	})
	out.Total = len(out.Items)
	out.Items = out.Items[:min(limit, len(out.Items))]
	return out, nil
}

// figure returns where a figure stands.
func (r *UsageRow) figure(name string) **float64 {
	return map[string]**float64{
		"cpu": &r.CPU, "memory": &r.Memory, "disk": &r.Disk, "read": &r.Read, "written": &r.Written,
		"received": &r.Received, "transmitted": &r.Transmitted, "load": &r.Load,
	}[name]
}
